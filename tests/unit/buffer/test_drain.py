"""Leases of pending samples: what they hold, and what becomes of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from buffer.delivery import drain
from buffer.storage import clocks
from common import clock, wire
from common.sample import Batch, Sample
from tests.unit.buffer.clients import Shipper, accounted, values
from tests.unit.buffer.databases import DEVICE, NOW_MS, query
from tests.unit.buffer.drains import Buffer, buffer, shipper

__all__ = ["buffer", "shipper"]


def test_an_empty_buffer_has_nothing_to_lease(shipper: Shipper) -> None:
    """Lease 0 is no lease."""
    assert ((0, []), [0, 0, 0, 0]) == (shipper.lease(), shipper.pending())


def test_a_lease_is_oldest_first_and_grouped_by_series(buffer: Buffer, shipper: Shipper) -> None:
    """Each group has a name, device, tags, ascending times and their values, as they go into the body."""
    for number in (2, 0, 1):
        buffer.put(Sample("m", number, {"l": "v"}), Sample("n", -number), at_ms=NOW_MS + number)
    lease, groups = shipper.lease()
    assert lease > 0
    times = [NOW_MS, NOW_MS + 1, NOW_MS + 2]
    expected = [["m", DEVICE, {"l": "v"}, times, [0, 1, 2]], ["n", DEVICE, {}, times, [0, -1, -2]]]
    assert expected == sorted(groups)


@pytest.mark.parametrize(
    ("after_ms", "expected"), [((1, 2), "5b0e"), ((-1, 1), None), ((2, 4), None), ((-1,), None), ((4,), None)]
)
def test_a_lease_says_of_which_stream_it_is(
    buffer: Buffer, shipper: Shipper, after_ms: tuple[int, ...], expected: str | None
) -> None:
    """The upload's log lines and the JSON receiver's requests name it; one that is not all of it names none."""
    stream = {"id": "5b0e", "status": "completed", "start_ms": NOW_MS, "end_ms": NOW_MS + 3, "metadata": {}}
    buffer.put(Sample("session", json.dumps(stream)))
    for place in after_ms:
        buffer.put(Sample("m", place), at_ms=NOW_MS + place)
    assert expected == shipper.ask("lease", priority=2, max_samples=10)["session_id"]


def test_a_lease_has_one_priority(buffer: Buffer, shipper: Shipper) -> None:
    """Lanes do not mix."""
    buffer.put(*(Sample(f"alarm.{priority}", priority) for priority in range(4)))
    assert [1, 1, 1, 1] == shipper.pending()
    assert [[priority] for priority in range(4)] == [
        values(shipper.lease(priority=priority)[1]) for priority in range(4)
    ]


def test_a_lease_has_at_most_so_many_and_nothing_newer(buffer: Buffer, shipper: Shipper) -> None:
    """`max_samples` and `before_ms` bound it; the oldest come first."""
    buffer.numbers(range(10))
    assert [0, 1, 2] == values(shipper.lease(most=3)[1])
    assert [3, 4] == values(shipper.lease(before_ms=NOW_MS + 5)[1])
    assert (0, []) == shipper.lease(before_ms=NOW_MS + 5)


def test_two_leases_of_one_priority_do_not_overlap(buffer: Buffer, shipper: Shipper) -> None:
    """Samples under way are not leased again, whatever the order of the answers."""
    buffer.numbers(range(100))
    leases = [shipper.lease(most=30) for _ in range(5)]
    assert [30, 30, 30, 10, 0] == [len(values(groups)) for _, groups in leases]
    assert list(range(100)) == sorted(value for _, groups in leases for value in values(groups))
    for index in (2, 0):
        assert {"marked": 30} == accounted(shipper.done(leases[index][0], 30))
    buffer.numbers(range(100, 105))
    assert [100, 101, 102, 103, 104] == values(shipper.lease()[1])


def test_a_done_lease_is_uploaded(buffer: Buffer, shipper: Shipper, path: Path) -> None:
    """The rows carry batch and chunk, the checkpoint is written, nothing is pending, the lease is over."""
    buffer.numbers(range(50))
    lease, _ = shipper.lease()
    assert {"marked": 50} == accounted(shipper.done(lease, 50, "batch-1", 2))
    assert [0, 0, 0, 0] == shipper.pending()
    assert [(50, 1, "batch-1", 2)] == query(
        path, "SELECT count(*), uploaded, batch_id, chunk_index FROM metrics GROUP BY 2, 3, 4"
    )
    assert [("batch-1", 2, 50)] == query(path, "SELECT batch_id, chunk_index, metrics_count FROM upload_checkpoints")
    assert "unknown_lease" == shipper.done(lease, 51)["error"]


def test_a_partial_done_marks_exactly_that_many(buffer: Buffer, shipper: Shipper) -> None:
    """Of 50 the server took 25: those are uploaded, the other 25 stay on the lease and then pending."""
    buffer.numbers(range(50))
    lease, groups = shipper.lease()
    assert {"marked": 25} == accounted(shipper.done(lease, 25))
    assert (0, []) == shipper.lease()
    assert {} == accounted(shipper.ask("release", lease=lease))
    again, rest = shipper.lease()
    assert values(groups)[25:] == values(rest)
    assert {"marked": 25} == accounted(shipper.done(again, 25, "b", 1))
    assert [0, 0, 0, 0] == shipper.pending()


def test_a_lease_is_accounted_for_in_pieces(buffer: Buffer, shipper: Shipper, path: Path) -> None:
    """`upto` counts through all groups, done and reject alternate, and the last piece ends the lease."""
    for number in range(4):
        buffer.put(Sample("a", number), Sample("b", number), at_ms=NOW_MS + number)
    lease, groups = shipper.lease()
    assert {"marked": 3} == accounted(shipper.done(lease, 3))
    assert {"marked": 1} == accounted(shipper.ask("reject", lease=lease, upto=4, reason="poison"))
    assert {"marked": 4} == accounted(shipper.done(lease, 8, "b", 1))
    assert "unknown_lease" == shipper.ask("release", lease=lease)["error"]
    (refused,) = query(path, "SELECT metric_name, metric_value FROM metrics WHERE uploaded = 2")
    assert (groups[0][0], 3) == refused


def test_hello_marks_what_the_server_took_before(buffer: Buffer, shipper: Shipper) -> None:
    """By series and timestamp, once; what is not pending, or not there, changes nothing."""
    buffer.numbers(range(5))
    name, device, tags, times, _ = shipper.lease()[1][0]
    chunk = [2, "b", 0, [[name, device, tags, [*times[:3], NOW_MS - 1]], ["never.heard", device, {}, times]]]
    assert [3, 0] == [shipper.ask("hello", accepted=[chunk])["marked"] for _ in range(2)]
    assert [3, 4] == values(shipper.lease()[1])


def test_hello_voids_every_lease(buffer: Buffer, shipper: Shipper) -> None:
    """A shipper that starts anew gets what its predecessor had under way."""
    buffer.numbers(range(10))
    first, _ = shipper.lease(most=4)
    second, _ = shipper.lease(most=4)
    assert [0, 0, 10, 0] == shipper.pending()
    for lease in (first, second):
        assert "unknown_lease" == shipper.done(lease, 4)["error"]
    assert 10 == len(values(shipper.lease()[1]))


def test_text_is_never_leased(buffer: Buffer, shipper: Shipper) -> None:
    """Text is not pending and in no lane."""
    buffer.put(Sample("m", "text"), *(Sample(f"alarm.{priority}", "text") for priority in range(4)))
    assert [0, 0, 0, 0] == shipper.pending()
    assert [(0, [])] * 4 == [shipper.lease(priority=priority) for priority in range(4)]


def test_rejected_samples_are_quarantined_and_logged(
    buffer: Buffer, shipper: Shipper, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Poison is kept, counted, named in the log with the reason, the first three of it, and not sent again."""
    buffer.numbers(range(5))
    lease, _ = shipper.lease()
    assert {"marked": 5} == accounted(shipper.ask("reject", lease=lease, upto=5, reason="400 bad line"))
    logged = [vars(record)["fields"] for record in caplog.records if record.getMessage() == "quarantined"]
    assert [("m", "400 bad line", NOW_MS + n) for n in range(3)] == [
        (line["metric"], line["reason"], line["timestamp_ms"]) for line in logged
    ]
    assert 5 == buffer.instruments.counter("storage.quarantined_total")
    assert ((0, []), [0, 0, 0, 0]) == (shipper.lease(), shipper.pending())
    assert [(5,)] == query(path, "SELECT count(*) FROM samples WHERE chunk = -1")


