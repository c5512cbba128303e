"""Rows at rest: written once, found by the partial index, marked exactly."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buffer import clocks, schema, series
from buffer.series import canonical_tags, series_key
from buffer.store import Store
from common.sample import NORMAL
from tests.unit.buffer.databases import DEVICE, NOW_MS, batch, query, storage

COLUMNS = [
    "id", "timestamp_ms", "metric_name", "metric_value", "value_text", "value_type", "tags", "session_id",
    "device_id", "uploaded", "priority", "dedup_key", "batch_id", "chunk_index",
]  # fmt: skip


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the database goes."""
    return tmp_path / "metrics.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    """A fresh database."""
    new = Store(storage(path), DEVICE)
    yield new
    new.close()


def test_the_view_has_exactly_the_documented_columns(store: Store, path: Path) -> None:
    """`PRAGMA table_info(metrics)` is the document's list, in its order."""
    assert COLUMNS == [row[1] for row in query(path, "PRAGMA table_info(metrics)")]


def test_a_sample_reads_back_as_it_was_published(store: Store, path: Path) -> None:
    """Name, value, tags, time, device, priority and state are in the view."""
    store.write([batch(("cpu.usage_percent", 12.5, {"core": "0", "a": "b"}), ("encoder.codec", "h265"))])
    rows = query(
        path,
        "SELECT timestamp_ms, metric_name, metric_value, value_text, value_type, tags, session_id, device_id, "
        "uploaded, priority, batch_id, chunk_index FROM metrics ORDER BY metric_name",
    )
    assert [
        (NOW_MS, "cpu.usage_percent", 12.5, None, 0, '{"a":"b","core":"0"}', None, DEVICE, 0, 2, None, None),
        (NOW_MS, "encoder.codec", None, "h265", 1, "{}", None, DEVICE, 2, 2, None, None),
    ] == rows


@pytest.mark.parametrize("value", [0, -1, 0.0, 1.5, 2**53, 2.0**53, -(2.0**60), 2**63 - 1, 1e300, 5e-324, 1e15, 0.1])
def test_a_number_is_equal_after_the_database(store: Store, value: float) -> None:
    """Whatever a number is stored as, it reads back equal."""
    store.write([batch(("m", value))])
    assert [value] == [row.value for row in store.pending_rows(NORMAL, NOW_MS + 1, 10)]


def test_the_same_chunk_twice_adds_no_row(store: Store, path: Path) -> None:
    """Redelivery changes nothing and is counted."""
    chunk = [batch(("a", 1), ("b", 2, {"l": "1"}), ("t", "text"))]
    assert (3, 0) == store.write(chunk)[:2]
    before = query(path, "SELECT * FROM metrics")
    assert (0, 3) == store.write(chunk)[:2]
    assert before == query(path, "SELECT * FROM metrics")
    assert [0, 0, 2, 0] == store.pending


def test_the_same_chunk_twice_adds_no_row_after_a_restart_either(store: Store, path: Path) -> None:
    """What was seen is known by the file, not by the process."""
    chunk = [batch(("a", 1), ("b", 2, {"l": "1"}))]
    store.write(chunk)
    again = Store(storage(path), DEVICE)
    assert (0, 2) == again.write(chunk)[:2]
    assert [0, 0, 2, 0] == again.pending
    again.close()


def test_a_duplicate_within_one_write_is_one_row(store: Store) -> None:
    """The same series and millisecond twice in one transaction count once; the first value stays."""
    assert (1, 2) == store.write([batch(("a", 1), ("a", 2)), batch(("a", 3), seq=2)])[:2]
    assert [1] == [row.value for row in store.pending_rows(NORMAL, NOW_MS + 1, 10)]


def test_number_and_text_of_one_name_are_two_series(store: Store) -> None:
    """A metric that changes its type collides with nothing."""
    assert (2, 0) == store.write([batch(("a", 1), ("a", "one"))])[:2]


def test_text_is_never_leased(store: Store) -> None:
    """Text stays on the device: it is not pending, and no lease finds it."""
    store.write([batch(("a", "text"), ("b", "", {"l": "1"}))])
    assert [0, 0, 0, 0] == store.pending
    assert [] == store.pending_rows(NORMAL, NOW_MS + 1, 10)


