"""Which lane goes next, and how much it sends."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from common import clock
from common.remote import Backfill, Lanes, Priority, Remote
from shipper.queues import WARM_UP_S, LaneSchedule, Queue, Queues
from shipper.state import DEGRADED, initial

START_S = 5000.0


def rested(now_s: float = START_S) -> LaneSchedule:
    """Return a schedule whose lanes have all shipped and have nothing left."""
    schedule = LaneSchedule(Lanes(), START_S)
    for priority in range(4):
        schedule.uploaded(priority)
        schedule.rest(priority, now_s)
    return schedule


def test_devices_that_start_together_do_not_upload_together() -> None:
    """The first ones go at once; after that each has its own second of the interval."""
    seconds = set()
    for device in range(100):
        schedule = LaneSchedule(Lanes(normal_s=60.0), START_S, device * 0.0137 % 1)
        assert schedule.due(START_S) == 0
        schedule.uploaded(2)
        schedule.rest(2, START_S)
        assert START_S < schedule.next_s([2]) <= START_S + 60
        seconds.add(int(schedule.next_s([2])))
    assert len(seconds) > 50


@pytest.mark.parametrize(("lanes", "phase", "priority", "due_s"), [
    (Lanes(), 0.0125, 2, 22.5), (Lanes(high_s=1200.0), 0.5, 1, 600.0), (Lanes(), 0.0125, 3, 592.5),
])  # fmt: skip
def test_a_phase_is_how_much_of_the_longest_interval_has_passed(
    lanes: Lanes, phase: float, priority: int, due_s: float
) -> None:
    """Whichever lane has that."""
    schedule = LaneSchedule(lanes, START_S, phase)
    schedule.uploaded(priority)
    schedule.rest(priority, START_S)
    assert START_S + due_s == schedule.next_s([priority])


def due_at(schedule: LaneSchedule, now_s: float) -> list[int]:
    """Return the lanes in the order in which they go, each with nothing left afterwards."""
    order = []
    while (priority := schedule.due(now_s)) is not None:
        order.append(priority)
        schedule.rest(priority, now_s)
    return order


def test_every_lane_is_due_at_the_start() -> None:
    """Most urgent first."""
    assert [0, 1, 2, 3] == due_at(LaneSchedule(Lanes(), START_S), START_S)


def test_a_lane_that_has_not_shipped_asks_often() -> None:
    """Whoever has just installed it looks at an empty graph."""
    schedule = LaneSchedule(Lanes(), START_S)
    due_at(schedule, START_S)
    assert schedule.next_s() == START_S + 3.0
    assert [0, 1, 2, 3] == due_at(schedule, START_S + WARM_UP_S)


def test_a_lane_that_has_shipped_keeps_to_its_grid() -> None:
    """10, 30 and 600 seconds from the start, however late one of them was."""
    schedule = rested(START_S + 3.2)
    assert [] == due_at(schedule, START_S + 4.9)
    assert [1] == due_at(schedule, START_S + 14)
    assert [1] == due_at(schedule, START_S + 20)
    assert [1, 2] == due_at(schedule, START_S + 30)
    assert [1, 2, 3] == due_at(schedule, START_S + 600)


def test_a_lane_with_more_goes_on_at_once() -> None:
    """It is due until it rests."""
    schedule = LaneSchedule(Lanes(), START_S)
    assert [0, 0] == [schedule.due(START_S), schedule.due(START_S)]


def test_urgent_lanes_go_between_two_chunks_of_another() -> None:
    """P0 that comes while P2 has more is next."""
    schedule = rested()
    now_s = START_S + 60
    schedule.rest(0, now_s)
    schedule.rest(1, now_s)
    assert schedule.due(now_s) == 2
    schedule.wake(now_s)
    assert schedule.due(now_s) == 0


def test_p0_is_due_when_it_is_committed() -> None:
    """Between two deadlines of the grid."""
    schedule = rested()
    schedule.wake(START_S + 1)
    assert schedule.due(START_S + 1) == 0


def test_p0_waits_as_long_as_the_operator_says() -> None:
    """`critical: 2s` collects P0 for two seconds."""
    schedule = LaneSchedule(Lanes(critical_s=2.0), START_S)
    for priority in range(4):
        schedule.uploaded(priority)
        schedule.rest(priority, START_S)
    schedule.wake(START_S + 1)
    assert schedule.due(START_S + 2.9) is None
    assert schedule.due(START_S + 3) == 0


def test_a_board_without_a_stream_is_not_asked_often_for_ever() -> None:
    """A lane that never has a sample keeps to its grid after the first minute."""
    schedule = LaneSchedule(Lanes(), START_S)
    due_at(schedule, START_S + 60)
    assert [] == due_at(schedule, START_S + 60 + WARM_UP_S)


def test_after_an_outage_every_lane_is_due() -> None:
    """What has waited longest need not wait for its grid."""
    schedule = rested()
    schedule.all_due(START_S + 1)
    assert [0, 1, 2, 3] == due_at(schedule, START_S + 1)


def test_an_interval_of_nothing_does_not_spin() -> None:
    """`high: 0s` asks once a second."""
    schedule = LaneSchedule(Lanes(high_s=0.0), START_S)
    schedule.uploaded(1)
    schedule.rest(1, START_S)
    schedule.rest(0, START_S)
    schedule.rest(2, START_S)
    schedule.rest(3, START_S)
    assert schedule.next_s() == START_S + 1


def test_a_lane_that_is_held_back_is_passed_over() -> None:
    """The next one among those that may go."""
    schedule = LaneSchedule(Lanes(), START_S)
    assert (2, None) == (schedule.due(START_S, (3, 2)), schedule.due(START_S, ()))
    assert (START_S, math.inf) == (schedule.next_s((2, 3)), schedule.next_s(()))


def test_p1_can_be_stretched() -> None:
    """And goes back to its own grid."""
    schedule = rested()
    schedule.stretch(60.0)
    schedule.rest(1, START_S)
    assert [2] == due_at(schedule, START_S + 59)
    assert [1, 2] == due_at(schedule, START_S + 60)
    schedule.stretch(0.0)
    schedule.rest(1, START_S + 60)
    assert [1] == due_at(schedule, START_S + 70)


@pytest.mark.parametrize(
    ("expected_s", "priority", "least_s"), [(65, 0, 0), (65, 1, 0), (65, 2, 0), (1205, 3, 0), (605, 1, 300)]
)
def test_what_a_lane_keeps_waiting_is_fresh(expected_s: float, priority: int, least_s: float) -> None:
    """Two intervals of the lane, at least two of uploads, and the commit."""
    queues = Queues(Lanes(), 5.0, START_S)
    assert expected_s == queues.fresh_s(priority, initial(Remote(), START_S), least_s)


@pytest.mark.parametrize(
    ("expected", "remote"),
    [
        (Lanes(0.0, 10.0, 30.0, 600.0), Remote()),
        (Lanes(0.0, 2.0, 6.0, 120.0), Remote(upload_interval_s=6.0)),
        (Lanes(0.0, 10.0, 300.0, 6000.0), Remote(upload_interval_s=300.0)),
        (Lanes(0.0, 1.0, 60.0, 9.0), Remote(priority=Priority(high_s=1.0, normal_s=60.0, low_s=9.0))),
    ],
)
def test_the_lanes_follow_the_upload_interval(expected: Lanes, remote: Remote) -> None:
    """P2 goes at it, P1 at a third and at least every 10 s, P3 at 20 times; what is set by itself stays."""
    assert expected == remote.lanes


DEGRADED_STATE = replace(initial(Remote(mode="auto"), START_S), mode=DEGRADED, probe_s=START_S + 5)


def resting(*, is_warm: bool = True) -> Queues:
    """Return queues whose lanes have nothing left."""
    queues = Queues(Lanes(), 5.0, START_S)
    queues.old.clear()
    for priority in range(4):
        if is_warm:
            queues.schedule.uploaded(priority)
        queues.schedule.rest(priority, START_S)
    return queues


@pytest.mark.parametrize(("priority", "is_warm", "due_s"), [(3, True, 10.0), (3, False, 3.0), (1, True, 10.0)])
def test_a_lane_is_looked_at_when_a_probe_may_go(priority: int, is_warm: bool, due_s: float) -> None:
    """Ten seconds later and not with its grid: without a sample to probe with, degraded would last for ever."""
    queues = resting(is_warm=is_warm)
    queues.rest(Queue(priority, old=False), DEGRADED_STATE, START_S)
    assert START_S + due_s == queues.schedule.next_s([priority])


def test_a_probe_is_for_what_waits_and_not_for_p1() -> None:
    """That goes anyway, as seldom as the uplink needs."""
    queues = resting()
    queues.schedule.stretch(60.0)
    queues.rest(Queue(1, old=False), DEGRADED_STATE, START_S)
    assert START_S + 60 == queues.schedule.next_s([1])


def test_old_samples_go_in_the_order_of_their_priority_when_they_may() -> None:
    """Also of a queue that is under way; none where they stay on the device."""
    queues, state = resting(), replace(initial(Remote(), START_S), old_until_s=START_S + 2)
    under_way = [Queue(3, old=True)]
    assert queues.next([0, 1, 2, 3], state, START_S + 1.9, under_way) is None
    assert Queue(3, old=True) == queues.next([0, 1, 2, 3], state, START_S + 2, under_way)
    assert queues.next([0, 1, 2, 3], state, START_S + 2, [Queue(3, old=False)]) is None
    queues.old |= {2}
    assert Queue(2, old=True) == queues.next([0, 1, 2, 3], state, START_S + 2, under_way)
    kept = replace(state, remote=Remote(backfill=Backfill(enabled=False)))
    assert queues.next([0, 1, 2, 3], kept, START_S + 2, under_way) is None


@pytest.mark.parametrize(
    ("old_s", "probe_s", "due_s"),
    [(None, None, 5.0), (2.0, None, 2.0), (9.0, None, 5.0), (None, 1.0, 1.0), (None, -1.0, 5.0), (2.0, 3.0, 2.0)],
)
def test_the_next_turn_is_when_something_may_go(old_s: float | None, probe_s: float | None, due_s: float) -> None:
    """And a look at the latest: a wake-up can be lost."""
    queues, state = resting(), initial(Remote(mode="auto"), START_S)
    if old_s is not None:
        queues.old, state = {2}, replace(state, old_until_s=START_S + old_s)
    if probe_s is not None:
        state = replace(state, mode=DEGRADED, probe_s=START_S + probe_s)
    assert START_S + due_s == queues.next_s([2, 3], state, START_S, ())


def test_after_an_outage_there_may_be_old_samples_of_every_priority() -> None:
    """A look would find them later."""
    queues = resting()
    queues.send_all(START_S + 1)
    assert ({0, 1, 2, 3}, 0) == (queues.old, queues.schedule.due(START_S + 1))


def test_fresh_and_old_meet_at_the_horizon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sample is of one queue, whatever its time."""
    monkeypatch.setattr(clock, "wall_ms", lambda: 10_000_000)
    queues, state = resting(), initial(Remote(), START_S)
    assert (9_935_000, None) == queues.span_ms(Queue(2, old=False), state)
    assert (None, 9_935_000) == queues.span_ms(Queue(2, old=True), state)
