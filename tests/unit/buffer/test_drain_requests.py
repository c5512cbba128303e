"""What the drain is asked: in vain, too much at once, at its end, and of a database that refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import Mock

import apsw
import msgpack
import pytest
import zmq

from buffer.delivery import drain
from common import clock, wire
from common.sample import Sample
from tests.unit.buffer.clients import Shipper, accounted, values
from tests.unit.buffer.databases import NOW_MS
from tests.unit.buffer.drains import Buffer, Frames, buffer, shipper

__all__ = ["buffer", "shipper"]


def test_a_reject_without_a_reason_changes_nothing(buffer: Buffer, shipper: Shipper) -> None:
    """An error means that nothing happened: the lease stands as it was."""
    buffer.numbers(range(3))
    lease, _ = shipper.lease()
    assert "bad_request" == shipper.ask("reject", lease=lease, upto=3)["error"]
    assert {"marked": 3} == accounted(shipper.done(lease, 3))


def test_hello_that_makes_no_sense_is_refused(shipper: Shipper) -> None:
    """And the buffer goes on."""
    for accepted in (7, [7], [[2, "b", 0]], [[2, "b", 0, [["m"]]]], [[2, "b", 0, [["m", "d", 7, [1]]]]]):
        assert "bad_request" == shipper.ask("hello", accepted=accepted)["error"], accepted
        assert [0, 0, 0, 0] == shipper.pending()


def test_stats_tell_what_is_pending_due_and_oldest(buffer: Buffer, shipper: Shipper) -> None:
    """Due is what is older than its lane's interval; lanes without samples have no oldest."""
    now_ms = clock.wall_ms()
    buffer.put(Sample("alarm.1", 1), at_ms=now_ms - 15_000)
    buffer.put(Sample("alarm.1", 2), at_ms=now_ms - 1_000)
    buffer.put(Sample("m", 3), at_ms=now_ms - 1_000)
    reply = accounted(shipper.ask("stats", intervals_s=[0, 10, 0.5, 600]))
    assert {
        "pending": [0, 2, 1, 0], "due": [0, 1, 1, 0], "oldest_ms": [None, now_ms - 15_000, now_ms - 1_000, None],
    } == reply  # fmt: skip


def test_a_counter_begins_at_0(buffer: Buffer) -> None:
    """A rate needs to have seen it there: else the first quarantine of a boot is none."""
    found = [reading for reading in buffer.instruments.readings() if "storage.quarantined_total" in reading]
    assert [0] == [reading[3] for reading in found]