def test_pending_rows_come_oldest_first_up_to_a_time_and_a_number(store: Store) -> None:
    """What is newer than the horizon waits; among equals the first written is first."""
    store.write([batch(("a", n), seq=n, at_ms=NOW_MS + n) for n in (3, 1, 2)])
    assert [1, 2, 3] == [row.value for row in store.pending_rows(NORMAL, NOW_MS + 4, 10)]
    assert [1, 2] == [row.value for row in store.pending_rows(NORMAL, NOW_MS + 3, 10)]
    assert [1] == [row.value for row in store.pending_rows(NORMAL, NOW_MS + 4, 1)]
    assert (1, 2) == (store.not_due(NORMAL, NOW_MS + 3), store.not_due(NORMAL, NOW_MS + 2))
    assert NOW_MS + 1 == store.oldest_ms(NORMAL)
    assert store.oldest_ms(0) is None


def test_marking_uploaded_writes_a_checkpoint_and_counts_down(store: Store, path: Path) -> None:
    """Exactly the given rows are uploaded; the view names their batch and chunk."""
    store.write([batch(("a", n), seq=n, at_ms=NOW_MS + n) for n in range(5)])
    rows = store.pending_rows(NORMAL, NOW_MS + 9, 3)
    assert 3 == store.mark_uploaded(NORMAL, rows, "batch-7", 4)
    assert [0, 0, 2, 0] == store.pending
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
    rows = store.pending_rows(NORMAL, NOW_MS + 1, 10)
    assert (1, 0, 0) == (
        store.mark_uploaded(NORMAL, rows, "b", 0), store.mark_uploaded(NORMAL, rows, "b", 1),
        store.mark_refused(NORMAL, rows),
    )  # fmt: skip
    assert [0, 0, 0, 0] == store.pending


def test_what_was_sent_keeps_the_time_it_was_sent_by(store: Store) -> None:
    """A clock that is set back moves what was never sent; what the server lost goes out as before."""
    now = clocks.now()
    both = batch(("sent", 1), ("new", 2), at_ms=now.wall_ms)
    store.write([replace(both, boottime_ms=now.boottime_ms, boot_id=now.boot_id)])
    rows = store.pending_rows(NORMAL, now.wall_ms + 1, 1)
    store.mark_uploaded(NORMAL, rows, "b", 0)
    with store.connection:
        store.make_pending([("id = ?", (rows[0].id,))])
    later = clocks.Clocks(store.connection, 0, lambda: replace(now, wall_ms=now.wall_ms - 3_600_000))
    later.look()
    assert (1, 0) == (later.sweep(), later.sweep())
    moved, kept = store.pending_rows(NORMAL, now.wall_ms + 1, 10)
    assert (rows[0].id, now.wall_ms) == (kept.id, kept.timestamp_ms)
    assert now.wall_ms - 3_600_000 == pytest.approx(moved.timestamp_ms, abs=clocks.DRIFT_MS)


def test_refused_rows_are_kept_and_not_sent_again(store: Store, path: Path) -> None:
    """Quarantine is a mark, not a deletion."""
    store.write([batch(("a", 1), ("b", 2))])
    rows = store.pending_rows(NORMAL, NOW_MS + 1, 1)
    assert 1 == store.mark_refused(NORMAL, rows)
    assert [0, 0, 1, 0] == store.pending
    assert [(0, None), (2, None)] == query(path, "SELECT uploaded, batch_id FROM metrics ORDER BY uploaded")


def test_what_is_pending_is_counted_again_at_the_start(store: Store, path: Path) -> None:
    """The counters in memory and the file agree after any number of writes and marks."""
    store.write([batch(("a", n), ("t", "x"), seq=n, at_ms=NOW_MS + n) for n in range(100)])
    store.mark_uploaded(NORMAL, store.pending_rows(NORMAL, NOW_MS + 500, 30), "b", 0)
    store.mark_refused(NORMAL, store.pending_rows(NORMAL, NOW_MS + 500, 7))
    again = Store(storage(path), DEVICE)
    assert [0, 0, 63, 0] == store.pending == again.pending
    again.close()


def test_another_device_id_is_for_new_rows_alone(store: Store, path: Path) -> None:
    """A renamed box does not rename its past, and the same sample of two devices is two."""
    store.write([batch(("a", 1))])
    renamed = Store(storage(path), "box-2")
    assert (1, 0) == renamed.write([batch(("a", 2))])[:2]
    assert [DEVICE, "box-2"] == [
        renamed.series(row.series_id).device_id for row in renamed.pending_rows(2, NOW_MS + 1, 9)
    ]
    renamed.close()