def test_released_samples_keep_their_times_where_the_server_may_have_them(buffer: Buffer, shipper: Shipper) -> None:
    """Exactly the doubtful ones: by a clock that is set meanwhile they would be sent again at another time."""
    now = clocks.now()
    samples = [Sample("m", number, {"slot": f"{number}"}) for number in range(4)]
    buffer.store.write([Batch("p", "e", 1, now.wall_ms, now.boottime_ms, now.boot_id, urgent=False, samples=samples)])
    assert {} == accounted(shipper.ask("release", lease=shipper.lease(before_ms=wire.LATEST_MS)[0], doubtful=[1, 3]))
    kept = buffer.store._connection.execute("SELECT clock IS NULL FROM samples ORDER BY id").fetchall()
    assert [(0,), (1,), (1,), (0,)] == kept
    assert {} == accounted(shipper.ask("release", lease=shipper.lease(before_ms=wire.LATEST_MS)[0]))
    assert kept == buffer.store._connection.execute("SELECT clock IS NULL FROM samples ORDER BY id").fetchall()


def test_a_lease_is_by_the_true_clock_but_for_what_is_under_way(buffer: Buffer, shipper: Shipper) -> None:
    """After a step what was leased or accepted keeps the time it was sent by; the rest is set right, and counted."""
    now = clocks.now()
    own = buffer.store._writer.clocks = clocks.Clocks(buffer.store._connection, 0, lambda: now)
    for number in range(3):
        samples, at_ms = [Sample("m", number)], now.wall_ms + number
        batch_of = Batch("p", "e", number, at_ms, now.boottime_ms + number, now.boot_id, urgent=False, samples=samples)
        buffer.store.write([batch_of])
    accepted, leased = (shipper.lease(most=1, before_ms=wire.LATEST_MS)[0] for _ in range(2))
    shipper.done(accepted, 1)
    own._read = lambda: replace(now, wall_ms=now.wall_ms + 3_600_000)
    own.check()
    (group,) = shipper.lease(before_ms=wire.LATEST_MS)[1]
    assert ([now.wall_ms + 2 + 3_600_000], [2]) == (group[3], group[4])
    assert {"marked": 1} == accounted(shipper.done(leased, 1))
    assert [0, 0, 1, 0] == shipper.pending()
    assert 1 == buffer.instruments.counter("storage.moved_samples_total", reason="rebased")