def test_nothing_is_due_or_oldest_while_all_waits_for_its_mark(
    buffer: Buffer, shipper: Shipper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lane with nothing to send is not late, nor earlier than it has to be."""
    monkeypatch.setattr(clock, "wall_ms", lambda: NOW_MS + 10_000)
    buffer.numbers(range(2))
    shipper.done(shipper.lease()[0], 2)
    stats = shipper.ask("stats", intervals_s=[10] * 4)
    assert ([0] * 4, [0] * 4, [None] * 4) == (stats["pending"], stats["due"], stats["oldest_ms"])


def test_a_socket_whose_file_was_deleted_is_named(buffer: Buffer, run_dir: Path) -> None:
    """And is there again; one that is there is not named."""
    assert [] == buffer.drain.bind_again()
    (run_dir / "drain.ipc").unlink()
    assert ["drain.ipc"] == buffer.drain.bind_again()
    assert (run_dir / "drain.ipc").is_socket()


@pytest.mark.parametrize(("most", "error"), [(200_000, None), (200_001, "bad_request"), (1, None), (0, "bad_request")])
def test_a_lease_has_a_largest_size(shipper: Shipper, most: int, error: str | None) -> None:
    """20 MB in both processes; a shipper that asks for more would have both killed."""
    assert error == shipper.ask("lease", priority=2, max_samples=most).get("error")


@pytest.mark.parametrize(
    ("index", "error"), [(0, None), (2**31 - 1, None), (2**31, "bad_request"), (-1, "bad_request")]
)
def test_a_chunk_has_a_number(buffer: Buffer, shipper: Shipper, index: int, error: str | None) -> None:
    """What does not fit into the table would be an error at the commit, of everything in it."""
    buffer.numbers(range(1))
    assert error == shipper.done(shipper.lease()[0], 1, "b", index).get("error")


def test_other_requests_and_samples_get_their_turn(buffer: Buffer, shipper: Shipper) -> None:
    """However many requests wait, ingest goes on after sixteen."""
    for number in range(17):
        shipper.socket.send(wire.pack({"v": wire.VERSION, "id": number, "op": "hello"}))
    replies = 0
    while replies < 17:
        buffer.serve()
        turn = 0
        while shipper.socket.poll(20):
            assert replies + turn == wire.unpack(shipper.socket.recv())["id"]
            turn += 1
        assert turn <= 16
        replies += turn


def test_a_lease_that_cannot_be_delivered_is_over(buffer: Buffer, shipper: Shipper) -> None:
    """Else its samples would wait until a shipper says hello."""
    buffer.numbers(range(3))
    with pytest.raises(zmq.ZMQError):
        buffer.socket.send_multipart([b"nobody", b"reply"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(buffer.drain, "_socket", Frames({"id": 1, "op": "lease", "priority": 2, "max_samples": 9}))
        buffer.drain.receive()
    assert [0, 1, 2] == values(shipper.lease()[1])


def test_what_is_no_request_holds_up_none_behind_it(buffer: Buffer) -> None:
    """They have come in one turn, and the loop may not wake up for them again."""
    frames = Frames({}, {"id": 1, "op": "stats"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(buffer.drain, "_socket", frames)
        buffer.drain.receive()
    assert [] == frames.waiting


def test_a_database_that_refuses_is_an_error_and_passed_on(buffer: Buffer, shipper: Shipper) -> None:
    """The shipper asks again later; damage is noticed whoever meets it first."""
    buffer.numbers(range(1))
    lease, _ = shipper.lease()
    with pytest.MonkeyPatch.context() as patch:
        error = apsw.CorruptError("malformed")
        patch.setattr(buffer.store.pending, "mark_quarantined", Mock(side_effect=error))
        reply = shipper.ask("reject", lease=lease, upto=1, reason="400")
    assert ("storage", "malformed") == (reply["error"], reply["detail"])
    assert ([error], error) == (buffer.failures, buffer.store.damage)
    assert {"marked": 1} == accounted(shipper.done(lease, 1))


@pytest.mark.parametrize("upto", [2, 4])
def test_an_end_takes_one_more_chunk_of_what_is_under_way(buffer: Buffer, shipper: Shipper, upto: int) -> None:
    """Accepted without a mark it would be sent again; then nobody is waited for, and nothing new is leased."""
    buffer.numbers(range(4))
    lease, _ = shipper.lease()
    for number, request in enumerate(({"op": "lease", "priority": 2, "max_samples": 1}, {
        "op": "done", "lease": lease, "upto": upto, "batch_id": "b", "chunk_index": 0,
    })):  # fmt: skip
        shipper.socket.send(wire.pack({"v": wire.VERSION, "id": number, **request}))
    buffer.drain.close()
    assert buffer.socket.closed
    assert ("closing", upto) == (shipper.reply_to(0)["error"], shipper.reply_to(1)["marked"])
    buffer.marks.write()
    assert [0, 0, 4 - upto, 0] == buffer.store.pending.counts


def test_an_end_waits_a_moment_for_an_answer_and_no_longer(buffer: Buffer, shipper: Shipper) -> None:
    """What is under way then is pending, and sent again."""
    buffer.numbers(range(4))
    shipper.lease()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drain, "FINISH_S", 0.02)
        buffer.drain.close()
    assert [0, 0, 4, 0] == buffer.store.pending.counts


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


def test_no_request_however_odd_changes_anything(buffer: Buffer, shipper: Shipper) -> None:
    """Each gets an error or an empty lease in reply, and the next good request is served."""
    buffer.numbers(range(3))
    lease, _ = shipper.lease(most=1)
    for fields in GARBAGE:
        reply = shipper.ask(**{"op": None, **fields})
        assert reply.get("error") in {"bad_request", "unknown_lease"} or reply.get("groups") == [], (fields, reply)
    for changes in ({"upto": 0}, {"upto": 2}, {"upto": -1}, {"upto": "x"}, {"upto": 1, "chunk_index": 2**64 - 1}):
        fields = {"lease": lease, "upto": 1, "batch_id": "b", "chunk_index": 0, **changes}
        assert "bad_request" == shipper.ask("done", **fields)["error"], changes
    assert {"marked": 1} == accounted(shipper.done(lease, 1))
    assert [0, 0, 2, 0] == shipper.pending()


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


def test_what_is_no_request_is_counted_and_dropped(buffer: Buffer, shipper: Shipper) -> None:
    """It gets no reply, the counter says why, and the next request is answered."""
    for number, (reason, frames) in enumerate(NO_REQUESTS, 1):
        shipper.socket.send_multipart(frames)
        buffer.serve()
        assert [0, 0, 0, 0] == shipper.pending()
        so_far = sum(reason == one for one, _ in NO_REQUESTS[:number])
        assert so_far == buffer.instruments.counter("storage.refused_samples_total", reason=reason)
