"""Leases out of the real buffer: what they hold, and what may become of them."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest
import zmq

from common import clock, wire
from common.sample import Sample
from common.wire import Heartbeat
from deploy.command.place import PipelinePlace
from deploy.command.quarantine import quarantine
from tests.harness import wait_for
from tests.unit.buffer.clients import WITH_ALARMS, Producer, Shipper, values
from tests.unit.buffer.databases import DEVICE, NOW_MS, query
from tests.unit.common.child import Child
from tests.unit.common.peers import Ears, reading


@pytest.fixture
def running(run_dir: Path) -> Iterator[Child]:
    """The real buffer, with metrics of every priority."""
    with Child(run_dir, ["-c", WITH_ALARMS]) as child:
        yield child


@pytest.fixture
def environment(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database's path, as the command finds it."""
    monkeypatch.setenv("BELABOX_STORAGE__PATH", str(run_dir / "metrics.db"))


@pytest.fixture
def producer(running: Child, run_dir: Path) -> Iterator[Producer]:
    """A producer of the buffer's."""
    with Producer(run_dir) as one:
        yield one


@pytest.fixture
def shipper(running: Child, run_dir: Path) -> Iterator[Shipper]:
    """The buffer's shipper."""
    with Shipper(run_dir) as one:
        yield one


def test_an_empty_buffer_has_nothing_to_lease(shipper: Shipper) -> None:
    """Lease 0 is no lease."""
    assert ((0, []), [0, 0, 0, 0]) == (shipper.lease(), shipper.pending())


def test_a_lease_is_oldest_first_and_grouped_by_series(producer: Producer, shipper: Shipper) -> None:
    """Each group has a name, device, tags, ascending times and their values, as they go into the body."""
    for number in (2, 0, 1):
        producer.put(Sample("m", number, {"l": "v"}), Sample("n", -number), at_ms=NOW_MS + number)
    producer.settle()
    lease, groups = shipper.lease()
    assert lease > 0
    times = [NOW_MS, NOW_MS + 1, NOW_MS + 2]
    expected = [["m", DEVICE, {"l": "v"}, times, [0, 1, 2]], ["n", DEVICE, {}, times, [0, -1, -2]]]
    assert expected == sorted(groups)


def test_a_lease_says_of_which_stream_it_is(producer: Producer, shipper: Shipper) -> None:
    """The upload's log lines and the JSON receiver's requests name it."""
    stream = {"id": "5b0e", "status": "active", "start_ms": NOW_MS, "end_ms": None, "metadata": {}}
    producer.put(Sample("session", json.dumps(stream)), Sample("m", 1), at_ms=NOW_MS)
    producer.settle()
    assert "5b0e" == shipper.ask("lease", priority=2, max_samples=10)["session_id"]


def test_a_lease_has_one_priority(producer: Producer, shipper: Shipper) -> None:
    """Lanes do not mix."""
    producer.put(*(Sample(f"alarm.{priority}", priority) for priority in range(4)))
    producer.settle()
    assert [1, 1, 1, 1] == shipper.pending()
    assert [[priority] for priority in range(4)] == [
        values(shipper.lease(priority=priority)[1]) for priority in range(4)
    ]


def test_a_lease_has_at_most_so_many_and_nothing_newer(producer: Producer, shipper: Shipper) -> None:
    """`max_samples` and `before_ms` bound it; the oldest come first."""
    producer.numbers(range(10))
    producer.settle()
    assert [0, 1, 2] == values(shipper.lease(most=3)[1])
    assert [3, 4] == values(shipper.lease(before_ms=NOW_MS + 5)[1])
    assert (0, []) == shipper.lease(before_ms=NOW_MS + 5)


def test_two_leases_of_one_priority_do_not_overlap(producer: Producer, shipper: Shipper) -> None:
    """Samples under way are not leased again, whatever the order of the answers."""
    producer.numbers(range(100))
    producer.settle()
    leases = [shipper.lease(most=30) for _ in range(5)]
    assert [30, 30, 30, 10, 0] == [len(values(groups)) for _, groups in leases]
    assert list(range(100)) == sorted(value for _, groups in leases for value in values(groups))
    for index in (2, 0):
        assert {"marked": 30} == accounted(shipper.done(leases[index][0], 30))
    producer.numbers(range(100, 105))
    producer.settle()
    assert [100, 101, 102, 103, 104] == values(shipper.lease()[1])


def accounted(reply: dict[str, Any]) -> dict[str, Any]:
    """Return a reply without what every reply has."""
    return {key: value for key, value in reply.items() if key not in {"v", "id"}}