def test_what_was_accepted_is_neither_leased_nor_counted_before_it_is_marked(buffer: Buffer, shipper: Shipper) -> None:
    """Its mark waits for the next commit; sent again meanwhile, it would cost the uplink twice."""
    now_ms = clock.wall_ms()
    for priority in (1, 2):
        buffer.put(Sample(f"alarm.{priority}", 0), at_ms=now_ms - 50_000)
    for number, late_ms in enumerate((40_000, 30_000, 0)):
        buffer.put(Sample("alarm.2", number), at_ms=now_ms - late_ms)
    shipper.done(shipper.lease(most=2)[0], 2)
    assert 1 == len(buffer.marks)
    stats = shipper.ask("stats", intervals_s=[10, 10, 10, 10])
    assert ([0, 1, 2, 0], [0, 1, 1, 0]) == (stats["pending"], stats["due"])
    assert [None, now_ms - 50_000, now_ms - 30_000, None] == stats["oldest_ms"]
    assert [1] == values(shipper.lease(most=1)[1])
    assert [2] == values(shipper.lease(most=9)[1])
    assert 1 == len(buffer.marks)
    assert [0, 1, 2, 0] == shipper.pending()  # a request that is about what is uploaded: now it is
    assert 0 == len(buffer.marks)


def test_a_lease_begins_where_it_is_asked_to(buffer: Buffer, shipper: Shipper) -> None:
    """Fresh samples and those of a backlog go apart."""
    buffer.numbers(range(4))
    reply = shipper.ask("lease", priority=2, max_samples=9, since_ms=NOW_MS + 1, before_ms=NOW_MS + 3)
    assert [1, 2] == values(reply["groups"])


def test_a_chunk_ends_where_the_one_before_did_not(buffer: Buffer, shipper: Shipper) -> None:
    """An answer that comes twice marks nothing twice."""
    buffer.numbers(range(4))
    lease, _ = shipper.lease()
    assert {"marked": 2} == accounted(shipper.done(lease, 2))
    for upto in (2, 1, 5):
        assert "bad_request" == shipper.done(lease, upto)["error"]
    assert {"marked": 2} == accounted(shipper.done(lease, 4))


def test_quarantine_is_released_step_by_step(buffer: Buffer, shipper: Shipper, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the row that the step before named to the last; of one metric, or of all."""
    monkeypatch.setattr(drain, "UNQUARANTINE_ROWS", 2)
    buffer.put(Sample("a", 0), Sample("b", 1), Sample("a", 2), Sample("b", 3))
    shipper.ask("reject", lease=shipper.lease()[0], upto=4, reason="400")
    first = shipper.ask("unquarantine", after_id=0, metric="a")
    assert (1, 2) == (first["released"], first["after_id"])
    found = []
    step = {"after_id": 0}
    while step["after_id"] is not None:
        step = accounted(shipper.ask("unquarantine", after_id=step["after_id"]))
        found.append((step["released"], step["after_id"]))
    assert [(0, 2), (2, 4), (1, None)] == found
    assert [0, 1, 2, 3] == sorted(values(shipper.lease()[1]))
