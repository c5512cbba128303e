"""What the packets of one bonded link say of it.

Pure. The receiver answers every ten data packets it has got over a link with their numbers: from the sending of the
last one named to the answer is the round trip of the link. A packet that no answer names is lost on the link if the
receiver has reported it lost too, or acknowledges nothing any more. So a packet that only came later than its
neighbours over a quicker link is not lost, for it is named after all, and an answer that was lost itself costs nothing.
Sources: srtla_rec.c (register_packet, conn_reg), srtla_send.c (connection_housekeeping, handle_srtla_data).
"""

from __future__ import annotations

import math
import struct
import sys
from collections import deque
from collections.abc import Callable
from statistics import median
from typing import NamedTuple

from collectors.srt.filters import KEEPALIVE, REG1, REG2, REG3, REG_ERR, REG_NAK, REG_NGP, SRTLA_ACK

ACKED = 10  # packets that one answer names
RTT_S = 2.0  # a round trip is the median over so long, or else the last one that is not older than
RTT_KEPT_S = 10.0
RECENT_S = 1.1  # two batches
LOSS_S = 3.5  # over packets sent in so long, the newest of which have had the time to be answered; at least
MIN_SENT = 50  # packets, in no more than
KEPT_S = 45.0
_STEP_S = 0.5  # between two batches
SILENT_S = 2.5  # srtla_send gives a link up after 4 s
IDLE_SILENT_S = 4.5  # of one that is only asked with keepalives, every two seconds: one of them may be lost
SHORTEST_FATE_S, LONGEST_FATE_S = 0.6, 15.0  # after which a packet without an answer has none coming: ten are one
QUIET_S = 1.0  # another interface takes the link over when the one it was on has had no packet for so long
MAX_UNANSWERED = 1 << 14  # packets remembered

_ANSWER = struct.Struct("=4x10I")  # numbers as this machine reads them: only compared
_SECOND, _THIRD = 1 << 32, 1 << 33  # added to the number of a packet that was lost more than once

Judge = Callable[[int], bool]


class Batch(NamedTuple):
    """What has left until a time, and arrived."""

    until_s: float
    sent: int
    sent_bytes: int
    acked: int