def test_a_done_lease_is_uploaded(producer: Producer, shipper: Shipper, run_dir: Path) -> None:
    """The rows carry batch and chunk, the checkpoint is written, nothing is pending, the lease is over."""
    producer.numbers(range(50))
    producer.settle()
    lease, _ = shipper.lease()
    assert {"marked": 50} == accounted(shipper.done(lease, 50, "batch-1", 2))
    assert [0, 0, 0, 0] == shipper.pending()
    path = run_dir / "metrics.db"
    assert [(50, 1, "batch-1", 2)] == query(
        path, "SELECT count(*), uploaded, batch_id, chunk_index FROM metrics GROUP BY 2, 3, 4"
    )
    assert [("batch-1", 2, 50)] == query(path, "SELECT batch_id, chunk_index, metrics_count FROM upload_checkpoints")
    assert "unknown_lease" == shipper.done(lease, 51)["error"]


def test_a_partial_done_marks_exactly_that_many(producer: Producer, shipper: Shipper) -> None:
    """Of 50 the server took 25: those are uploaded, the other 25 stay on the lease and then pending."""
    producer.numbers(range(50))
    producer.settle()
    lease, groups = shipper.lease()
    assert {"marked": 25} == accounted(shipper.done(lease, 25))
    assert (0, []) == shipper.lease()
    assert {} == accounted(shipper.ask("release", lease=lease))
    again, rest = shipper.lease()
    assert values(groups)[25:] == values(rest)
    assert {"marked": 25} == accounted(shipper.done(again, 25, "b", 1))
    assert [0, 0, 0, 0] == shipper.pending()


def test_a_lease_is_accounted_for_in_pieces(producer: Producer, shipper: Shipper, run_dir: Path) -> None:
    """`upto` counts through all groups, done and reject alternate, and the last piece ends the lease."""
    for number in range(4):
        producer.put(Sample("a", number), Sample("b", number), at_ms=NOW_MS + number)
    producer.settle()
    lease, groups = shipper.lease()
    assert {"marked": 3} == accounted(shipper.done(lease, 3))
    assert {"marked": 1} == accounted(shipper.ask("reject", lease=lease, upto=4, reason="poison"))
    assert {"marked": 4} == accounted(shipper.done(lease, 8, "b", 1))
    assert "unknown_lease" == shipper.ask("release", lease=lease)["error"]
    (refused,) = query(run_dir / "metrics.db", "SELECT metric_name, metric_value FROM metrics WHERE uploaded = 2")
    assert (groups[0][0], 3) == refused


def test_rejected_samples_are_quarantined_and_logged(
    producer: Producer, shipper: Shipper, running: Child, run_dir: Path
) -> None:
    """Poison is kept, counted, named in the log with the reason, and not sent again."""
    with Ears(run_dir) as ears:
        producer.put(Sample("m", 7, {"l": "v"}), Sample("n", 8))
        producer.settle()
        lease, _ = shipper.lease()
        assert {"marked": 2} == accounted(shipper.ask("reject", lease=lease, upto=2, reason="400 bad line"))
        line = running.wait_for_line("quarantined", 2)
        assert ("400 bad line", NOW_MS) == (line["reason"], line["timestamp_ms"])
        ears.wait_for("the counter", lambda said: reading(said, "storage.quarantined_total") == 2)
    assert ((0, []), [0, 0, 0, 0]) == (shipper.lease(), shipper.pending())


def test_refused_samples_are_listed_and_released_by_a_command(
    producer: Producer, shipper: Shipper, run_dir: Path, capsys: pytest.CaptureFixture[str], environment: None
) -> None:
    """All of them or a metric's; what is released is pending again, at its own time."""
    producer.put(Sample("m", 7, {"l": "v"}), Sample("n", 8), Sample("text", "kept"))
    producer.settle()
    shipper.ask("reject", lease=shipper.lease()[0], upto=2, reason="400 bad line")
    place = PipelinePlace(run_dir, run_dir, None, is_device=False)
    for action, metric in (("list", None), ("release", "m"), ("list", None), ("release", None)):
        assert 0 == quarantine(place, argparse.Namespace(action=action, metric=metric))
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith(f'm {{"l":"v"}}: 1 samples, {clock.rfc3339(NOW_MS)} to ')
    assert ["2 samples in quarantine", "1 samples are pending again"] == said[2:4]
    assert ["1 samples in quarantine", "1 samples are pending again"] == said[-2:]
    assert [7, 8] == sorted(values(shipper.lease()[1]))


def test_a_reject_without_a_reason_changes_nothing(producer: Producer, shipper: Shipper) -> None:
    """An error means that nothing happened: the lease stands as it was."""
    producer.numbers(range(3))
    producer.settle()
    lease, _ = shipper.lease()
    assert "bad_request" == shipper.ask("reject", lease=lease, upto=3)["error"]
    assert {"marked": 3} == accounted(shipper.done(lease, 3))


