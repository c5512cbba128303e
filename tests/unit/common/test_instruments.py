"""What a process counts of itself."""

from __future__ import annotations

from common import wire
from common.instruments import DURATION_BOUNDS_S, Instruments


def test_a_counter_adds_up_by_its_tags() -> None:
    """Each set of tags is a counter of its own, in whatever order they are named."""
    instruments = Instruments()
    instruments.count("c")
    instruments.count("c", 2, reason="a", producer="p")
    instruments.count("c", 3, producer="p", reason="a")
    assert (1, 5, 0) == (
        instruments.counter("c"),
        instruments.counter("c", producer="p", reason="a"),
        instruments.counter("c", reason="b"),
    )


def test_a_counter_is_visible_before_its_first_event() -> None:
    """A rate needs a 0 to rise from."""
    instruments = Instruments()
    instruments.count("c", 0)
    assert [["counter", "c", {}, 0]] == instruments.readings()


def test_a_total_is_what_somebody_else_counts() -> None:
    """The kernel's counter is taken as it is; when it cannot be read the last value stands."""
    instruments = Instruments()
    instruments.total("t", 100)
    instruments.total("t", 70)
    instruments.total("t", None)
    assert 70 == instruments.counter("t")


def test_a_gauge_that_is_not_known_is_absent() -> None:
    """None removes the gauge, it is never 0."""
    instruments = Instruments()
    instruments.gauge("g", 0)
    assert [["gauge", "g", {}, 0]] == instruments.readings()
    instruments.gauge("g", None)
    instruments.gauge("never seen", None)
    assert [] == instruments.readings()


def test_a_histogram_counts_cumulatively_up_to_and_including_each_bound() -> None:
    """Buckets are `le` buckets, the last for +Inf, and the sum is the sum of what was observed."""
    instruments = Instruments()
    for seconds in (0.0, DURATION_BOUNDS_S[0], DURATION_BOUNDS_S[1], DURATION_BOUNDS_S[-1], 1000.0):
        instruments.observe("h", seconds, collector="cpu")
    ((kind, name, tags, (bounds, counts, total)),) = instruments.readings()
    assert ("histogram", "h", {"collector": "cpu"}, list(DURATION_BOUNDS_S)) == (kind, name, tags, bounds)
    assert [2, 3, 3, 3, 3, 3, 4, 5] == counts
    assert sum([0.0, DURATION_BOUNDS_S[0], DURATION_BOUNDS_S[1], DURATION_BOUNDS_S[-1], 1000.0]) == total


def test_the_bounds_ascend() -> None:
    """The last bound before +Inf is the largest."""
    assert sorted(set(DURATION_BOUNDS_S)) == list(DURATION_BOUNDS_S)


def test_readings_survive_the_wire() -> None:
    """A heartbeat carries every kind of reading as it is."""
    instruments = Instruments()
    instruments.count("c", 1.5)
    instruments.gauge("g", -3)
    instruments.observe("h", 0.2)
    said = wire.Heartbeat("p", 1, "e", 1, 1, 2.0, readings=instruments.readings())
    assert instruments.readings() == wire.decode_heartbeat(wire.encode_heartbeat(said)).readings


def test_readings_are_a_copy() -> None:
    """What was read out does not change with the next event."""
    instruments = Instruments()
    instruments.observe("h", 0.2)
    before = instruments.readings()
    instruments.observe("h", 0.2)
    assert before != instruments.readings()
