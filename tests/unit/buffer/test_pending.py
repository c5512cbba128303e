"""What waits for its upload: found by the partial index, marked exactly, counted truly."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

import apsw
import pytest

from buffer.storage import clocks
from buffer.storage.audit_windows import WINDOW_MS
from buffer.storage.pending import PendingSample
from buffer.storage.series import canonical_tags, series_key
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


def test_pending_rows_begin_at_a_time_and_never_in_1970(store: Store) -> None:
    """A server takes no 1970: they wait for a clock that knows their time."""
    times_ms = [EARLIEST_MS - 1, EARLIEST_MS, NOW_MS, NOW_MS + 1]
    store.write([batch(("a", n), seq=n, at_ms=at_ms) for n, at_ms in enumerate(times_ms)])
    for since_ms, expected in ((0, [1, 2, 3]), (NOW_MS, [2, 3]), (NOW_MS + 1, [3])):
        assert expected == [row.value for row in store.pending.rows(NORMAL, LATEST_MS, 10, since_ms)]


@pytest.mark.parametrize("value", ["text", None, float("inf")])
def test_what_is_no_number_is_never_leased(store: Store, value: object) -> None:
    """It was none when it was stored: the file is damaged, and what the server would take it for is anybody's guess."""
    store.write([batch(("a", 1))])
    store._connection.execute("PRAGMA ignore_check_constraints = 1").fetchall()
    store._connection.execute("UPDATE samples SET value = ?", (value,))
    with pytest.raises(apsw.CorruptError):
        store.pending.rows(NORMAL, LATEST_MS, 10)


def test_a_pending_sample_is_found_by_series_time_and_priority(store: Store) -> None:
    """And by all of them: another would be marked as uploaded in its place."""
    store.write([batch(("a", 1), ("b", 2)), batch(("a", 3), seq=2, at_ms=NOW_MS + 1)])
    key, other = (series_key(name, DEVICE, canonical_tags({}), is_text=False) for name in "ac")
    assert [1] == [row.value for row in store.pending.at(key, NOW_MS, NORMAL)]
    assert [] == store.pending.at(other, NOW_MS, NORMAL) + store.pending.at(key, NOW_MS, 1)
    store.pending.mark_uploaded(NORMAL, store.pending.at(key, NOW_MS, NORMAL), "b", 0)
    assert [] == store.pending.at(key, NOW_MS, NORMAL)


def test_pending_samples_are_walked_span_by_span_and_slice_by_slice(store: Store) -> None:
    """Oldest first, each once: what makes room gives up the oldest and nothing twice."""
    start_ms = NOW_MS - NOW_MS % 1000
    for seq, after_ms in enumerate((0, 999, 1000, 5500)):
        store.write([batch(("a", seq), ("b", seq), seq=seq, at_ms=start_ms + after_ms)])
    assert [start_ms, start_ms + 1000, start_ms + 5000] == list(store.pending.spans(NORMAL, 1000))
    whole = store.pending.slice(NORMAL, (0, 0), LATEST_MS, 99)
    assert (8, sorted(whole)) == (len(whole), whole)
    assert whole[2:4] == store.pending.slice(NORMAL, whole[1][:2], whole[4][0], 99)
    assert whole[2:3] == store.pending.slice(NORMAL, whole[1][:2], whole[4][0], 1)


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


def change_without_the_index(store: Store, update: str, row: PendingSample) -> None:
    """Change a row of the table so that the index of pending samples still has it as it was: a damaged file."""
    execute = store._connection.execute
    execute("PRAGMA writable_schema = 1").fetchall()
    definition = execute("SELECT * FROM sqlite_schema WHERE name = 'idx_uploaded'").fetchone()
    execute("DELETE FROM sqlite_schema WHERE name = 'idx_uploaded'")
    execute("PRAGMA writable_schema = RESET").fetchall()
    execute(f"UPDATE samples SET {update} WHERE id = ?", (row.id,))
    execute("PRAGMA writable_schema = 1").fetchall()
    execute("INSERT INTO sqlite_schema VALUES (?, ?, ?, ?, ?)", definition)
    execute("PRAGMA writable_schema = RESET").fetchall()


@pytest.mark.parametrize("update", ["chunk = -1", "timestamp_ms = timestamp_ms + 5"])
@pytest.mark.parametrize("first", [0, 2])
def test_a_sample_that_is_pending_in_a_damaged_index_alone_is_noticed(store: Store, update: str, first: int) -> None:
    """It cannot be marked, and would be leased and sent again for ever."""
    store.write([batch(("a", n), ("b", n), seq=n, at_ms=NOW_MS + n) for n in range(2)])
    rows = store.pending.rows(NORMAL, LATEST_MS, 10)
    store.pending.mark_uploaded(NORMAL, rows[:1], "b", 0)
    change_without_the_index(store, update, rows[2])
    with pytest.raises(apsw.CorruptError, match=f"sample {rows[2].id} is pending in the index"):
        store.pending.mark_uploaded(NORMAL, [*rows[first:1], rows[2]], "b", 1)


def test_refused_rows_are_kept_and_not_sent_again(store: Store, path: Path) -> None:
    """Quarantine is a mark, not a deletion."""
    store.write([batch(("a", 1), ("b", 2))])
    rows = store.pending.rows(NORMAL, NOW_MS + 1, 1)
    assert 1 == store.pending.mark_quarantined(NORMAL, rows)
    assert [0, 0, 1, 0] == store.pending.counts
    assert [(0, None), (2, None)] == query(path, "SELECT uploaded, batch_id FROM metrics ORDER BY uploaded")


