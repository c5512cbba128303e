"""Rows at rest: written once, whole or not at all, and read by others meanwhile."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import Mock

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from buffer.storage import clocks, migrations, series
from buffer.storage.series import canonical_tags, series_key
from buffer.storage.store import Store
from common.sample import NORMAL, Batch, Sample
from tests.patience import Patience
from tests.unit.buffer.databases import DEVICE, NOW_MS, batch, query, storage

COLUMNS = [
    "id", "timestamp_ms", "metric_name", "metric_value", "value_text", "value_type", "tags", "session_id",
    "device_id", "uploaded", "priority", "dedup_key", "batch_id", "chunk_index",
]  # fmt: skip


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


@pytest.mark.parametrize("value", [0, -1, 0.0, 1.5, 2**53, 2.0**53, -(2.0**60), 2**63 - 1, 1e20, 1e300, 5e-324, 0.1])
def test_a_number_is_equal_after_the_database(store: Store, value: float) -> None:
    """Whatever a number is stored as, it reads back equal."""
    store.write([batch(("m", value))])
    assert [value] == [row.value for row in store.pending.rows(NORMAL, NOW_MS + 1, 10)]


def test_a_whole_number_takes_little_space(store: Store, path: Path) -> None:
    """Most numbers are whole: 1 to 6 bytes instead of 8."""
    store.write([batch(("a", 1e15), ("b", -1e15), ("c", 1000.0), ("d", 1.5))])
    assert ["integer"] * 3 + ["real"] == [
        kind for (kind,) in query(path, "SELECT typeof(value) FROM samples ORDER BY id")
    ]


def test_what_is_moved_is_counted_and_nothing_else(store: Store) -> None:
    """By sample: a rate of it says that a clock is wrong."""
    now = clocks.now()
    late = Batch("p", "e", 1, now.wall_ms - 60_000, now.boottime_ms, now.boot_id, urgent=False, samples=[
        Sample("a", 1), Sample("b", 2),
    ])  # fmt: skip
    assert {"rebased": 2} == store.write([late]).moved
    assert {} == store.write([batch(("c", 1))]).moved


def test_equal_samples_of_two_clocks_at_one_time_are_two(store: Store) -> None:
    """One of them was dated by a clock that is gone: it moves, and both are there."""
    now = clocks.now()
    rows = [(now.boot_id, now.offset_ms - 86_400_000), (now.boot_id, now.offset_ms)]
    store._connection.executemany("INSERT INTO clocks (boot_id, offset_ms) VALUES (?, ?)", rows)
    own = store._writer.clocks = clocks.Clocks(store._connection, 0, lambda: now)
    one = Batch("p", "e", 1, now.wall_ms, now.boottime_ms, now.boot_id, urgent=False, samples=[Sample("m", 7)])
    assert 1 == store.write([one]).inserted
    store._connection.execute("UPDATE samples SET clock = ?", (max(own.stale),))
    assert 1 == store.write([one]).inserted
    found = store._connection.execute("SELECT timestamp_ms FROM samples ORDER BY 1").fetchall()
    assert [(now.wall_ms,), (now.wall_ms + 1,)] == found


def test_a_sample_gives_way_by_fifty_milliseconds_at_most(store: Store) -> None:
    """And is not counted as moved where it is not."""
    store.write([batch(("m", n + 1), seq=n, at_ms=NOW_MS + n) for n in range(50)])
    written = store.write([batch(("m", 0), seq=99)])
    assert (0, 0) == (written.inserted, written.moved.get("same_time", 0))


def test_a_series_of_a_write_that_failed_is_made_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was rolled back: its samples would belong to none."""
    with monkeypatch.context() as patch:
        patch.setattr(store._writer, "_insert", Mock(side_effect=apsw.FullError("full")))
        with pytest.raises(apsw.FullError):
            store.write([batch(("new", 1))])
    store.write([batch(("new", 1))])
    (row,) = store.pending.rows(NORMAL, NOW_MS + 1, 10)
    assert "new" == store.series.by_id(row.series_id).name
    assert [(1,)] == store._connection.execute("SELECT count(*) FROM series").fetchall()


def test_the_same_chunk_twice_adds_no_row(store: Store, path: Path) -> None:
    """Redelivery changes nothing and is counted."""
    chunk = [batch(("a", 1), ("b", 2, {"l": "1"}), ("t", "text"))]
    assert (3, 0) == store.write(chunk)[:2]
    before = query(path, "SELECT * FROM metrics")
    assert (0, 3) == store.write(chunk)[:2]
    assert before == query(path, "SELECT * FROM metrics")
    assert [0, 0, 2, 0] == store.pending.counts


def test_the_same_chunk_twice_adds_no_row_after_a_restart_either(store: Store, path: Path) -> None:
    """What was seen is known by the file, not by the process."""
    chunk = [batch(("a", 1), ("b", 2, {"l": "1"}))]
    store.write(chunk)
    again = Store(storage(path), DEVICE)
    assert (0, 2) == again.write(chunk)[:2]
    assert [0, 0, 2, 0] == again.pending.counts
    again.close()


