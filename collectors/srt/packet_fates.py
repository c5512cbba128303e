"""What became of the data packets of one bonded link. Pure.

The receiver answers every ten data packets it has got over a link with their numbers. A packet that no answer names is
lost on the link if the receiver has reported it lost too, or acknowledges nothing any more. So a packet that only came
later than its neighbours over a quicker link is not lost, for it is named after all, and an answer that was lost itself
costs nothing. Source: srtla_rec.c (register_packet), srtla_send.c (handle_srtla_data).
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from collectors.srt.round_trips import RoundTrips

ACKED = 10  # packets that one answer names
RECENT_S = 1.1  # two batches
LOSS_S = 3.5  # over packets sent in so long, the newest of which have had the time to be answered; at least
MIN_SENT = 50  # packets, in no more than
KEPT_S = 45.0
SHORTEST_FATE_S, LONGEST_FATE_S = 0.6, 15.0  # after which a packet without an answer has none coming: ten are one
MAX_UNANSWERED = 1 << 14  # packets remembered

_STEP_S = 0.5  # between two batches
_SECOND, _THIRD = 1 << 32, 1 << 33  # added to the number of a packet that was lost more than once

Judge = Callable[[int], bool]


class Traffic(NamedTuple):
    """What has left until a time, and arrived."""

    until_s: float
    sent: int
    sent_bytes: int
    acked: int


class PacketFates:
    """The data packets of one link.

    Args:
        trips: the round trips of the link, by which an answer is waited for.

    Attributes:
        sent: packets that left, since the start.
        sent_bytes: their bytes with all headers.
        acked: packets that arrived.
    """

    def __init__(self, trips: RoundTrips) -> None:
        self.sent = self.sent_bytes = self.acked = 0
        self._trips = trips
        self._unanswered: dict[int, float] = {}  # number as this machine reads it: when sent, negative if sent again
        self._earlier: dict[int, float] = {}  # of those sent again over this link: when for the first time
        self._lost: dict[int, float] = {}
        self._batches: deque[Traffic] = deque()

    def begin(self) -> None:
        """Forget the packets of the connection before: those that were under way when it ended are not lost."""
        for kept in (self._unanswered, self._earlier, self._lost, self._batches):
            kept.clear()

    def send(self, at_s: float, number: int, length: int) -> None:
        """Take in one that left; `number` is its first word as this machine reads it."""
        if number in self._unanswered:
            self._send_again(at_s, number)
        else:
            self._unanswered[number] = at_s
        self.sent += 1
        self.sent_bytes += length

    def acknowledge(self, at_s: float, numbers: tuple[int, ...]) -> None:
        """Take in an answer, which is also a round trip: from the sending of the last packet that it names."""
        unanswered = self._unanswered
        sent_s = unanswered.get(numbers[-1], 0.0)
        for number in numbers:
            if number in unanswered and number not in self._earlier:
                del unanswered[number]
            elif self._earlier.pop(number, None) is None and self._lost.pop(number, None) is None:
                continue  # never sent here, or by nobody
            self.acked += 1
        if 0 < sent_s < at_s:
            self._trips.add(at_s, at_s - sent_s)

    @property
    def closed_s(self) -> float | None:
        """When the last batch ended, None before the first."""
        return self._batches[-1].until_s if self._batches else None

    def close_batch(self, now_s: float, is_lost: Judge) -> None:
        """End a batch of sent packets, and judge those that have had the time to be answered.

        Args:
            now_s: seconds.
            is_lost: tells for the number of a packet without an answer whether it is lost.
        """
        batches = self._batches
        batches.append(Traffic(now_s, self.sent, self.sent_bytes, self.acked))
        while now_s - batches[0].until_s > KEPT_S:
            batches.popleft()
        self._judge(now_s, is_lost)

    def window(self, now_s: float) -> tuple[int, int]:
        """Return how many packets were sent in the last seconds, and how many of them are lost."""
        until_s = now_s - self._fate_s(now_s)
        ripe = [batch for batch in self._batches if batch.until_s <= until_s]
        if len(ripe) < 2:
            return 0, 0
        last = ripe[-1]
        first = next(
            batch
            for batch in reversed(ripe)
            if batch is ripe[0]
            or (batch.until_s <= last.until_s - LOSS_S + _STEP_S / 2 and last.sent - batch.sent >= MIN_SENT)
        )
        sent = last.sent - first.sent
        lost = sum(first.until_s < at_s <= last.until_s for at_s in self._lost.values())
        return sent, min(lost, sent)

    def loss_percent(self, now_s: float) -> float | None:
        """Return what share did not arrive, over the last seconds; None where too little was sent."""
        sent, lost = self.window(now_s)
        return round(100 * lost / sent, 2) if sent >= MIN_SENT else None

    def recent_loss_percent(self, now_s: float, is_reported: Judge) -> float | None:
        """Return what share of the last second's packets was reported lost and not named yet.

        It is quicker than `loss_percent`, and takes what is only late for lost. None where too little was sent.
        """
        first = next((batch for batch in self._batches if now_s - batch.until_s <= RECENT_S), None)
        if first is None or self.sent - first.sent < MIN_SENT // 2:
            return None
        fresh = [number for number, at_s in self._unanswered.items() if abs(at_s) > first.until_s]
        lost = sum(is_reported(_big_endian(number)) for number in fresh)
        lost += sum(at_s > first.until_s for at_s in self._lost.values())
        lost += sum(at_s > first.until_s for at_s in self._earlier.values())
        return min(100.0, 100 * lost / (self.sent - first.sent))

    def delivered_bps(self, now_s: float) -> int | None:
        """Return what arrived over the last seconds, bits per second."""
        first = next((batch for batch in self._batches if now_s - batch.until_s <= LOSS_S), None)
        if first is None or not self._batches or self._batches[-1].until_s - first.until_s < 1 or not self.sent:
            return None
        last = self._batches[-1]
        length = (last.sent_bytes - first.sent_bytes) / (last.sent - first.sent) if last.sent > first.sent else 0
        return round((last.acked - first.acked) * length * 8 / (last.until_s - first.until_s))

    def _send_again(self, at_s: float, number: int) -> None:
        """Remember both times of a packet that was sent again before it was answered.

        Of which of the two an answer tells is unknown (Karn's rule), but two of them are two that arrived.
        """
        first_s = abs(self._unanswered[number])
        if number in self._earlier:
            self._lost[number + _THIRD] = self._earlier[number]
        self._earlier[number] = first_s
        self._unanswered[number] = -at_s

    def _fate_s(self, now_s: float) -> float:
        """Return how long an answer may take: twice the round trip, and until ten packets have come together."""
        batches = self._batches
        spacing_s = 0.0
        if len(batches) > 1 and batches[-1].sent > batches[0].sent:
            spacing_s = (batches[-1].until_s - batches[0].until_s) / (batches[-1].sent - batches[0].sent)
        wait_s = 1.5 * self._trips.slowest_s(now_s) + 1.5 * ACKED * spacing_s + 0.2
        return min(LONGEST_FATE_S, max(SHORTEST_FATE_S, wait_s))

    def _judge(self, now_s: float, is_lost: Judge) -> None:
        """Put those that have no answer coming among the lost, or forget them."""
        limit_s = now_s - self._fate_s(now_s)
        over = len(self._unanswered) - MAX_UNANSWERED
        for number, sent_s in self._old(limit_s, over):
            del self._unanswered[number]
            first_s = self._earlier.pop(number, None)
            if is_lost(_big_endian(number)):
                self._lost[number] = abs(sent_s)
                if first_s is not None:
                    self._lost[number + _SECOND] = first_s
        while self._lost and (len(self._lost) > MAX_UNANSWERED or now_s - next(iter(self._lost.values())) > KEPT_S):
            del self._lost[next(iter(self._lost))]

    def _old(self, limit_s: float, over: int) -> list[tuple[int, float]]:
        found: list[tuple[int, float]] = []
        for number, sent_s in self._unanswered.items():
            if abs(sent_s) > limit_s and len(found) >= over:
                break
            found.append((number, sent_s))
        return found


def _big_endian(number: int) -> int:
    """Return a packet's number from its four bytes as this machine reads them."""
    return int.from_bytes(number.to_bytes(4, sys.byteorder), "big")
