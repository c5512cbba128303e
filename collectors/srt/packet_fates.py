"""What became of the data packets of one bonded link. Pure.

The receiver answers every ten data packets it has got over a link with their numbers. A packet that no answer names is
lost on the link if the receiver has reported it lost too, or acknowledges nothing any more. So a packet that only came
later than its neighbours over a quicker link is not lost, for it is named after all, and an answer that was lost itself
costs nothing. Nearly all packets are neither reported nor in doubt: only of the others it is looked up whether an
answer names them. Source: srtla_rec.c (register_packet), srtla_send.c (handle_srtla_data).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain

from collectors.srt.columns import Answers, SentPackets, places, seconds, total
from collectors.srt.loss_reports import SEQUENCES, distance
from collectors.srt.round_trips import RoundTrips

ACKED = 10  # packets that one answer names
RECENT_S = 0.9  # two batches, or one of a busy machine
LOSS_S = 3.0  # over packets sent in so long, the newest of which have had the time to be answered; at least
MIN_SENT = 50  # packets, in no more than
KEPT_S = 45.0
SHORTEST_FATE_S, LONGEST_FATE_S = 0.6, 15.0  # after which a packet without an answer has none coming: ten are one
MAX_UNJUDGED = 1 << 14  # packets remembered
MOST_TRIPS = 3  # that are worked out of a look's answers

_STEP_S = 0.5  # between two batches

Doubt = Callable[[Sequence[int]], list[int]]


@dataclass(slots=True)
class _Batch:
    """The packets and answers of one look; once it is judged, only what is counted.

    Attributes:
        until_s: when it ended.
        sent, sent_bytes, acked: what had left until then, and arrived.
        packets: as they left.
        answered: numbers that answers named, and those that they named once more.
        lost: numbers of those that are lost, once they have been judged.
    """

    until_s: float = 0.0
    sent: int = 0
    sent_bytes: int = 0
    acked: int = 0
    packets: list[SentPackets] = field(default_factory=list)
    answered: list[set[int]] = field(default_factory=list)
    lost: list[int] = field(default_factory=list)

    def numbers(self) -> list[int]:
        """Return the numbers of its packets."""
        return list(chain.from_iterable(sent.numbers for sent in self.packets))

    def sent_s(self, number: int) -> list[float]:
        """Return when a packet left, for each time it did."""
        return [seconds(sent.stamps[at]) for sent in self.packets for at in places(sent.numbers, number)]


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
        self.begin()

    def begin(self) -> None:
        """Forget the packets of the connection before: those that were under way when it ended are not lost."""
        self._batches: list[_Batch] = []  # those that are judged first
        self._judged = 0
        self._now = _Batch()
        self._first: int | None = None
        self._newest = 0

    def send(self, packets: SentPackets) -> None:
        """Take in packets that left over this link."""
        if self._first is None:
            self._first = self._newest = packets.numbers[0]
        for number in (packets.numbers[-1], max(packets.numbers)):  # it may have been sent again, or they wrap
            if distance(self._newest, number) < SEQUENCES // 2:
                self._newest = number
        self._now.packets.append(packets)
        self.sent += len(packets.numbers)
        self.sent_bytes += total(packets.lengths)

    def acknowledge(self, answers: Answers) -> None:
        """Take in answers; some of them are also round trips, from the sending of the last packet that one names."""
        waiting = [*self._batches[self._judged :], self._now]
        step = 1 + len(answers.stamps) // MOST_TRIPS
        for stamp, named in zip(answers.stamps[::step], answers.named[::step], strict=True):
            self._time(stamp, named[-1], waiting)
        numbers = list(chain.from_iterable(answers.named))
        once = set(numbers)
        self.acked = min(self.sent, self.acked + self._of_this_link(numbers, once))
        for batch in self._batches:
            if batch.lost and not once.isdisjoint(batch.lost):
                found = once.intersection(batch.lost)
                batch.lost = [number for number in batch.lost if number not in found]
                once -= found
        self._now.answered.append(once)
        if len(once) < len(numbers):
            self._now.answered.append({number for number, count in Counter(numbers).items() if count > 1})

    def close_batch(self, now_s: float, in_doubt: Doubt) -> None:
        """End a batch of sent packets, and judge those that have had the time to be answered.

        Args:
            now_s: seconds.
            in_doubt: returns those of some numbers that are lost unless an answer names them.
        """
        batches = self._batches
        now, self._now = self._now, _Batch()
        now.until_s, now.sent, now.sent_bytes, now.acked = now_s, self.sent, self.sent_bytes, self.acked
        batches.append(now)
        self._judge(now_s - self._longest_fate_s(now_s), in_doubt)
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

    def recent_loss_percent(self, now_s: float, reported: Doubt) -> float | None:
        """Return what share of the last second's packets, or the last two looks', was reported lost and not named yet.

        It is quicker than `loss_percent`, and takes what is only late for lost. None where too little was sent.

        Args:
            now_s: seconds.
            reported: returns those of some numbers that the receiver has reported lost.
        """
        first = next((batch for batch in reversed(self._batches) if now_s - batch.until_s >= RECENT_S), None)
        if first is None or self.sent - first.sent < MIN_SENT // 2:
            return None
        fresh = [batch for batch in self._batches if batch.until_s > first.until_s]
        answered = set[int]().union(*chain.from_iterable(batch.answered for batch in fresh))
        waiting = reported([number for batch in fresh for number in batch.numbers() if number not in answered])
        lost = sum(len(batch.lost) for batch in fresh) + len(waiting)
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
        left_s = [sent_s for batch in waiting for sent_s in batch.sent_s(number)]
        at_s = seconds(stamp)
        if len(left_s) == 1 and at_s > left_s[0]:
            self._trips.add(at_s, at_s - left_s[0])

    def _of_this_link(self, numbers: Sequence[int], once: Collection[int]) -> int:
        """Return how many of some numbers that an answer names can have left here since the connection began."""
        if self._first is None:
            return 0
        first, newest = self._first, self._newest
        if first <= min(once) and max(once) <= newest:
            return len(numbers)
        return sum(distance(first, number) <= distance(first, newest) for number in numbers)

    def _longest_fate_s(self, now_s: float) -> float:
        """Return how long an answer may take: twice the round trip, and until ten packets have come together."""
        batches = self._batches
        spacing_s = 0.0
        if len(batches) > 1 and batches[-1].sent > batches[0].sent:
            spacing_s = (batches[-1].until_s - batches[0].until_s) / (batches[-1].sent - batches[0].sent)
        wait_s = 1.5 * self._trips.slowest_s(now_s) + 1.5 * ACKED * spacing_s + 0.2
        return min(LONGEST_FATE_S, max(SHORTEST_FATE_S, wait_s))

    def _judge(self, until_s: float, in_doubt: Doubt) -> None:
        """Judge the batches until a time, and more where they are too many."""
        batches = self._batches
        waiting = sum(len(sent.numbers) for batch in batches[self._judged :] for sent in batch.packets)
        while self._judged < len(batches):
            batch = batches[self._judged]
            if batch.until_s > until_s and waiting <= MAX_UNJUDGED:
                break
            numbers = batch.numbers()
            waiting -= len(numbers)
            answered = list(chain.from_iterable(later.answered for later in (*batches[self._judged :], self._now)))
            batch.lost = [number for number in in_doubt(numbers) if not _has_answer(number, answered)]
            batch.packets, batch.answered = [], []
            self._judged += 1


def _has_answer(number: int, answered: Iterable[set[int]]) -> bool:
    """Return whether an answer names a packet; it is then not there for another packet of the same number."""
    found = next((numbers for numbers in answered if number in numbers), None)
    if found is not None:
        found.discard(number)
    return found is not None
