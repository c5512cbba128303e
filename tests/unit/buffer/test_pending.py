"""What waits for its upload: found by the partial index, marked exactly, counted truly."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import apsw
import pytest

from buffer.storage import clocks
from buffer.storage.store import Store
from common import clock
from common.sample import NORMAL, Batch, Sample
from common.wire import EARLIEST_MS, LATEST_MS
from tests.unit.buffer.databases import DEVICE, NOW_MS, batch, query, storage


def test_text_is_never_leased(store: Store) -> None:
    """Text stays on the device: it is not pending, and no lease finds it."""
    store.write([batch(("a", "text"), ("b", "", {"l": "1"}))])
    assert [0, 0, 0, 0] == store.pending.counts
    assert [] == store.pending.rows(NORMAL, NOW_MS + 1, 10)


def test_pending_rows_come_oldest_first_up_to_a_time_and_a_number(store: Store) -> None:
    """What is newer than the horizon waits; among equals the first written is first."""
    store.write([batch(("a", n), seq=n, at_ms=NOW_MS + n) for n in (3, 1, 2)])
    assert [1, 2, 3] == [row.value for row in store.pending.rows(NORMAL, NOW_MS + 4, 10)]
    assert [1, 2] == [row.value for row in store.pending.rows(NORMAL, NOW_MS + 3, 10)]
    assert [1] == [row.value for row in store.pending.rows(NORMAL, NOW_MS + 4, 1)]
    assert (1, 2) == (store.pending.not_due(NORMAL, NOW_MS + 3), store.pending.not_due(NORMAL, NOW_MS + 2))
    assert NOW_MS + 1 == store.pending.oldest_ms(NORMAL)
    assert store.pending.oldest_ms(0) is None


def test_marking_uploaded_writes_a_checkpoint_and_counts_down(store: Store, path: Path) -> None:
    """Exactly the given rows are uploaded; the view names their batch and chunk."""
    store.write([batch(("a", n), seq=n, at_ms=NOW_MS + n) for n in range(5)])
    rows = store.pending.rows(NORMAL, NOW_MS + 9, 3)
    assert 3 == store.pending.mark_uploaded(NORMAL, rows, "batch-7", 4)
    assert [0, 0, 2, 0] == store.pending.counts
    assert [(1, "batch-7", 4)] * 3 + [(0, None, None)] * 2 == query(
        path, "SELECT uploaded, batch_id, chunk_index FROM metrics ORDER BY timestamp_ms"
    )
    (checkpoint,) = query(
        path,
        "SELECT batch_id, chunk_index, first_uploaded_id, last_uploaded_id, first_uploaded_timestamp, "
        "last_uploaded_timestamp, metrics_count, upload_time FROM upload_checkpoints",
    )
    assert ("batch-7", 4, rows[0].id, rows[2].id, NOW_MS, NOW_MS + 2, 3) == checkpoint[:7]
    assert abs(time.time() * 1000 - checkpoint[7]) < 60_000


def test_marking_twice_counts_once(store: Store) -> None:
    """A second answer for the same rows marks none, and pending does not go below what there is."""
    store.write([batch(("a", 1))])
    rows = store.pending.rows(NORMAL, NOW_MS + 1, 10)
    assert (1, 0, 0) == (
        store.pending.mark_uploaded(NORMAL, rows, "b", 0), store.pending.mark_uploaded(NORMAL, rows, "b", 1),
        store.pending.mark_quarantined(NORMAL, rows),
    )  # fmt: skip
    assert [0, 0, 0, 0] == store.pending.counts


def test_a_mark_is_for_the_row_that_was_leased_and_not_for_its_id(store: Store, path: Path) -> None:
    """SQLite gives the id of a deleted row to the next one: that sample was never sent, and stays pending."""
    store.write([batch(("a", 1))])
    leased = store.pending.rows(NORMAL, NOW_MS + 9, 10)
    store._connection.execute("DELETE FROM samples")
    store.pending.counts[NORMAL] = 0
    store.write([batch(("a", 2), seq=2, at_ms=NOW_MS + 1), batch(("b", 3), seq=3, at_ms=NOW_MS)])
    others = store.pending.rows(NORMAL, NOW_MS + 9, 10)
    assert leased[0].id in [row.id for row in others]
    for other in others:  # another time, and another series at the same time
        stale = leased[0]._replace(id=other.id)
        assert 0 == store.pending.mark_uploaded(NORMAL, [stale], "b", 0)
        assert 0 == store.pending.mark_quarantined(NORMAL, [stale])
    assert [0, 0, 2, 0] == store.pending.counts
    assert [(0,), (0,)] == query(path, "SELECT uploaded FROM metrics")


def test_a_mark_does_not_touch_what_is_not_pending_any_more(store: Store, path: Path) -> None:
    """A refused sample stays refused and an uploaded one in its checkpoint, whatever a late answer says."""
    store.write([batch(("a", 1), ("b", 2))])
    first, second = store.pending.rows(NORMAL, NOW_MS + 1, 10)
    store.pending.mark_quarantined(NORMAL, [first])
    store.pending.mark_uploaded(NORMAL, [second], "first", 0)
    assert 0 == store.pending.mark_uploaded(NORMAL, [first, second], "late", 1)
    assert 0 == store.pending.mark_quarantined(NORMAL, [first, second])
    assert [(1, "first"), (2, None)] == query(path, "SELECT uploaded, batch_id FROM metrics ORDER BY uploaded")


def test_what_was_sent_keeps_the_time_it_was_sent_by(store: Store) -> None:
    """A clock that is set back moves what was never sent; what the server lost goes out as before."""
    now = clocks.now()
    both = batch(("sent", 1), ("new", 2), at_ms=now.wall_ms)
    store.write([replace(both, boottime_ms=now.boottime_ms, boot_id=now.boot_id)])
    rows = store.pending.rows(NORMAL, now.wall_ms + 1, 1)
    store.pending.mark_uploaded(NORMAL, rows, "b", 0)
    with store.transaction():
        assert 1 == store.pending.requeue_chunks(store.checkpoints.uploaded_before(clock.wall_ms() + 1, 0))
    later = clocks.Clocks(store._connection, 0, lambda: replace(now, wall_ms=now.wall_ms - 3_600_000))
    later.check()
    assert (1, 0) == (later.rebase(), later.rebase())
    moved, kept = store.pending.rows(NORMAL, now.wall_ms + 1, 10)
    assert (rows[0].id, now.wall_ms) == (kept.id, kept.timestamp_ms)
    assert now.wall_ms - 3_600_000 == pytest.approx(moved.timestamp_ms, abs=clocks.DRIFT_MS)


def shifted(now: clocks.ClockReading, shift_ms: list[int]) -> Callable[[], clocks.ClockReading]:
    """Return what reads a clock at one moment, its wall clock shifted by the one number in a list."""
    return lambda: replace(now, wall_ms=now.wall_ms + shift_ms[0])


@pytest.mark.parametrize(("by_ms", "synchronised", "sent"), [
    (365 * 86_400_000, False, []), (-365 * 86_400_000, None, []), (365 * 86_400_000, True, [7]),
    (3_600_000, False, [7]),
])  # fmt: skip
def test_samples_of_a_clock_that_jumped_by_a_day_wait_a_minute(
    store: Store, monkeypatch: pytest.MonkeyPatch, by_ms: int, synchronised: bool | None, sent: list[int]
) -> None:
    """A clock a year ahead for ten seconds sends nothing by it; back again, the samples are set right and go out."""
    now, passed_s, shift_ms = clocks.now(), [1000.0], [0]
    read = shifted(now, shift_ms)
    monkeypatch.setattr(clock, "is_synchronised", lambda: synchronised)
    monkeypatch.setattr("buffer.storage.clocks.time.monotonic", lambda: passed_s[0])
    own = store._writer.clocks = clocks.Clocks(store._connection, 0, read)
    own.check()
    shift_ms[0] = by_ms
    store.write([replace(batch(("m", 7), at_ms=read().wall_ms), boottime_ms=now.boottime_ms, boot_id=now.boot_id)])
    assert sent == [row.value for row in store.pending.rows(NORMAL, 2**60, 10)]
    own = store._writer.clocks = clocks.Clocks(store._connection, 0, read)  # the buffer is restarted
    assert sent == [row.value for row in store.pending.rows(NORMAL, 2**60, 10)]
    if not sent:
        passed_s[0] += 10
        shift_ms[0] = 0
        own.check()
        passed_s[0] += clocks.JUMP_WAIT_S
        assert 1 == own.rebase()
        (row,) = store.pending.rows(NORMAL, 2**60, 10)
        assert (now.wall_ms, 7) == (row.timestamp_ms, row.value)


def test_a_batch_that_comes_again_after_a_step_is_stored_once(store: Store) -> None:
    """Although its two clocks were not read in the same millisecond."""
    now, shift_ms = clocks.now(), [365 * 86_400_000]
    read = shifted(now, shift_ms)
    own = store._writer.clocks = clocks.Clocks(store._connection, 0, read)
    own.check()
    apart = batch(("m", 7), at_ms=read().wall_ms)
    apart = replace(apart, boottime_ms=now.boottime_ms - 1, boot_id=now.boot_id)
    store.write([apart])
    shift_ms[0] = 0
    own.check()
    while own.rebase():
        pass
    store.write([apart])
    assert [(now.wall_ms,)] == store._connection.execute("SELECT timestamp_ms FROM samples").fetchall()


def test_refused_rows_are_kept_and_not_sent_again(store: Store, path: Path) -> None:
    """Quarantine is a mark, not a deletion."""
    store.write([batch(("a", 1), ("b", 2))])
    rows = store.pending.rows(NORMAL, NOW_MS + 1, 1)
    assert 1 == store.pending.mark_quarantined(NORMAL, rows)
    assert [0, 0, 1, 0] == store.pending.counts
    assert [(0, None), (2, None)] == query(path, "SELECT uploaded, batch_id FROM metrics ORDER BY uploaded")


def test_what_is_pending_is_counted_again_at_the_start(store: Store, path: Path) -> None:
    """The counters in memory and the file agree after any number of writes and marks."""
    store.write([batch(("a", n), ("t", "x"), seq=n, at_ms=NOW_MS + n) for n in range(100)])
    store.pending.mark_uploaded(NORMAL, store.pending.rows(NORMAL, NOW_MS + 500, 30), "b", 0)
    store.pending.mark_quarantined(NORMAL, store.pending.rows(NORMAL, NOW_MS + 500, 7))
    again = Store(storage(path), DEVICE)
    assert [0, 0, 63, 0] == store.pending.counts == again.pending.counts
    again.close()


def test_a_mark_that_fails_changes_nothing(store: Store, path: Path) -> None:
    """Checkpoint and marks happen together or not at all."""
    store.write([batch(("a", n), seq=n, at_ms=NOW_MS + n) for n in range(10)])
    rows = store.pending.rows(NORMAL, NOW_MS + 99, 10)
    store._connection.execute("PRAGMA query_only = 1").fetchall()
    with pytest.raises(apsw.Error):
        store.pending.mark_uploaded(NORMAL, rows, "b", 0)
    with pytest.raises(apsw.Error):
        store.pending.mark_quarantined(NORMAL, rows)
    store._connection.execute("PRAGMA query_only = 0").fetchall()
    assert ([0, 0, 10, 0], [(0,)]) == (store.pending.counts, query(path, "SELECT count(*) FROM upload_checkpoints"))
    assert 10 == store.pending.mark_uploaded(NORMAL, rows, "b", 0)


def plans(store: Store) -> dict[str, str]:
    """Return the query plan of every statement that lease, counts and oldest execute, as they execute it."""
    executed: dict[str, Any] = {}

    def record(_cursor: object, sql: str, bindings: object) -> bool:
        executed[sql] = bindings
        return True

    store._connection.exec_trace = record
    store.pending.rows(NORMAL, NOW_MS, 100)
    store.pending.not_due(NORMAL, NOW_MS)
    store.pending.oldest_ms(NORMAL)
    store.pending.counted()
    store._connection.exec_trace = None
    explain = store._connection.execute
    return {
        sql: "; ".join(row[3] for row in explain(f"EXPLAIN QUERY PLAN {sql}", bindings))
        for sql, bindings in executed.items()
    }


def assert_indexed(store: Store) -> None:
    """Fail where a hot query scans, sorts, or uses another index."""
    found = plans(store)
    assert len(found) >= 4
    for sql, plan in found.items():
        assert "INDEX idx_uploaded (priority=?" in plan, (sql, plan)
        assert "TEMP B-TREE" not in plan, (sql, plan)
        assert "SCAN" not in plan, (sql, plan)


def test_hot_queries_use_the_partial_index_and_sort_nothing(store: Store) -> None:
    """Leases and counts read pending rows in order from idx_uploaded, with statistics or without."""
    store.write([batch(("a", n), seq=n, at_ms=NOW_MS + n) for n in range(50)])
    assert_indexed(store)
    store._connection.execute("ANALYZE").fetchall()
    assert_indexed(store)


def test_a_lease_costs_the_same_in_a_large_table(path: Path) -> None:
    """With 400,000 rows, 1,000 of them pending, a lease touches about as many pages as it returns rows need."""
    store = Store(storage(path), DEVICE)
    store.write([batch(("a", 0))])
    with store.transaction():
        store._connection.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 400000) "
            "INSERT INTO samples (timestamp_ms, series_id, value, priority, chunk) "
            "SELECT ? + i, 1, i, 2, CASE WHEN i % 400 THEN 1 END FROM n",
            (NOW_MS,),
        )
    store._connection.execute("ANALYZE").fetchall()
    assert_indexed(store)
    store._connection.execute("PRAGMA cache_size = 50").fetchall()
    store._connection.status(apsw.SQLITE_DBSTATUS_CACHE_MISS, True)
    assert 100 == len(store.pending.rows(NORMAL, NOW_MS * 2, 100))
    misses = store._connection.status(apsw.SQLITE_DBSTATUS_CACHE_MISS)[0]
    assert misses < 2 * 100 + 50  # each row lies on a page of its own
    store.close()


def test_random_writes_and_marks_agree_with_a_model(store: Store, path: Path) -> None:
    """Whatever is written, redelivered, marked and refused in any order, the file holds what a plain model holds."""
    chance = random.Random(20251011)
    model: dict[tuple[str, int], tuple[int, int]] = {}
    for seq in range(300):
        action = chance.random()
        if action < 0.6:
            at_ms = NOW_MS + chance.randrange(60)
            name = f"m{chance.randrange(4)}"
            store.write([batch((name, seq), seq=seq, at_ms=at_ms)])
            while (name, at_ms) in model:
                at_ms += 1  # another value is another sample
            model[name, at_ms] = seq, 0
        else:
            rows = store.pending.rows(NORMAL, NOW_MS + chance.randrange(70), chance.randrange(1, 20))
            if rows:
                state = 1 if action < 0.9 else 2
                (
                    store.pending.mark_uploaded(NORMAL, rows, "b", seq)
                    if state == 1
                    else store.pending.mark_quarantined(NORMAL, rows)
                )
                for row in rows:
                    key = store.series.by_id(row.series_id).name, row.timestamp_ms
                    model[key] = model[key][0], state
        assert sum(state == 0 for _, state in model.values()) == store.pending.counts[NORMAL]
    rows_now = query(path, "SELECT metric_name, timestamp_ms, metric_value, uploaded FROM metrics")
    assert model == {(name, at_ms): (value, state) for name, at_ms, value, state in rows_now}


def test_a_board_in_1970_sends_nothing_before_it_knows_the_date(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then every sample goes with the time at which it was taken."""
    wall_ms, boot_ms = clock.wall_ms(), clock.boottime_ms()
    with monkeypatch.context() as early:
        early.setattr(clock, "wall_ms", lambda: 5_000 + clock.boottime_ms() - boot_ms)
        samples = [Sample("m", 1)]
        store.write([Batch("p", "e", 1, EARLIEST_MS, boot_ms, clock.boot_id(), urgent=False, samples=samples)])
        assert ([], [0, 0, 1, 0]) == (store.pending.rows(NORMAL, LATEST_MS, 10), store.pending.counts)
    monkeypatch.setattr(clock, "is_synchronised", lambda: True)
    store.write([])
    assert 1 == store.clocks.rebase()
    (row,) = store.pending.rows(NORMAL, LATEST_MS, 10)
    assert abs(row.timestamp_ms - wall_ms) < 1_000


