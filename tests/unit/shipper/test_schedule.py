"""Which lane goes next, and how much it sends."""

from __future__ import annotations

import math

from common.remote import Lanes
from shipper.pace.schedule import CRITICAL_POLL_S, MAX_CHUNK_SAMPLES, WARM_UP_S, Pace, Schedule

START_S = 5000.0


def rested(now_s: float = START_S) -> Schedule:
    """Return a schedule whose lanes have all shipped and have nothing left."""
    schedule = Schedule(Lanes(), START_S)
    for priority in range(4):
        schedule.shipped(priority)
        schedule.rest(priority, now_s)
    return schedule


def test_devices_that_start_together_do_not_upload_together() -> None:
    """The first ones go at once; after that each has its own second of the interval."""
    seconds = set()
    for device in range(100):
        schedule = Schedule(Lanes(normal_s=60.0), START_S, device * 0.0137 % 1)
        assert schedule.due(START_S) == 0
        schedule.shipped(2)
        schedule.rest(2, START_S)
        assert START_S < schedule.next_s([2]) <= START_S + 60
        seconds.add(int(schedule.next_s([2])))
    assert len(seconds) > 50


def due_at(schedule: Schedule, now_s: float) -> list[int]:
    """Return the lanes in the order in which they go, each with nothing left afterwards."""
    order = []
    while (priority := schedule.due(now_s)) is not None:
        order.append(priority)
        schedule.rest(priority, now_s)
    return order


def test_every_lane_is_due_at_the_start() -> None:
    """Most urgent first."""
    assert [0, 1, 2, 3] == due_at(Schedule(Lanes(), START_S), START_S)


def test_a_lane_that_has_not_shipped_asks_often() -> None:
    """Whoever has just installed it looks at an empty graph."""
    schedule = Schedule(Lanes(), START_S)
    due_at(schedule, START_S)
    assert schedule.next_s() == START_S + WARM_UP_S
    assert [0, 1, 2, 3] == due_at(schedule, START_S + WARM_UP_S)


def test_a_lane_that_has_shipped_keeps_to_its_grid() -> None:
    """10, 60 and 600 seconds from the start, however late one of them was."""
    schedule = rested(START_S + 3.2)
    assert [] == due_at(schedule, START_S + 4.9)
    assert [0, 1] == due_at(schedule, START_S + 14)
    assert [0, 1] == due_at(schedule, START_S + 20)
    assert [0, 1, 2] == due_at(schedule, START_S + 60)
    assert [0, 1, 2, 3] == due_at(schedule, START_S + 600)


def test_a_lane_with_more_goes_on_at_once() -> None:
    """It is due until it rests."""
    schedule = Schedule(Lanes(), START_S)
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
    schedule = Schedule(Lanes(critical_s=2.0), START_S)
    for priority in range(4):
        schedule.shipped(priority)
        schedule.rest(priority, START_S)
    schedule.wake(START_S + 1)
    assert schedule.due(START_S + 2.9) is None
    assert schedule.due(START_S + 3) == 0


def test_p0_is_asked_for_without_being_told() -> None:
    """A wake-up can be lost, a sample cannot."""
    assert rested().next_s() == START_S + CRITICAL_POLL_S


def test_after_an_outage_every_lane_is_due() -> None:
    """What has waited longest need not wait for its grid."""
    schedule = rested()
    schedule.all_due(START_S + 1)
    assert [0, 1, 2, 3] == due_at(schedule, START_S + 1)


def test_new_intervals_hold_at_once() -> None:
    """A reload makes every lane due and changes the grid."""
    schedule = rested()
    schedule.configure(Lanes(high_s=30.0), START_S + 1)
    assert [0, 1, 2, 3] == due_at(schedule, START_S + 1)
    assert [0] == due_at(schedule, START_S + 29)
    assert [0, 1] == due_at(schedule, START_S + 30)


def test_an_interval_of_nothing_does_not_spin() -> None:
    """`high: 0s` asks once a second."""
    schedule = Schedule(Lanes(high_s=0.0), START_S)
    schedule.shipped(1)
    schedule.rest(1, START_S)
    schedule.rest(0, START_S)
    schedule.rest(2, START_S)
    schedule.rest(3, START_S)
    assert schedule.next_s() == START_S + 1


def test_chunks_grow_while_behind() -> None:
    """50 samples on each round trip of 60 ms would be 800 a second."""
    pace = Pace(50, 256 * 1024)
    sizes = []
    for _ in range(6):
        sizes.append(pace.samples)
        pace.succeeded(pace.samples, 3 * pace.samples)
    assert [50, 200, 800, 3200, 12_800, MAX_CHUNK_SAMPLES] == sizes


def test_chunks_grow_up_to_the_byte_cap() -> None:
    """At 10 bytes a sample, 20 % below it."""
    pace = Pace(50, 10_000)
    for _ in range(6):
        pace.succeeded(pace.samples, 10 * pace.samples)
    assert pace.samples == 800


def test_a_small_chunk_says_nothing_about_going_faster() -> None:
    """The rest of a lease, or half of a body that was too large."""
    pace = Pace(50, 256 * 1024)
    pace.succeeded(50, 150)
    pace.succeeded(10, 30)
    assert pace.samples == 200


def test_a_failure_begins_with_little() -> None:
    """What is lost on a bad link shall be little."""
    pace = Pace(50, 256 * 1024)
    pace.succeeded(50, 150)
    pace.failed()
    assert pace.samples == 50


def test_a_size_that_was_refused_is_not_tried_again() -> None:
    """413 would come with every other chunk."""
    pace = Pace(50, 256 * 1024)
    pace.succeeded(50, 150)
    pace.too_large(200)
    assert pace.samples == 100
    pace.succeeded(100, 300)
    assert pace.samples == 100


def test_a_size_below_the_first_one_can_be_refused_too() -> None:
    """Down to one sample."""
    pace = Pace(50, 256 * 1024)
    for size in (50, 25, 12, 6, 3, 1):
        pace.too_large(size)
    pace.failed()
    assert pace.samples == 1


def test_a_size_that_was_refused_is_tried_again_after_a_while() -> None:
    """After 2 chunks that were taken, after 4 when it is refused again."""
    pace = Pace(50, 256 * 1024)
    sizes = []
    pace.too_large(50)
    for _ in range(3):
        pace.succeeded(pace.samples, 3 * pace.samples)
        sizes.append(pace.samples)
    pace.too_large(50)
    for _ in range(4):
        pace.succeeded(pace.samples, 3 * pace.samples)
        sizes.append(pace.samples)
    assert [25, 50, 50, 25, 25, 25, 50] == sizes


def test_a_lane_that_is_held_back_is_passed_over() -> None:
    """The next one among those that may go."""
    schedule = Schedule(Lanes(), START_S)
    assert (2, None) == (schedule.due(START_S, (3, 2)), schedule.due(START_S, ()))
    assert (START_S, math.inf) == (schedule.next_s((2, 3)), schedule.next_s(()))


def test_p1_can_be_stretched() -> None:
    """And goes back to its own grid."""
    schedule = rested()
    schedule.stretch(60.0)
    schedule.rest(1, START_S)
    assert [0] == due_at(schedule, START_S + 59)
    assert [0, 1, 2] == due_at(schedule, START_S + 60)
    schedule.stretch(0.0)
    schedule.rest(1, START_S + 60)
    assert [0, 1] == due_at(schedule, START_S + 70)