class Link:
    """One link.

    Attributes:
        interface: index of its interface, 0 before a packet was seen. A packet over a bridge, VLAN or bond is seen on
            that and then on the interface below: it counts on the first, which is the route's.
        sent, sent_bytes: data packets that left, and their bytes with all headers, since the start.
        acked: packets that arrived, since the start.
        refused: the receiver's last word was that it does not know or want this link.
        registrations: times it was registered.
    """

    def __init__(self) -> None:
        self.interface = 0
        self.sent = self.sent_bytes = self.acked = self.registrations = 0
        self.refused = False
        self.changed_address_s: float | None = None
        self._unanswered: dict[int, float] = {}  # number as this machine reads it: when sent, negative if sent again
        self._earlier: dict[int, float] = {}  # of those sent again over this link: when for the first time
        self._lost: dict[int, float] = {}
        self._rtts: deque[tuple[float, float]] = deque(maxlen=512)
        self._batches: deque[Batch] = deque()
        self._asked: tuple[float, bytes] | None = None
        self._waits_since_s: float | None = None
        self._down_at_s = math.inf
        self._answered_s: float | None = None
        self._sent_when_answered = 0
        self._registration_attempts = 0
        self._seen_s = 0.0

    def send(self, at_s: float, number: int, length: int, interface: int) -> None:
        """Take in a data packet that left; `number` is its first word as this machine reads it."""
        if interface != self.interface and not self._moves_to(interface, at_s):
            return
        self._seen_s = at_s
        if number in self._unanswered:
            self._send_again(at_s, number)
        else:
            self._unanswered[number] = at_s
        self.sent += 1
        self.sent_bytes += length

    def ask(self, at_s: float, payload: bytes, interface: int) -> None:
        """Take in a keepalive or registration that left."""
        if interface != self.interface and not self._moves_to(interface, at_s):
            return
        self._seen_s = at_s
        kind = int.from_bytes(payload[:2], "big")
        if kind == KEEPALIVE:
            self._asked = at_s, payload
            self._wait(at_s, IDLE_SILENT_S)
        elif kind in {REG1, REG2}:
            self._registration_attempts += 1
            self._wait(at_s, SILENT_S)

    def answer(self, at_s: float, payload: bytes, interface: int) -> None:
        """Take in what the receiver sent over this link."""
        if interface != self.interface:
            return
        kind = int.from_bytes(payload[:2], "big")
        if kind in {REG_ERR, REG_NAK}:
            self.refused = True
        if kind in {REG_ERR, REG_NAK, REG_NGP, REG2}:
            return  # the group is not known yet, or registered: the link is not
        if kind == REG3:
            self._register(at_s)
        elif kind == KEEPALIVE:
            self._keepalive(at_s, payload)
        elif kind == SRTLA_ACK and len(payload) >= _ANSWER.size:
            self._acknowledge(at_s, _ANSWER.unpack_from(payload))
        self.hear(at_s)

    def hear(self, at_s: float) -> None:
        """Take in that something of the receiver has come over this link."""
        self._answered_s, self._waits_since_s, self._down_at_s = at_s, None, math.inf
        self._sent_when_answered = self.sent
        self._registration_attempts = 0
        self.refused = False

    def is_up(self, now_s: float) -> bool | None:
        """Return whether it answers; None for one that was not asked, or only just."""
        if now_s >= self._down_at_s:
            return False
        return True if self._answered_s is not None else None

    @property
    def was_up(self) -> bool:
        """Whether it has ever answered."""
        return self._answered_s is not None

    def rtt_ms(self, now_s: float) -> float | None:
        """Return the median round trip of the last 2 s, or else the last one of 10 s; None where there was none."""
        fresh = [rtt for at_s, rtt in self._rtts if now_s - at_s <= RTT_S]
        if fresh:
            return round(median(fresh) * 1000, 2)
        return round(self._rtts[-1][1] * 1000, 2) if self._rtts and now_s - self._rtts[-1][0] <= RTT_KEPT_S else None

    def last_rtt_ms(self, now_s: float) -> float | None:
        """Return the newest round trip, None where the last one is older than 2 s."""
        return self._rtts[-1][1] * 1000 if self._rtts and now_s - self._rtts[-1][0] <= RTT_S else None

    @property
    def least_rtt_ms(self) -> float | None:
        """The shortest round trip so far, of the last 512."""
        return min(rtt for _, rtt in self._rtts) * 1000 if self._rtts else None

    def silent_s(self, now_s: float) -> float:
        """Return for how long an answer has been owed, 0 where none is."""
        if self._waits_since_s is None:
            return 0.0
        return max(0.0, now_s - max(self._waits_since_s, self._answered_s or 0.0))

    def unheard_s(self, now_s: float) -> float:
        """Return for how long nothing has come over it, whether it is owed or not."""
        return now_s - self._answered_s if self._answered_s is not None else math.inf

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

    def close_batch(self, now_s: float, is_lost: Judge) -> None:
        """End a batch of sent packets, and judge those that have had the time to be answered.

        Args:
            now_s: seconds.
            is_lost: tells for the number of a packet without an answer whether it is lost.
        """
        batches = self._batches
        batches.append(Batch(now_s, self.sent, self.sent_bytes, self.acked))
        while now_s - batches[0].until_s > KEPT_S:
            batches.popleft()
        if self.sent - self._sent_when_answered > ACKED:
            self._wait(max(self._answered_s or 0.0, batches[-2].until_s if len(batches) > 1 else now_s), SILENT_S)
        self._judge(now_s, is_lost)

    def begin(self) -> None:
        """Forget the packets of the connection before: those that were under way when it ended are not lost."""
        for kept in (self._unanswered, self._earlier, self._lost, self._batches):
            kept.clear()

    def miss(self) -> None:
        """Take in that packets were missed: what is compared with each other begins again."""
        self.begin()
        self._waits_since_s = self._asked = None
        self._down_at_s, self._sent_when_answered = math.inf, self.sent

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

    def delivered_bps(self, now_s: float) -> int | None:
        """Return what arrived over the last seconds, bits per second."""
        first = next((batch for batch in self._batches if now_s - batch.until_s <= LOSS_S), None)
        if first is None or not self._batches or self._batches[-1].until_s - first.until_s < 1 or not self.sent:
            return None
        last = self._batches[-1]
        length = (last.sent_bytes - first.sent_bytes) / (last.sent - first.sent) if last.sent > first.sent else 0
        return round((last.acked - first.acked) * length * 8 / (last.until_s - first.until_s))

    def _moves_to(self, interface: int, at_s: float) -> bool:
        """Return whether the link is on another interface now, and not the same packet seen once more below."""
        if self.interface and at_s - self._seen_s < QUIET_S:
            return False
        self.interface = interface
        return True

    def _register(self, at_s: float) -> None:
        """Take in a registration; one that is granted at the first attempt after a silence is a changed address.

        What is lost on a dead link are the registrations too; where the receiver does not know the sender's address any
        more, it answers nothing but them.
        """
        waits_since_s = self._waits_since_s if self.was_up else None
        if waits_since_s is not None and self._registration_attempts == 1 and at_s - waits_since_s > QUIET_S:
            self.changed_address_s = at_s
        self.registrations += 1

    def _keepalive(self, at_s: float, payload: bytes) -> None:
        """Take in an answer to a keepalive; it repeats what was asked, a receiver's own keepalive does not."""
        if self._asked is None:
            return
        asked_s, asked = self._asked
        if payload[: len(asked)] == asked[: len(payload)]:
            self._rtts.append((at_s, at_s - asked_s))
            self._asked = None

    def _acknowledge(self, at_s: float, numbers: tuple[int, ...]) -> None:
        unanswered = self._unanswered
        sent_s = unanswered.get(numbers[-1], 0.0)
        for number in numbers:
            if number in unanswered and number not in self._earlier:
                del unanswered[number]
            elif self._earlier.pop(number, None) is None and self._lost.pop(number, None) is None:
                continue  # never sent here, or by nobody
            self.acked += 1
        if 0 < sent_s < at_s:
            self._rtts.append((at_s, at_s - sent_s))

    def _send_again(self, at_s: float, number: int) -> None:
        """Remember both times of a packet that was sent again before it was answered.

        Of which of the two an answer tells is unknown (Karn's rule), but two of them are two that arrived.
        """
        first_s = abs(self._unanswered[number])
        if number in self._earlier:
            self._lost[number + _THIRD] = self._earlier[number]
        self._earlier[number] = first_s
        self._unanswered[number] = -at_s

    def _wait(self, since_s: float, silent_s: float) -> None:
        """Take in that an answer is owed since then."""
        if self._waits_since_s is None:
            self._waits_since_s = since_s
        self._down_at_s = min(self._down_at_s, since_s + silent_s)

    def _fate_s(self, now_s: float) -> float:
        """Return how long an answer may take: twice the round trip, and until ten packets have come together."""
        slowest = max((rtt for at_s, rtt in self._rtts if now_s - at_s <= RTT_S), default=0.3)
        batches = self._batches
        spacing_s = 0.0
        if len(batches) > 1 and batches[-1].sent > batches[0].sent:
            spacing_s = (batches[-1].until_s - batches[0].until_s) / (batches[-1].sent - batches[0].sent)
        wait_s = 1.5 * slowest + 1.5 * ACKED * spacing_s + 0.2
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
