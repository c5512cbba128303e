"""Choose the samples that are uploaded next. Pure: the monotonic time is an argument.

A lane is the samples of one priority. It is due at the multiples of its interval; P0 when the buffer wakes it, or when
a look at the backlog finds some. In the first minute every lane is due often until it has sent its first sample,
because a new user is waiting for a graph. A queue is a lane's fresh samples, or its old ones (left by an outage, a
paused lane or the audit). Old samples are uploaded after all fresh ones, and slowly.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple

from common import clock
from common.remote import Lanes
from common.sample import CRITICAL, HIGH, PRIORITIES
from shipper.state import State

WARM_UP_S = 3.0  # with the collectors' and the buffer's intervals, a first sample is there within 10 s
WARM_UP_FOR_S = 60.0  # not for ever: a board without a stream has no P3

LOOK_S = 5.0  # a lane that is held back is looked at as often, and P0: a wake-up can be lost (a slow subscriber)
# A lane fires once an interval, so a sample waits for one and its commit; a second one lets a slow lane be.
FRESH_INTERVALS = 2
FRESH_UPLOAD_INTERVALS = 2  # a retry or two is no outage


class Queue(NamedTuple):
    """Samples of a priority, the fresh or the old ones."""

    priority: int
    old: bool


@dataclass
class _Lane:
    """When a lane is due next; `warm` once it has uploaded."""

    interval_s: float
    due_s: float
    warm: bool = False


class LaneSchedule:
    """The lanes, most urgent first.

    Args:
        lanes: their intervals.
        now_s: monotonic time; every lane is due now.
        phase: from 0 to 1, where in its longest interval the grid is then: the devices of a place whose power comes
            back at one moment shall not upload at the same second ever after.
    """

    def __init__(self, lanes: Lanes, now_s: float, phase: float = 0.0) -> None:
        self._began_s = now_s - phase * max(_intervals_s(lanes)[1:])
        self._warm_s = now_s + WARM_UP_FOR_S
        self._critical_s = lanes.critical_s
        self._high_least_s = 0.0
        self._lanes = [_Lane(interval_s, now_s) for interval_s in _intervals_s(lanes)]

    def stretch(self, high_least_s: float) -> None:
        """Set the shortest interval of P1, from its next rest on; 0 is as configured."""
        self._high_least_s = high_least_s

    def due(self, now_s: float, among: Collection[int] = PRIORITIES) -> int | None:
        """Return the most urgent lane that is due, None while there is none."""
        return next((priority for priority in sorted(among) if self._lanes[priority].due_s <= now_s), None)

    def next_s(self, among: Collection[int] = PRIORITIES) -> float:
        """Return the monotonic time at which the next lane is due, infinity if no lane may send."""
        return min((self._lanes[priority].due_s for priority in among), default=math.inf)

    def wake(self, now_s: float) -> None:
        """Make the P0 lane due: samples of it were committed."""
        lane = self._lanes[CRITICAL]
        lane.due_s = min(lane.due_s, now_s + self._critical_s)

    def all_due(self, now_s: float) -> None:
        """Make every lane due: an outage is over."""
        for lane in self._lanes:
            lane.due_s = min(lane.due_s, now_s)

    def hasten(self, priority: int, at_s: float) -> None:
        """Make a lane due at a time, unless it is due earlier."""
        lane = self._lanes[priority]
        lane.due_s = min(lane.due_s, at_s)

    def uploaded(self, priority: int) -> None:
        """End the warm-up of a lane that has uploaded samples."""
        self._lanes[priority].warm = True

    def rest(self, priority: int, now_s: float) -> None:
        """Move an empty lane to the next deadline of its grid."""
        lane = self._lanes[priority]
        is_warm = lane.warm or now_s >= self._warm_s
        interval_s = lane.interval_s if is_warm else min(lane.interval_s, WARM_UP_S)
        if priority == HIGH:
            interval_s = max(interval_s, self._high_least_s)
        passed = (now_s - self._began_s) // interval_s
        lane.due_s = self._began_s + (passed + 1) * interval_s


def _intervals_s(lanes: Lanes) -> list[float]:
    """Return how often each lane asks without being woken; an interval of 0 is as often as makes sense."""
    return [math.inf, *(max(lanes.interval_s(p), 1.0) for p in (1, 2, 3))]


class Queues:
    """The queues, most urgent first: all fresh ones, then the old ones.

    Args:
        lanes: their intervals.
        commit_interval_s: how long the buffer may keep a sample before it is asked for.
        now_s: monotonic.
        phase: as of `LaneSchedule`.

    Attributes:
        schedule: when each lane is due.
        old: priorities that may have old samples.
    """

    def __init__(self, lanes: Lanes, commit_interval_s: float, now_s: float, phase: float = 0.0) -> None:
        self._commit_interval_s = commit_interval_s
        self.schedule = LaneSchedule(lanes, now_s, phase)
        self.old = set(PRIORITIES)

    def next(self, lanes: Collection[int], state: State, now_s: float, under_way: Collection[Queue]) -> Queue | None:
        """Return the most urgent queue that may go, None while there is none.

        Args:
            lanes: priorities that may go.
            state: what is known of the server.
            now_s: monotonic.
            under_way: queues with an upload that is not finished.
        """
        fresh = self.schedule.due(now_s, lanes)
        if fresh is not None:
            return Queue(fresh, old=False)
        old = self._with_old(lanes, state, under_way)
        return Queue(min(old), old=True) if old and now_s >= state.old_until_s else None

    def next_s(self, lanes: Collection[int], state: State, now_s: float, under_way: Collection[Queue]) -> float:
        """Return when to ask `next` again."""
        times_s = [self.schedule.next_s(lanes), now_s + LOOK_S]
        if self._with_old(lanes, state, under_way):
            times_s.append(state.old_until_s)
        if state.next_probe_s is not None and state.next_probe_s > now_s:
            times_s.append(state.next_probe_s)
        return min(times_s)

    def rest(self, queue: Queue, state: State, now_s: float) -> None:
        """Record that a queue is empty."""
        if queue.old:
            self.old.discard(queue.priority)
            return
        self.schedule.rest(queue.priority, now_s)
        probe_s = state.look_for_probe_s(now_s)
        if probe_s is not None and queue.priority not in (CRITICAL, HIGH):
            self.schedule.hasten(queue.priority, probe_s)

    def send_all(self, now_s: float) -> None:
        """Make every queue due: an outage is over."""
        self.schedule.all_due(now_s)
        self.old = set(PRIORITIES)

    def span_ms(self, queue: Queue, state: State) -> tuple[int | None, int | None]:
        """Return from which and before which time the samples of a queue are; None is no limit."""
        horizon_ms = self.horizon_ms(queue.priority, state)
        return (None, horizon_ms) if queue.old else (horizon_ms, None)

    def horizon_ms(self, priority: int, state: State) -> int:
        """Return the time from which on samples of a priority are fresh, Unix milliseconds."""
        return clock.wall_ms() - round(1000 * self.fresh_s(priority, state, state.high_interval_s))

    def fresh_s(self, priority: int, state: State, high_least_s: float = 0.0) -> float:
        """Return up to which age a sample of a priority is fresh; `high_least_s` is what P1 is stretched to."""
        remote = state.remote
        interval_s = max(remote.lanes.interval_s(priority), high_least_s if priority == HIGH else 0.0)
        least_s = FRESH_UPLOAD_INTERVALS * remote.upload_interval_s
        return max(FRESH_INTERVALS * interval_s, least_s) + self._commit_interval_s

    def _with_old(self, lanes: Collection[int], state: State, under_way: Collection[Queue]) -> list[int]:
        if not state.remote.backfill.enabled:
            return []
        return [p for p in lanes if p in self.old or Queue(p, old=True) in under_way]