def test_what_an_earlier_boot_left_in_1970_is_quarantined(
    store: Store, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody will ever know its time; it is kept, and counted."""
    with monkeypatch.context() as early:
        early.setattr(clock, "wall_ms", lambda: 5_000)
        batch_of_1970 = Batch("p", "e", 1, EARLIEST_MS, 1, clock.boot_id(), urgent=False, samples=[Sample("m", 1)])
        store.write([batch_of_1970])
    store._connection.execute("UPDATE clocks SET boot_id = 'earlier'")
    store.close()
    again = Store(storage(path), DEVICE)
    assert (1, [0, 0, 0, 0]) == (again.undated, again.pending.counts)
    again.close()


def test_what_the_server_may_have_keeps_its_time(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lost answer and then a step would put one sample at two times."""
    wall_ms, boot_ms = clock.wall_ms(), clock.boottime_ms()
    for seq in range(2):
        samples = [Sample("m", seq)]
        at_ms = wall_ms + seq
        store.write([Batch("p", "e", seq, at_ms, boot_ms + seq, clock.boot_id(), urgent=False, samples=samples)])
    store.pending.keep_times(store.pending.rows(NORMAL, LATEST_MS, 1))
    monkeypatch.setattr(clock, "wall_ms", lambda: wall_ms + 3_600_000 + clock.boottime_ms() - boot_ms)
    store.write([])
    assert 1 == store.clocks.rebase()
    first, second = store.pending.rows(NORMAL, LATEST_MS, 10)
    assert wall_ms == first.timestamp_ms
    assert abs(second.timestamp_ms - wall_ms - 3_600_000) < 100


def test_an_uploaded_batch_that_comes_again_after_two_steps_is_stored_once(store: Store) -> None:
    """By a clock that was set forth and back: it is another row in `clocks`, and the same time."""
    now, shift_ms = clocks.now(), [0]
    read = shifted(now, shift_ms)
    own = store._writer.clocks = clocks.Clocks(store._connection, 0, read)
    sample = replace(batch(("m", 7), at_ms=now.wall_ms), boottime_ms=now.boottime_ms, boot_id=now.boot_id)
    store.write([sample])
    store.pending.mark_uploaded(NORMAL, store.pending.rows(NORMAL, LATEST_MS, 1), "b", 0)
    for shift_ms[0] in (365 * 86_400_000, 1):
        own.check()
        own.rebase()
    assert (0, 1) == store.write([sample])[:2]


def test_samples_wait_until_a_step_is_noticed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """They have the time of before; a lease in the moment after the step would send them with it."""
    monkeypatch.setattr(clock, "is_synchronised", lambda: True)
    now, shift_ms = clocks.now(), [365 * 86_400_000]
    read = shifted(now, shift_ms)
    own = store._writer.clocks = clocks.Clocks(store._connection, 0, read)
    wrong = batch(("m", 7), at_ms=read().wall_ms)
    store.write([replace(wrong, boottime_ms=now.boottime_ms, boot_id=now.boot_id)])
    shift_ms[0] = 0
    assert [] == store.pending.rows(NORMAL, LATEST_MS, 1)
    own.check()
    own.rebase()
    assert [now.wall_ms] == [row.timestamp_ms for row in store.pending.rows(NORMAL, LATEST_MS, 1)]


def test_a_clock_of_another_file_is_moved_by_the_difference_there(store: Store) -> None:
    """Its clocks were not read in the same millisecond as those here: a redelivery would be stored beside."""
    now, year_ms = clocks.now(), 365 * 86_400_000
    own = clocks.Clocks(store._connection, 0, lambda: now)
    there_ms = [now.offset_ms - 1, now.offset_ms + year_ms]
    assert -year_ms - 1 == own.against(now.boot_id, there_ms[1], there_ms)
    assert -year_ms == own.against(now.boot_id, there_ms[1], there_ms[1:])
    assert 0 == own.against(now.boot_id, there_ms[0], there_ms)


@pytest.mark.parametrize("is_sent", [False, True])
def test_a_batch_that_comes_again_right_after_a_step_is_stored_once(store: Store, is_sent: bool) -> None:
    """Whether the first is still to be rebased, or keeps the time that it was sent by; there and back again."""
    now, shift_ms = clocks.now(), [0]
    read = shifted(now, shift_ms)
    own = store._writer.clocks = clocks.Clocks(store._connection, 0, read)
    sample = replace(batch(("m", 7), at_ms=now.wall_ms), boottime_ms=now.boottime_ms, boot_id=now.boot_id)
    store.write([sample])
    if is_sent:
        store.pending.keep_times(store.pending.rows(NORMAL, LATEST_MS, 1))
    for shift_ms[0] in (365 * 86_400_000, 1):
        assert (0, 1) == store.write([sample])[:2]
        own.rebase()
    assert [(now.wall_ms, 7)] == store._connection.execute("SELECT timestamp_ms, value FROM samples").fetchall()


def test_the_clocks_are_read_at_one_instant(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine the process may be put aside between the two; its samples would be dated by that."""
    boottimes = iter((0, 2_000, 2_000, 2_001))
    walls = iter((10_000, 12_000))
    monkeypatch.setattr(clock, "boottime_ms", lambda: next(boottimes))
    monkeypatch.setattr(clock, "wall_ms", lambda: next(walls))
    assert 12_000 - 2_001 == clocks.now().offset_ms