def test_quarantine_by_age_takes_the_oldest_of_each_priority(store: Store) -> None:
    """So many at most, none that is young enough, and counts what it took."""
    store.write([batch(("a", n), seq=n, at_ms=NOW_MS + n) for n in range(4)])
    assert 2 == store.pending.quarantine_before(NOW_MS + 3, 2)
    assert [2, 3] == [row.value for row in store.pending.rows(NORMAL, LATEST_MS, 10)]
    assert [1, 0] == [store.pending.quarantine_before(NOW_MS + 3, 2) for _ in range(2)]
    assert [3] == [row.value for row in store.pending.rows(NORMAL, LATEST_MS, 10)]
    assert [0, 0, 1, 0] == store.pending.counts == store.pending.counted()


def test_quarantine_is_released_by_row_and_metric(store: Store) -> None:
    """What was uploaded is not sent again by it."""
    store.write([batch(("a", 0), ("b", 1), ("a", 2, {"l": "1"}), ("a", 3, {"l": "2"}), ("a", 4, {"l": "3"}))])
    rows = sorted(store.pending.rows(NORMAL, LATEST_MS, 10), key=lambda row: row.id)
    store.pending.mark_quarantined(NORMAL, rows[:4])
    store.pending.mark_uploaded(NORMAL, rows[4:], "b", 0)
    ids = [row.id for row in rows]
    assert 1 == store.pending.unquarantine(range(ids[1], ids[3]), "a")
    assert [rows[2].id] == [row.id for row in store.pending.rows(NORMAL, LATEST_MS, 10)]
    assert 3 == store.pending.unquarantine(range(ids[4] + 1), None)
    assert [0, 0, 4, 0] == store.pending.counts == store.pending.counted()


def test_samples_of_chunks_are_read_up_to_a_limit(store: Store) -> None:
    """Of these chunks and of no other that lies between their rows."""
    store.write([batch(("a", n), seq=n, at_ms=NOW_MS + n) for n in range(6)])
    rows = store.pending.rows(NORMAL, LATEST_MS, 10)
    store.pending.mark_uploaded(NORMAL, [rows[0], rows[3]], "b", 0)
    store.pending.mark_uploaded(NORMAL, [rows[1], rows[4]], "b", 1)
    one, two = sorted(
        store.checkpoints.uploaded_before(clock.wall_ms() + 1, 60_000), key=lambda extent: extent.first_id
    )
    found = [timestamp_ms - NOW_MS for _, timestamp_ms in store.pending.uploaded_in([one, two], 3)]
    assert [0, 3, 1] == found
    assert [1, 4] == [timestamp_ms - NOW_MS for _, timestamp_ms in store.pending.uploaded_in([two], 9)]
    with store.transaction():
        assert 2 == store.pending.requeue_chunks([two])
    assert [1, 2, 4, 5] == [row.value for row in store.pending.rows(NORMAL, LATEST_MS, 10)]
    assert [0, 0, 4, 0] == store.pending.counts == store.pending.counted()


def test_samples_are_sent_again_by_series_and_window_or_time(store: Store) -> None:
    """Exactly those that the server lacks: no other series, and nothing of the windows around."""
    start_ms = (NOW_MS // WINDOW_MS - 2) * WINDOW_MS
    times_ms = [start_ms - 1, start_ms, start_ms + WINDOW_MS - 1, start_ms + WINDOW_MS]
    store.write([batch(("a", n), ("b", n), seq=n, at_ms=at_ms) for n, at_ms in enumerate(times_ms)])
    rows = store.pending.rows(NORMAL, LATEST_MS, 10)
    store.pending.mark_uploaded(NORMAL, rows, "b", 0)
    number = rows[0].series_id
    with store.transaction():
        assert 0 == store.pending.requeue_times({})
        assert 1 == store.pending.requeue_window(start_ms, {number: times_ms[:2]})
        assert 1 == store.pending.requeue_window(start_ms, {number: None})
        assert 1 == store.pending.requeue_times({number: [times_ms[3], NOW_MS], 0: times_ms})
    again = store.pending.rows(NORMAL, LATEST_MS, 10)
    assert [(number, at_ms) for at_ms in times_ms[1:]] == [(row.series_id, row.timestamp_ms) for row in again]
    assert [0, 0, 3, 0] == store.pending.counts == store.pending.counted()


def test_only_the_doubtful_samples_keep_their_time(store: Store) -> None:
    """Those of the rows that were leased: an id alone may be another sample's by now."""
    now = clocks.now()
    samples = [Sample("m", n, {"slot": f"{n}"}) for n in range(3)]
    store.write([Batch("p", "e", 1, now.wall_ms, now.boottime_ms, now.boot_id, urgent=False, samples=samples)])
    rows = store.pending.rows(NORMAL, LATEST_MS, 10)
    store.pending.keep_times([])
    store.pending.keep_times([rows[1], rows[2]._replace(timestamp_ms=rows[2].timestamp_ms + 1)])
    kept = store._connection.execute("SELECT id FROM samples WHERE clock IS NULL").fetchall()
    assert [(rows[1].id,)] == kept


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
    """With 100,000 rows, 250 of them pending, a lease touches about as many pages as it returns rows need."""
    store = Store(storage(path), DEVICE)
    store.write([batch(("a", 0))])
    with store.transaction():
        store._connection.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 100000) "
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
