"""What waits for its upload: found by the partial index, marked exactly, counted truly."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

import apsw
import pytest

from buffer.storage.store import Store
from common.sample import NORMAL
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