def test_a_write_that_fails_leaves_nothing_of_it(store: Store, path: Path) -> None:
    """Half a chunk is never visible; the series made in it are forgotten, and the next write succeeds whole."""
    store.write([batch(("first", 0))])
    pages = query(path, "PRAGMA page_count")[0][0]
    store.connection.execute(f"PRAGMA max_page_count = {pages}").fetchall()
    large = [batch(*((f"metric.{n}", n, {"l": "x" * 500}) for n in range(500)), seq=2)]
    with pytest.raises(apsw.FullError):
        store.write(large)
    assert [(1, 1)] == query(path, "SELECT (SELECT count(*) FROM samples), (SELECT count(*) FROM series)")
    assert [0, 0, 1, 0] == store.pending
    store.connection.execute("PRAGMA max_page_count = 1000000").fetchall()
    assert (500, 0) == store.write(large)[:2]
    assert [0, 0, 501, 0] == store.pending
    assert [] == query(path, "SELECT * FROM samples WHERE series_id NOT IN (SELECT id FROM series)")


def test_a_mark_that_fails_changes_nothing(store: Store, path: Path) -> None:
    """Checkpoint and marks happen together or not at all."""
    store.write([batch(("a", n), seq=n, at_ms=NOW_MS + n) for n in range(10)])
    rows = store.pending_rows(NORMAL, NOW_MS + 99, 10)
    store.connection.execute("PRAGMA query_only = 1").fetchall()
    with pytest.raises(apsw.Error):
        store.mark_uploaded(NORMAL, rows, "b", 0)
    with pytest.raises(apsw.Error):
        store.mark_refused(NORMAL, rows)
    store.connection.execute("PRAGMA query_only = 0").fetchall()
    assert ([0, 0, 10, 0], [(0,)]) == (store.pending, query(path, "SELECT count(*) FROM upload_checkpoints"))
    assert 10 == store.mark_uploaded(NORMAL, rows, "b", 0)


def test_readers_see_the_last_commit_and_disturb_nobody(store: Store, path: Path) -> None:
    """A prompt with an open read transaction neither blocks writing nor a checkpoint for long."""
    store.write([batch(("a", 1))])
    reader = apsw.Connection(str(path))
    reader.execute("BEGIN")
    assert 1 == reader.execute("SELECT count(*) FROM metrics").get
    store.write([batch(("a", 2), seq=2, at_ms=NOW_MS + 1)])
    began_s = time.monotonic()
    result = store.checkpoint()
    assert time.monotonic() - began_s < 1.0
    assert 1 == result.busy
    assert 1 == reader.execute("SELECT count(*) FROM metrics").get
    reader.close()
    assert (0, 0) == (store.checkpoint().busy, store.wal_bytes())


def test_a_checkpoint_reports_its_three_integers_and_the_bytes(store: Store) -> None:
    """The log is folded in and truncated; what SQLite said of it is returned."""
    store.write([batch(*((f"m.{n}", n) for n in range(500)))])
    before = store.wal_bytes()
    result = store.checkpoint()
    assert before == result.old_bytes > 0
    assert (0, 0) == (result.busy, result.new_bytes)
    assert store.database_bytes() > 0


def test_the_documented_pragmas_are_in_force(store: Store) -> None:
    """WAL, NORMAL, in-memory temporaries, and the log folded in by us alone."""
    values = [
        store.connection.execute(f"PRAGMA {name}").get
        for name in ("journal_mode", "synchronous", "temp_store", "wal_autocheckpoint", "busy_timeout")
    ]
    assert ["wal", 1, 2, 0, 5000] == values


