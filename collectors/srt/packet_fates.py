"""What became of the data packets of one bonded link. Pure.

The receiver answers every ten data packets it has got over a link with their numbers. A packet that no answer names is
lost on the link if the receiver has reported it lost too, or acknowledges nothing any more. So a packet that only came
later than its neighbours over a quicker link is not lost, for it is named after all, and an answer that was lost itself
costs nothing. Source: srtla_rec.c (register_packet), srtla_send.c (handle_srtla_data).
"""

from __future__ import annotations

import math
import socket
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain, compress

from collectors.srt.columns import Answers, SentPackets, seconds
from collectors.srt.round_trips import RoundTrips

ACKED = 10  # packets that one answer names
RECENT_S = 1.1  # two batches
LOSS_S = 3.5  # over packets sent in so long, the newest of which have had the time to be answered; at least
MIN_SENT = 50  # packets, in no more than
KEPT_S = 45.0
SHORTEST_FATE_S, LONGEST_FATE_S = 0.6, 15.0  # after which a packet without an answer has none coming: ten are one
MAX_UNANSWERED = 1 << 14  # packets remembered
MOST_TRIPS = 3  # that are worked out of a look's answers

_STEP_S = 0.5  # between two batches

Judge = Callable[[int], bool]


@dataclass(slots=True)
class _Batch:
    """The packets of one look, as far as they are not judged.

    Attributes:
        until_s: when it ended.
        sent, sent_bytes, acked: what had left until then, and arrived.
        packets: all links' packets, and for each whether it is one of these.
        unanswered: numbers that no answer names.
        again: likewise of those that left twice.
        lost: numbers of those that are lost, once they have been judged.
    """

    until_s: float = 0.0
    sent: int = 0
    sent_bytes: int = 0
    acked: int = 0
    packets: list[tuple[SentPackets, list[bool]]] = field(default_factory=list)
    unanswered: set[int] = field(default_factory=set)
    again: set[int] = field(default_factory=set)
    lost: list[int] = field(default_factory=list)

    def sent_s(self, number: int) -> float:
        """Return when one of the packets left."""
        for packets, flags in self.packets:
            at = -1
            with suppress(ValueError):  # not among these
                while not flags[at := packets.numbers.index(number, at + 1)]:
                    pass
                return seconds(packets.stamps[at])
        return math.inf

    def judge(self, is_lost: Judge) -> None:
        """Put those that have no answer coming among the lost, or forget them."""
        self.lost = [number for number in (*self.unanswered, *self.again) if is_lost(socket.ntohl(number))]
        self.packets, self.unanswered, self.again = [], set(), set()


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
        self._batches: list[_Batch] = []  # those that are judged first
        self._judged = 0
        self._now = _Batch()

    def begin(self) -> None:
        """Forget the packets of the connection before: those that were under way when it ended are not lost."""
        self._batches.clear()
        self._judged = 0
        self._now = _Batch()

    def send(self, packets: SentPackets, flags: list[bool]) -> int:
        """Take in those of some packets that left over this link; return how many."""
        now, numbers = self._now, list(compress(packets.numbers, flags))
        before = len(now.unanswered)
        now.unanswered.update(numbers)
        now.packets.append((packets, flags))
        if len(now.unanswered) - before < len(numbers):
            counts = Counter(chain.from_iterable(compress(sent.numbers, own) for sent, own in now.packets))
            now.again.update(number for number in numbers if counts[number] > 1)
        self.sent += len(numbers)
        self.sent_bytes += sum(compress(packets.lengths, flags))
        return len(numbers)

    def acknowledge(self, answers: Answers) -> None:
        """Take in answers; some of them are also round trips, from the sending of the last packet that one names."""
        waiting = [*self._batches[self._judged :], self._now]
        step = 1 + len(answers.stamps) // MOST_TRIPS
        for stamp, named in zip(answers.stamps[::step], answers.named[::step], strict=True):
            self._time(stamp, named[-1], waiting)
        numbers = list(chain.from_iterable(answers.named))
        once = set(numbers)
        twice = len(once) < len(numbers)
        self._arrive(once, waiting)
        if twice:
            self._arrive({number for number, count in Counter(numbers).items() if count > 1}, waiting)

    def close_batch(self, now_s: float, is_lost: Judge) -> None:
        """End a batch of sent packets, and judge those that have had the time to be answered.

        Args:
            now_s: seconds.
            is_lost: tells for the number of a packet without an answer whether it is lost.
        """
        batches = self._batches
        now, self._now = self._now, _Batch()
        now.until_s, now.sent, now.sent_bytes, now.acked = now_s, self.sent, self.sent_bytes, self.acked
        batches.append(now)
        self._judge(now_s - self._longest_fate_s(now_s), is_lost)
        if self._judged and now_s - batches[0].until_s > KEPT_S:
            del batches[0]
            self._judged -= 1

    def window(self) -> tuple[int, int]:
        """Return how many packets were sent in the last seconds, and how many of them are lost."""
        judged = self._batches[: self._judged]
        if len(judged) < 2:
            return 0, 0
        last = judged[-1]
        first = next(
            batch
            for batch in reversed(judged)
            if batch is judged[0]
            or (batch.until_s <= last.until_s - LOSS_S + _STEP_S / 2 and last.sent - batch.sent >= MIN_SENT)
        )
        sent = last.sent - first.sent
        lost = sum(len(batch.lost) for batch in judged if batch.until_s > first.until_s)
        return sent, min(lost, sent)

    def loss_percent(self) -> float | None:
        """Return what share did not arrive, over the last seconds; None where too little was sent."""
        sent, lost = self.window()
        return round(100 * lost / sent, 2) if sent >= MIN_SENT else None

    def recent_loss_percent(self, now_s: float, is_reported: Judge) -> float | None:
        """Return what share of the last second's packets was reported lost and not named yet.

        It is quicker than `loss_percent`, and takes what is only late for lost. None where too little was sent.
        """
        first = next((batch for batch in self._batches if now_s - batch.until_s <= RECENT_S), None)
        if first is None or self.sent - first.sent < MIN_SENT // 2:
            return None
        fresh = [batch for batch in self._batches if batch.until_s > first.until_s]
        waiting = chain.from_iterable((*batch.unanswered, *batch.again) for batch in fresh)
        lost = sum(len(batch.lost) for batch in fresh) + sum(is_reported(socket.ntohl(number)) for number in waiting)
        return min(100.0, 100 * lost / (self.sent - first.sent))

    def delivered_bps(self, now_s: float) -> int | None:
        """Return what arrived over the last seconds, bits per second."""
        first = next((batch for batch in self._batches if now_s - batch.until_s <= LOSS_S), None)
        if first is None or not self._batches or self._batches[-1].until_s - first.until_s < 1 or not self.sent:
            return None
        last = self._batches[-1]
        length = (last.sent_bytes - first.sent_bytes) / (last.sent - first.sent) if last.sent > first.sent else 0
        return round((last.acked - first.acked) * length * 8 / (last.until_s - first.until_s))

    def _time(self, stamp: int, number: int, waiting: Sequence[_Batch]) -> None:
        """Take in a round trip; of which of two an answer tells is unknown (Karn's rule)."""
        found = [batch for batch in waiting if number in batch.unanswered]
        if len(found) == 1 and number not in found[0].again:
            at_s = seconds(stamp)
            lasted_s = at_s - found[0].sent_s(number)
            if lasted_s > 0:
                self._trips.add(at_s, lasted_s)

    def _arrive(self, numbers: set[int], waiting: Sequence[_Batch]) -> None:
        """Take in packets that have arrived, each once; two of a number are two that left."""
        for batch in self._batches:
            for number in numbers.intersection(batch.lost) if batch.lost else ():
                batch.lost.remove(number)
                numbers.discard(number)
                self.acked += 1
        *before, now = waiting
        for unanswered in (*chain.from_iterable((batch.unanswered, batch.again) for batch in before), now.again):
            if not unanswered.isdisjoint(numbers):
                named = unanswered & numbers
                unanswered.difference_update(named)
                numbers -= named
                self.acked += len(named)
        count = len(now.unanswered)
        now.unanswered.difference_update(numbers)
        self.acked += count - len(now.unanswered)

    def _longest_fate_s(self, now_s: float) -> float:
        """Return how long an answer may take: twice the round trip, and until ten packets have come together."""
        batches = self._batches
        spacing_s = 0.0
        if len(batches) > 1 and batches[-1].sent > batches[0].sent:
            spacing_s = (batches[-1].until_s - batches[0].until_s) / (batches[-1].sent - batches[0].sent)
        wait_s = 1.5 * self._trips.slowest_s(now_s) + 1.5 * ACKED * spacing_s + 0.2
        return min(LONGEST_FATE_S, max(SHORTEST_FATE_S, wait_s))

    def _judge(self, until_s: float, is_lost: Judge) -> None:
        """Judge the batches until a time, and more where they are too many."""
        waiting = sum(len(batch.unanswered) for batch in self._batches[self._judged :])
        while self._judged < len(self._batches):
            batch = self._batches[self._judged]
            if batch.until_s > until_s and waiting <= MAX_UNANSWERED:
                break
            waiting -= len(batch.unanswered)
            batch.judge(is_lost)
            self._judged += 1
