"""Messages of health.ipc become dated heartbeats; anything else is refused and harms nothing."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import status, wire
from healthd.heartbeats import ENDS_S, MAX_PROCESSES, Beat, Heartbeats, Histogram, Reading, readings
from tests.unit.healthd.build import NOW_S, WALL_MS, beat, heartbeat, known


def message(said: wire.Heartbeat) -> list[bytes]:
    """What a process sends."""
    return [wire.STATUS_TOPIC, wire.encode_heartbeat(said)]


def raw(**changes: Any) -> list[bytes]:
    """What a process sends that is not quite of this protocol."""
    fields = {"v": wire.VERSION, **asdict(heartbeat()), **changes}
    return [wire.STATUS_TOPIC, msgpack.packb(fields)]


def heard(*messages: tuple[float, wire.Heartbeat]) -> Beat:
    """Return the latest heartbeat after some of one process, each at its time."""
    table = Heartbeats()
    for now_s, said in messages:
        table.accept(message(said), now_s)
    (latest,) = table.beats.values()
    return latest


GARBAGE = {
    "nothing": [],
    "no payload": [b"status"],
    "three frames": [b"status", b"", b""],
    "another topic": [b"statuses", message(heartbeat())[1]],
    "empty": [b"status", b""],
    "text": [b"status", b"I am fine"],
    "cut": [b"status", message(heartbeat())[1][:-3]],
    "an array": [b"status", msgpack.packb([1, 2])],
    "another version": raw(v=2),
    "a field too many": raw(mood="good"),
    "pid is text": raw(pid="1"),
    "pid is true": raw(pid=True),
    "unknown state": raw(state="asleep"),
    "error is text": raw(error="oops"),
    "status is a list": raw(status=[]),
    "a field without a name": raw(status={b"\xff": 1}),
    "readings is a map": raw(readings={}),
    "endless interval": raw(interval_s=float("inf")),
    "no interval": raw(interval_s=float("nan")),
    "no name": raw(process=""),
}


@pytest.mark.parametrize("case", GARBAGE)
def test_garbage_is_refused(case: str) -> None:
    """What is not a heartbeat raises `WireError` and leaves no trace."""
    table = Heartbeats()
    with pytest.raises(wire.WireError):
        table.accept(GARBAGE[case], NOW_S)
    assert {} == table.beats


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)


@given(st.sampled_from(sorted(asdict(heartbeat()))), ANYTHING)
def test_any_value_in_any_field_is_taken_or_refused(field: str, value: Any) -> None:
    """Whatever a field holds, a heartbeat is judged without another exception than `WireError`."""
    table = Heartbeats()
    try:
        table.accept(raw(**{field: value}), NOW_S)
    except wire.WireError:
        return
    for one in table.beats.values():
        assert isinstance(one.is_stale(NOW_S), bool)
        assert all(isinstance(reading, Reading) for reading in readings(one))
        for kind in status.STATUSES:
            status.read(kind, one.heartbeat.status)


@given(st.lists(st.binary(max_size=200), max_size=3))
def test_any_frames_are_taken_or_refused(frames: list[bytes]) -> None:
    """Random bytes are refused."""
    with pytest.raises(wire.WireError):
        Heartbeats().accept([b"status", *frames][:3], NOW_S)


def test_names_are_bounded() -> None:
    """A sender that makes up names does not fill the memory."""
    table = Heartbeats()
    for number in range(MAX_PROCESSES):
        table.accept(message(heartbeat(f"p{number}")), NOW_S)
    with pytest.raises(wire.WireError, match="range"):
        table.accept(message(heartbeat("one more")), NOW_S)
    table.accept(message(heartbeat("p0", epoch="e2")), NOW_S)
    assert (MAX_PROCESSES, 1) == (len(table.beats), table.beats["p0"].restarts)


@pytest.mark.parametrize(
    ("interval_s", "quiet_s", "age_s", "expected"),
    [(2.0, 0.0, 6.0, False), (2.0, 0.0, 6.01, True), (2.0, 30.0, 32.0, False), (2.0, 30.0, 32.01, True)],
)
def test_staleness_counts_from_reception(interval_s: float, quiet_s: float, age_s: float, expected: bool) -> None:
    """Stale is older than 3 intervals, or than the announced silence and one interval."""
    assert expected == beat("cpu", interval_s=interval_s, quiet_s=quiet_s).is_stale(NOW_S - 1.0 + age_s)


def test_after_a_goodbye_no_heartbeat_is_due() -> None:
    """It has to end instead, within the time that supervisord gives it."""
    ends = beat("gps", state="stopping", interval_s=0.5, age_s=0)
    assert (False, True) == (ends.is_stale(NOW_S + ENDS_S), ends.is_stale(NOW_S + ENDS_S + 1))


def test_restarts_are_starts_beyond_the_first() -> None:
    """Each new epoch is a restart; two processes of one name taking turns are counted once each."""
    epochs = ["a", "a", "b", "a", "b", "c"]
    table, counts = Heartbeats(), []
    for number, epoch in enumerate(epochs):
        table.accept(message(heartbeat(epoch=epoch)), NOW_S + number)
        counts.append(table.beats["cpu"].restarts)
    assert [0, 0, 1, 1, 1, 2] == counts


def test_a_process_is_as_old_as_the_kernel_says() -> None:
    """The start is dated by /proc where the process is there, by its own clock elsewhere."""
    by_kernel = heard((NOW_S, heartbeat(pid=os.getpid(), started_ms=0)))
    by_itself = heard((NOW_S, heartbeat(pid=2**30, started_ms=WALL_MS - 60_000)))
    assert (True, NOW_S - 60) == (NOW_S - 86_400 < by_kernel.started_s < NOW_S, by_itself.started_s)


def test_dates_of_facts_do_not_follow_the_wall_clock() -> None:
    """A step of the wall clock by a year between two heartbeats moves no `last_…_ms`."""
    year_ms = 365 * 86_400_000
    before = heartbeat(status={"last_collection_ms": WALL_MS - 3_000})
    stepped = heartbeat(timestamp_ms=WALL_MS + year_ms, status={"last_collection_ms": WALL_MS - 3_000})
    collected_before_the_step = heartbeat(timestamp_ms=WALL_MS + year_ms, status={"last_collection_ms": WALL_MS})
    assert {"last_collection_ms": NOW_S - 3} == heard((NOW_S, before)).happened_s
    assert {"last_collection_ms": NOW_S - 3} == heard((NOW_S, before), (NOW_S + 2, stepped)).happened_s
    after = heard((NOW_S, before), (NOW_S + 2, collected_before_the_step)).happened_s["last_collection_ms"]
    assert NOW_S <= after <= NOW_S + 2


def test_a_new_start_may_report_what_was_long_ago() -> None:
    """A shipper that starts with the last upload of its predecessor dates it by its own clock."""
    old = heartbeat("shipper", status={"last_upload_ms": None})
    new = heartbeat("shipper", epoch="e2", status={"last_upload_ms": WALL_MS - 600_000})
    assert {"last_upload_ms": NOW_S - 599} == heard((NOW_S, old), (NOW_S + 1, new)).happened_s


def test_facts_of_another_type_are_absent() -> None:
    """Text is no number, a bool is none, and one bad priority spoils the counts."""
    confused = {"free_bytes": "1", "wal_size_bytes": True, "paused": 5, "pending": [1, 2, 3, None]}
    one = known(beat("buffer", status=confused)).buffer
    assert [None] * 4 == [one.free_bytes, one.wal_size_bytes, one.paused, one.pending]
    assert [1, 2, 3, 4] == known(beat("buffer", status={"pending": [1, 2, 3, 4]})).buffer.pending


def test_a_reading_that_is_none_costs_itself_alone() -> None:
    """Of a heartbeat's instruments the good ones are taken, whatever is between them."""
    bad: list[Any] = [
        None, [], ["gauge", "x", {}], ["gauge", 5, {}, 1], ["gauge", "x", {"a": 1}, 1], ["gauge", "x", {}, "1"],
        ["gauge", "x", {}, float("nan")], ["gauge", "x", {}, True], ["gauge", "", {}, 1], ["gauge", "x", [], 1],
        ["histogram", "x", {}, 1], ["histogram", "x", {}, [[1], [1], 1]], ["histogram", "x", {}, [[1], [1, "2"], 1]],
        ["histogram", "x", {}, [1, [1], 1]],
    ]  # fmt: skip
    good = [["counter", "c", {"a": "b"}, 3], ["histogram", "h", {}, [[0.5], [1, 2], 0.75]]]
    said = beat("cpu", readings=[*bad, good[0], *bad, good[1]])
    expected = [Reading("counter", "c", {"a": "b"}, 3), Reading("histogram", "h", {}, Histogram([0.5], [1, 2], 0.75))]
    assert expected == list(readings(said))