def test_another_value_in_the_same_millisecond_is_another_sample(store: Store) -> None:
    """Both are kept, the second a millisecond later, and counted; redelivered, neither is there twice."""
    batches = [batch(("a", 1), ("a", 2)), batch(("a", 3), ("a", 1), seq=2)]
    written = store.write(batches)
    assert (3, 1, {"same_time": 2}) == (written.inserted, written.duplicates, written.moved)
    for again in (batches, batches[1:], batches[:1]):
        assert 0 == store.write(again).inserted
    kept = [(row.timestamp_ms - NOW_MS, row.value) for row in store.pending.rows(NORMAL, NOW_MS + 9, 10)]
    assert [(0, 1), (1, 2), (2, 3)] == kept
    assert [0, 0, 3, 0] == store.pending.counts


def test_another_text_in_the_same_millisecond_is_another_sample(store: Store, path: Path) -> None:
    """What is kept on the device is not lost either."""
    assert (2, 1) == store.write([batch(("a", "one"), ("a", "two"), ("a", "one"))])[:2]
    assert [("one",), ("two",)] == query(path, "SELECT value_text FROM metrics ORDER BY timestamp_ms")


def test_number_and_text_of_one_name_are_two_series(store: Store) -> None:
    """A metric that changes its type collides with nothing."""
    assert (2, 0) == store.write([batch(("a", 1), ("a", "one"))])[:2]


def test_another_device_id_is_for_new_rows_alone(store: Store, path: Path) -> None:
    """A renamed box does not rename its past, and the same sample of two devices is two."""
    store.write([batch(("a", 1))])
    renamed = Store(storage(path), "box-2")
    assert (1, 0) == renamed.write([batch(("a", 2))])[:2]
    assert [DEVICE, "box-2"] == [
        renamed.series.by_id(row.series_id).device_id for row in renamed.pending.rows(2, NOW_MS + 1, 9)
    ]
    renamed.close()


def test_a_write_that_fails_leaves_nothing_of_it(store: Store, path: Path) -> None:
    """Half a chunk is never visible; the series made in it are forgotten, and the next write succeeds whole."""
    store.write([batch(("first", 0))])
    pages = query(path, "PRAGMA page_count")[0][0]
    store._connection.execute(f"PRAGMA max_page_count = {pages}").fetchall()
    large = [batch(*((f"metric.{n}", n, {"l": "x" * 500}) for n in range(500)), seq=2)]
    with pytest.raises(apsw.FullError):
        store.write(large)
    assert [(1, 1)] == query(path, "SELECT (SELECT count(*) FROM samples), (SELECT count(*) FROM series)")
    assert [0, 0, 1, 0] == store.pending.counts
    store._connection.execute("PRAGMA max_page_count = 1000000").fetchall()
    assert (500, 0) == store.write(large)[:2]
    assert [0, 0, 501, 0] == store.pending.counts
    assert [] == query(path, "SELECT * FROM samples WHERE series_id NOT IN (SELECT id FROM series)")


def test_readers_see_the_last_commit_and_disturb_nobody(store: Store, path: Path) -> None:
    """A prompt with an open read transaction neither blocks writing nor a checkpoint for long."""
    store.write([batch(("a", 1))])
    reader = apsw.Connection(str(path))
    reader.execute("BEGIN")
    assert 1 == reader.execute("SELECT count(*) FROM metrics").get
    store.write([batch(("a", 2), seq=2, at_ms=NOW_MS + 1)])
    patience = Patience(1.0)
    result = store.checkpoint()
    assert not patience.is_over()
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
    """WAL, NORMAL, in-memory temporaries, the log copied by us alone, and no long wait for another writer."""
    values = [
        store._connection.execute(f"PRAGMA {name}").get
        for name in ("journal_mode", "synchronous", "temp_store", "wal_autocheckpoint", "busy_timeout")
    ]
    assert ["wal", 1, 2, 0, 250] == values


def test_the_book_of_series_is_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A confused producer with ever new labels does not fill the memory, and every series is still found."""
    monkeypatch.setattr(series, "MAX_KNOWN", 100)
    for number in range(10):
        store.write([batch(*(("m", n, {"l": f"{number}-{n}"}) for n in range(90)), seq=number)])
    rows = store.pending.rows(NORMAL, NOW_MS + 1, 900)
    assert 900 == len({store.series.by_id(row.series_id).tags["l"] for row in rows})
    assert all(len(known) <= 100 for known in (store.series._by_identity, store.series._by_id))


TAGS = st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=4)


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


def test_the_version_is_recorded_once(store: Store, path: Path) -> None:
    """`SELECT version FROM schema_version` answers with the current one."""
    Store(storage(path), DEVICE).close()
    assert [(migrations.VERSION,)] == query(path, "SELECT version FROM schema_version")