def test_the_book_of_series_is_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A confused producer with ever new labels does not fill the memory, and every series is still found."""
    monkeypatch.setattr(series, "MAX_KNOWN", 100)
    for number in range(10):
        store.write([batch(*(("m", n, {"l": f"{number}-{n}"}) for n in range(90)), seq=number)])
    rows = store.pending_rows(NORMAL, NOW_MS + 1, 900)
    assert 900 == len({store.series(row.series_id).tags["l"] for row in rows})
    assert all(len(known) <= 100 for known in (store.book._by_identity, store.book._by_id))


TAGS = st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=4)


@settings(deadline=None, max_examples=50)
@given(TAGS, TAGS)
def test_equal_tags_have_equal_text_and_no_others(left: dict[str, str], right: dict[str, str]) -> None:
    """The canonical form neither depends on order nor lets two sets of tags collide, whatever is in them."""
    assert canonical_tags(left) == canonical_tags(dict(reversed(left.items())))
    assert (left == right) == (canonical_tags(left) == canonical_tags(right))


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (("a", "b", "{}"), ("a", "b", "[]")),
        (("a|b", "c", "{}"), ("a", "b|c", "{}")),
        (('a","b', "c", "{}"), ("a", 'b","c', "{}")),
        (("a", "", "{}"), ("", "a", "{}")),
    ],
)
def test_no_two_series_share_a_key(left: tuple[str, str, str], right: tuple[str, str, str]) -> None:
    """No separator inside a name makes two series one; number and text differ too."""
    assert series_key(*left, is_text=False) != series_key(*right, is_text=False)
    assert series_key(*left, is_text=False) != series_key(*left, is_text=True)


def test_every_dedup_key_is_there_and_unique(store: Store, path: Path) -> None:
    """The documented column identifies a sample."""
    store.write([batch(("a", 1), ("b", 2), ("a", "t"), seq=n, at_ms=NOW_MS + n) for n in range(20)])
    keys = [row[0] for row in query(path, "SELECT dedup_key FROM metrics")]
    assert 60 == len(set(keys))
    assert None not in keys


def plans(store: Store) -> dict[str, str]:
    """Return the query plan of every statement that lease, counts and oldest execute, as they execute it."""
    executed: dict[str, Any] = {}

    def record(_cursor: object, sql: str, bindings: object) -> bool:
        executed[sql] = bindings
        return True

    store.connection.exec_trace = record
    store.pending_rows(NORMAL, NOW_MS, 100)
    store.not_due(NORMAL, NOW_MS)
    store.oldest_ms(NORMAL)
    store._count_pending()
    store.connection.exec_trace = None
    explain = store.connection.execute
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
    store.connection.execute("ANALYZE").fetchall()
    assert_indexed(store)


def test_a_lease_costs_the_same_in_a_large_table(path: Path) -> None:
    """With 400,000 rows, 1,000 of them pending, a lease touches about as many pages as it returns rows need."""
    store = Store(storage(path), DEVICE)
    store.write([batch(("a", 0))])
    with store.connection:
        store.connection.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 400000) "
            "INSERT INTO samples (timestamp_ms, series_id, value, priority, chunk) "
            "SELECT ? + i, 1, i, 2, CASE WHEN i % 400 THEN 1 END FROM n",
            (NOW_MS,),
        )
    store.connection.execute("ANALYZE").fetchall()
    assert_indexed(store)
    store.connection.execute("PRAGMA cache_size = 50").fetchall()
    store.connection.status(apsw.SQLITE_DBSTATUS_CACHE_MISS, True)
    assert 100 == len(store.pending_rows(NORMAL, NOW_MS * 2, 100))
    misses = store.connection.status(apsw.SQLITE_DBSTATUS_CACHE_MISS)[0]
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
            model.setdefault((name, at_ms), (seq, 0))
        else:
            rows = store.pending_rows(NORMAL, NOW_MS + chance.randrange(70), chance.randrange(1, 20))
            if rows:
                state = 1 if action < 0.9 else 2
                (store.mark_uploaded(NORMAL, rows, "b", seq) if state == 1 else store.mark_refused(NORMAL, rows))
                for row in rows:
                    key = store.series(row.series_id).name, row.timestamp_ms
                    model[key] = model[key][0], state
        assert sum(state == 0 for _, state in model.values()) == store.pending[NORMAL]
    rows_now = query(path, "SELECT metric_name, timestamp_ms, metric_value, uploaded FROM metrics")
    assert model == {(name, at_ms): (value, state) for name, at_ms, value, state in rows_now}


def test_the_version_is_recorded_once(store: Store, path: Path) -> None:
    """`SELECT version FROM schema_version` answers with the current one."""
    Store(storage(path), DEVICE).close()
    assert [(schema.VERSION,)] == query(path, "SELECT version FROM schema_version")
