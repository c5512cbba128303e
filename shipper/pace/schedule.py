"""Which lane goes next, and how much it may send at once. Pure: the monotonic time is an argument.

A lane is the samples of one priority. It is due on the grid of its interval, and P0 whenever the buffer
says so. At the start every lane asks often until it has shipped its first sample: whoever has just
installed this is looking at an empty graph.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

from common.remote import Lanes
from common.sample import CRITICAL, HIGH, PRIORITIES

WARM_UP_S = 3.0  # with the collectors' and the buffer's intervals, a first sample is there within 10 s
CRITICAL_POLL_S = 5.0  # a wake-up can be lost (a slow subscriber), the database cannot

GROWTH = 4
MAX_CHUNK_SAMPLES = (
    25_000  # with their lease about 10 MB of memory; twice as many are no faster and save 5 % of the bytes
)
FIRST_PATIENCE = 1  # doubled by each refusal: chunks that have to be taken before a larger one is tried
BYTES_MARGIN = 0.8  # of the byte cap: the next samples may not compress as well as the last


@dataclass
class _Lane:
    """When a lane is due next; `warm` once it has shipped."""

    interval_s: float
    due_s: float
    warm: bool = False


class Schedule:
    """The lanes, most urgent first.

    Args:
        lanes: their intervals.
        now_s: monotonic time; every lane is due now.
        phase: from 0 to 1, where in its longest interval the grid is then: the devices of a place whose power comes
            back at one moment shall not upload at the same second ever after.
    """

    def __init__(self, lanes: Lanes, now_s: float, phase: float = 0.0) -> None:
        self._began_s = now_s - phase * max(_intervals_s(lanes))
        self._critical_s = lanes.critical_s
        self._high_least_s = 0.0
        self._lanes = [_Lane(interval_s, now_s) for interval_s in _intervals_s(lanes)]

    def configure(self, lanes: Lanes, now_s: float) -> None:
        """Take over new intervals; every lane is due now."""
        self._critical_s = lanes.critical_s
        for lane, interval_s in zip(self._lanes, _intervals_s(lanes), strict=True):
            lane.interval_s = interval_s
        self.all_due(now_s)

    def stretch(self, high_least_s: float) -> None:
        """Let P1 wait at least so long from its next rest on; 0 is as configured."""
        self._high_least_s = high_least_s

    def due(self, now_s: float, among: Collection[int] = PRIORITIES) -> int | None:
        """Return the most urgent lane that is due, None while there is none."""
        return next((priority for priority in sorted(among) if self._lanes[priority].due_s <= now_s), None)

    def next_s(self, among: Collection[int] = PRIORITIES) -> float:
        """Return when the next lane is due; without any, never."""
        return min((self._lanes[priority].due_s for priority in among), default=math.inf)

    def wake(self, now_s: float) -> None:
        """P0 was committed."""
        lane = self._lanes[CRITICAL]
        lane.due_s = min(lane.due_s, now_s + self._critical_s)

    def all_due(self, now_s: float) -> None:
        """Have every lane due: an outage is over."""
        for lane in self._lanes:
            lane.due_s = min(lane.due_s, now_s)

    def hasten(self, priority: int, at_s: float) -> None:
        """Have a lane due at a time, if it is not before."""
        lane = self._lanes[priority]
        lane.due_s = min(lane.due_s, at_s)

    def shipped(self, priority: int) -> None:
        """A lane has shipped something: its warm-up is over."""
        self._lanes[priority].warm = True

    def rest(self, priority: int, now_s: float) -> None:
        """A lane has nothing left: let it wait for the next deadline of its grid."""
        lane = self._lanes[priority]
        interval_s = lane.interval_s if lane.warm else min(lane.interval_s, WARM_UP_S)
        if priority == HIGH:
            interval_s = max(interval_s, self._high_least_s)
        passed = (now_s - self._began_s) // interval_s
        lane.due_s = self._began_s + (passed + 1) * interval_s


def _intervals_s(lanes: Lanes) -> list[float]:
    """Return how often each lane asks without being woken; an interval of 0 is as often as makes sense."""
    return [max(lanes.critical_s, CRITICAL_POLL_S), *(max(lanes.interval_s(p), 1.0) for p in (1, 2, 3))]


class Pace:
    """How many samples go into one request: few to begin with, more while behind, few again after a failure.

    Args:
        chunk_size: samples to begin with.
        chunk_bytes: cap of a body after compression.

    Attributes:
        samples: for the next request.
    """

    def __init__(self, chunk_size: int, chunk_bytes: int) -> None:
        self._chunk_size = chunk_size
        self._chunk_bytes = chunk_bytes
        self._ceiling = MAX_CHUNK_SAMPLES
        self._patience = FIRST_PATIENCE
        self._at_ceiling = 0
        self.samples = min(chunk_size, MAX_CHUNK_SAMPLES)

    def succeeded(self, samples: int, body_bytes: int) -> None:
        """Grow: a request was accepted and more samples are waiting."""
        self._at_ceiling += samples >= self._ceiling
        if self._at_ceiling >= self._patience:
            self._raise_ceiling()
        by_bytes = int(BYTES_MARGIN * self._chunk_bytes * samples / body_bytes)
        # A chunk that the end of a lease or the byte cap kept below the pace says nothing about going faster.
        wanted = self.samples * GROWTH if samples >= self.samples else self.samples
        self.samples = max(1, min(wanted, by_bytes, self._ceiling))

    def failed(self) -> None:
        """Begin anew: what is lost on a bad link shall be little."""
        self.samples = min(self._chunk_size, self._ceiling)

    def too_large(self, samples: int) -> None:
        """Remember that the server refused a body of this many samples for its size."""
        self._ceiling = max(1, samples // 2)
        self._patience *= 2
        self._at_ceiling = 0
        self.samples = min(self.samples, self._ceiling)

    def _raise_ceiling(self) -> None:
        """Try twice as many: a refusal once is not for ever; each new one is believed twice as long."""
        self._ceiling = min(2 * self._ceiling, MAX_CHUNK_SAMPLES)
        self._at_ceiling = 0