def test_hello_marks_what_the_server_took_before(producer: Producer, shipper: Shipper) -> None:
    """By series and timestamp, once; what is not pending, or not there, changes nothing."""
    producer.numbers(range(5))
    producer.settle()
    name, device, tags, times, _ = shipper.lease()[1][0]
    chunk = [2, "b", 0, [[name, device, tags, [*times[:3], NOW_MS - 1]], ["never.heard", device, {}, times]]]
    assert [3, 0] == [shipper.ask("hello", accepted=[chunk])["marked"] for _ in range(2)]
    assert [3, 4] == values(shipper.lease()[1])


def test_hello_that_makes_no_sense_is_refused(shipper: Shipper) -> None:
    """And the buffer goes on."""
    for accepted in (7, [7], [[2, "b", 0]], [[2, "b", 0, [["m"]]]], [[2, "b", 0, [["m", "d", 7, [1]]]]]):
        assert "bad_request" == shipper.ask("hello", accepted=accepted)["error"], accepted
        assert [0, 0, 0, 0] == shipper.pending()


def test_hello_voids_every_lease(producer: Producer, shipper: Shipper) -> None:
    """A shipper that starts anew gets what its predecessor had under way."""
    producer.numbers(range(10))
    producer.settle()
    first, _ = shipper.lease(most=4)
    second, _ = shipper.lease(most=4)
    assert [0, 0, 10, 0] == shipper.pending()
    for lease in (first, second):
        assert "unknown_lease" == shipper.done(lease, 4)["error"]
    assert 10 == len(values(shipper.lease()[1]))


def test_a_buffer_that_ends_takes_the_mark_of_what_is_under_way(
    producer: Producer, shipper: Shipper, running: Child, run_dir: Path
) -> None:
    """One chunk's; the rest of the lease is pending, and there is no other lease."""
    producer.numbers(range(50))
    producer.settle()
    lease, _ = shipper.lease()
    running.process.terminate()
    wait_for("its end to begin", lambda: shipper.ask("lease", priority=2, max_samples=1).get("error") == "closing")
    assert {"marked": 20} == accounted(shipper.done(lease, 20))
    assert 0 == running.wait()
    pending = query(run_dir / "metrics.db", "SELECT count(*) FROM metrics WHERE uploaded = 0 AND metric_name = 'm'")
    assert [(30,)] == pending


def test_a_lease_of_a_dead_buffer_is_unknown_to_the_next(
    producer: Producer, shipper: Shipper, running: Child, run_dir: Path
) -> None:
    """After kill -9 nothing is marked for a lease that the new process never gave; its rows are pending."""
    producer.numbers(range(5))
    producer.settle()
    lease, _ = shipper.lease()
    running.kill()
    with Child(run_dir, ["-c", WITH_ALARMS]), Shipper(run_dir) as again:
        assert "unknown_lease" == again.done(lease, 5)["error"]
        fresh, groups = again.lease()
        assert list(range(5)) == values(groups)
        assert fresh != lease


def test_text_is_never_leased(producer: Producer, shipper: Shipper) -> None:
    """Text is not pending and in no lane."""
    producer.put(Sample("m", "text"), *(Sample(f"alarm.{priority}", "text") for priority in range(4)))
    producer.settle()
    assert [0, 0, 0, 0] == shipper.pending()
    assert [(0, [])] * 4 == [shipper.lease(priority=priority) for priority in range(4)]


def test_stats_tell_what_is_pending_due_and_oldest(producer: Producer, shipper: Shipper) -> None:
    """Due is what is older than its lane's interval; lanes without samples have no oldest."""
    now_ms = clock.wall_ms()
    producer.put(Sample("alarm.1", 1), at_ms=now_ms - 20_000)
    producer.put(Sample("alarm.1", 2), at_ms=now_ms - 1_000)
    producer.put(Sample("m", 3), at_ms=now_ms - 1_000)
    producer.settle()
    reply = accounted(shipper.ask("stats", intervals_s=[0, 10, 0.5, 600]))
    assert {
        "pending": [0, 2, 1, 0], "due": [0, 1, 1, 0], "oldest_ms": [None, now_ms - 20_000, now_ms - 1_000, None],
    } == reply  # fmt: skip


GARBAGE: list[dict[str, Any]] = [
    {},
    {"op": None},
    {"op": "drop table"},
    {"op": ["lease"]},
    {"op": "x" * 1_000_000},
    {"op": "lease"},
    {"op": "lease", "priority": 9, "max_samples": 1},
    {"op": "lease", "priority": -1, "max_samples": 1},
    {"op": "lease", "priority": 2, "max_samples": 0},
    {"op": "lease", "priority": 2, "max_samples": 10**9},
    {"op": "lease", "priority": float("inf"), "max_samples": 1},
    {"op": "lease", "priority": float("nan"), "max_samples": 1},
    {"op": "lease", "priority": 2, "max_samples": 1, "before_ms": 2**64 - 1},
    {"op": "lease", "priority": 2, "max_samples": 1, "before_ms": -(2**63)},
    {"op": "lease", "priority": 2, "max_samples": 1, "before_ms": float("-inf")},
    {"op": "lease", "priority": {}, "max_samples": []},
    {"op": "done"},
    {"op": "done", "lease": [], "upto": 1},
    {"op": "done", "lease": {"a": 1}, "upto": 1},
    {"op": "done", "lease": 0, "upto": 1, "batch_id": "b", "chunk_index": 0},
    {"op": "reject", "lease": 1.5, "upto": 1, "reason": ""},
    {"op": "release"},
    {"op": "release", "lease": None},
    {"op": "stats"},
    {"op": "stats", "intervals_s": 5},
    {"op": "stats", "intervals_s": [1, 2, 3]},
    {"op": "stats", "intervals_s": [1, 2, 3, "x"]},
    {"op": "stats", "intervals_s": [float("inf")] * 4},
    {"op": "stats", "intervals_s": [1e300] * 4},
]


def test_no_request_however_odd_ends_the_buffer(producer: Producer, shipper: Shipper, running: Child) -> None:
    """Each gets an error or an empty lease in reply, nothing is changed, and the next good request is served."""
    producer.numbers(range(3))
    producer.settle()
    lease, _ = shipper.lease(most=1)
    for fields in GARBAGE:
        reply = shipper.ask(**{"op": None, **fields})
        assert reply.get("error") in {"bad_request", "unknown_lease"} or reply.get("groups") == [], (fields, reply)
    for changes in ({"upto": 0}, {"upto": 2}, {"upto": -1}, {"upto": "x"}, {"upto": 1, "chunk_index": 2**64 - 1}):
        fields = {"lease": lease, "upto": 1, "batch_id": "b", "chunk_index": 0, **changes}
        assert "bad_request" == shipper.ask("done", **fields)["error"], changes
    assert {"marked": 1} == accounted(shipper.done(lease, 1))
    assert [0, 0, 2, 0] == shipper.pending()
    assert running.process.poll() is None


NO_REQUESTS = (
    ("frames", [b"a", b"b"]),
    ("msgpack", [b""]),
    ("msgpack", [b"\xc1"]),
    ("msgpack", [b"\xdd\xff\xff\xff\xff"]),
    ("shape", [wire.pack([])]),
    ("version", [wire.pack({"id": 1})]),
    ("version", [wire.pack({"v": 2, "id": 1, "op": "hello"})]),
    ("shape", [wire.pack({"v": 1, "op": "hello"})]),
    ("shape", [wire.pack({"v": 1, "id": 1.5, "op": "hello"})]),
    ("shape", [b"\x82\xa1v\x01\xa2id" + b"\x91" * 600 + b"\xc0"]),
    ("shape", [bytes(msgpack.packb({"v": 1, "id": msgpack.ExtType(5, b"x")}))]),
)


def test_what_is_no_request_is_counted_and_dropped(shipper: Shipper, run_dir: Path) -> None:
    """It gets no reply, the counter says why, and the next request is answered."""
    with Ears(run_dir) as ears:
        for number, (reason, frames) in enumerate(NO_REQUESTS, 1):
            shipper.socket.send_multipart(frames)
            assert [0, 0, 0, 0] == shipper.pending()
            so_far = sum(reason == one for one, _ in NO_REQUESTS[:number])

            def is_counted(said: Heartbeat, reason: str = reason, so_far: int = so_far) -> bool:
                return reading(said, "storage.refused_samples_total", reason=reason) == so_far

            ears.wait_for(f"{reason} of {frames!r}", is_counted)


def test_a_shipper_that_vanishes_does_not_block_the_buffer(producer: Producer, run_dir: Path) -> None:
    """Replies to a peer that is gone are dropped, and the next shipper is served."""
    producer.numbers(range(1000))
    producer.settle()
    for _ in range(20):
        with Shipper(run_dir) as gone:
            gone.socket.setsockopt(zmq.LINGER, 1000)
            for number in range(20):
                gone.socket.send(wire.pack({"v": 1, "id": number, "op": "lease", "priority": 2, "max_samples": 1000}))
    with Shipper(run_dir) as next_one:
        assert [0, 0, 1000, 0] == next_one.pending()
        assert 1000 == len(values(next_one.lease()[1]))
