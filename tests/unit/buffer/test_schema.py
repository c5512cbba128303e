"""The way here from older files, whatever is in them and wherever a kill hits."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pytest

from buffer.storage import migrations
from buffer.storage.migrations import NewerSchemaError, UnknownSchemaError
from buffer.storage.store import Store
from common.sample import NORMAL
from tests.unit.buffer.databases import (
    DEVICE,
    NOW_MS,
    V1,
    V1_OF_THE_PRD,
    V2,
    batch,
    make,
    query,
    storage,
    v2_row,
)  # fmt: skip

VIEW = (
    "SELECT id, timestamp_ms, metric_name, coalesce(metric_value, value_text), tags, session_id, device_id, uploaded, "
    "priority FROM metrics ORDER BY id"
)
TABLES = {
    "schema_version", "series", "samples", "sessions", "upload_checkpoints", "metrics", "sqlite_sequence",
}  # fmt: skip


def opened(path: Path) -> int:
    """Open and close a file as the buffer does; return the version it was."""
    store = Store(storage(path), DEVICE)
    found = store.migrated_from
    store.close()
    return found


def content(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Return all tables of a file that say anything of samples."""
    tables = [row[0] for row in query(path, "SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")]
    return {
        name: sorted(query(path, f'SELECT * FROM "{name}"'), key=repr) for name in sorted(tables) if name != "series"
    } | {"series": sorted(query(path, "SELECT metric_name, device_id, tags, value_type FROM series"), key=repr)}


def assert_current(path: Path) -> None:
    """Fail unless a file is whole, of the current schema, and has nothing left of an older one."""
    assert [("ok",)] == query(path, "PRAGMA integrity_check")
    assert [] == query(path, "PRAGMA foreign_key_check")
    names = {row[0] for row in query(path, "SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")}
    assert names >= TABLES
    assert {name for name in names if name.startswith("old")} == set()
    indexes = {row[0] for row in query(path, "SELECT name FROM sqlite_master WHERE type = 'index'")}
    assert indexes >= {"ux_metrics_dedup", "idx_uploaded"}
    assert migrations.VERSION == query(path, "SELECT max(version) FROM schema_version")[0][0]


def test_a_fresh_file_is_current(path: Path) -> None:
    """Version 0 is no file at all."""
    assert 0 == opened(path)
    assert_current(path)
    assert migrations.VERSION == opened(path)


def test_an_empty_file_is_a_fresh_one(path: Path) -> None:
    """Zero bytes are what a crash right after the first open leaves."""
    path.touch()
    assert 0 == opened(path)
    assert_current(path)


def test_a_file_of_the_first_milestone_is_migrated(path: Path) -> None:
    """Every row keeps id, time, name and value; devices that are missing become this one; all of it is pending."""
    rows = [
        {"timestamp_ms": NOW_MS, "metric_name": "cpu.temperature", "metric_value": 45.5, "device_id": "other"},
        {"timestamp_ms": NOW_MS + 1, "metric_name": "cpu.temperature", "metric_value": 46, "device_id": None},
        {"timestamp_ms": NOW_MS + 2, "metric_name": "my.own", "metric_value": -1.25, "device_id": ""},
    ]
    make(path, V1, rows)
    assert 1 == opened(path)
    assert_current(path)
    assert [
        (1, NOW_MS, "cpu.temperature", 45.5, "{}", None, "other", 0, 2),
        (2, NOW_MS + 1, "cpu.temperature", 46.0, "{}", None, DEVICE, 0, 2),
        (3, NOW_MS + 2, "my.own", -1.25, "{}", None, DEVICE, 0, 2),
    ] == query(path, VIEW)
    assert [(migrations.VERSION,)] == query(path, "SELECT version FROM schema_version")


def test_a_file_of_the_prds_schema_is_migrated(path: Path) -> None:
    """Its time column is called otherwise, and it has tags, sessions, priorities and checkpoints."""
    rows = [
        {"timestamp": NOW_MS, "metric_name": "a", "metric_value": 1, "tags": '{"core":"0"}', "session_id": "s1"},
        {"timestamp": NOW_MS + 1, "metric_name": "a", "metric_value": 2, "uploaded": 1, "priority": 0},
    ]
    sessions = [{"id": "s1", "start_time": NOW_MS - 5, "status": "active"}]
    checkpoints = [{"last_uploaded_id": 2, "last_uploaded_timestamp": NOW_MS + 1, "upload_time": NOW_MS + 9}]
    make(path, V1_OF_THE_PRD, rows, sessions=sessions, upload_checkpoints=checkpoints)
    assert 1 == opened(path)
    assert_current(path)
    assert [
        (1, NOW_MS, "a", 1, '{"core":"0"}', "s1", DEVICE, 0, 2),
        (2, NOW_MS + 1, "a", 2, "{}", None, DEVICE, 1, 0),
    ] == query(path, VIEW)
    assert [("s1", NOW_MS - 5, "active")] == query(path, "SELECT id, start_time, status FROM sessions")
    assert [(2, NOW_MS + 1, NOW_MS + 9, "migrated")] == query(
        path, "SELECT last_uploaded_id, last_uploaded_timestamp, upload_time, batch_id FROM upload_checkpoints LIMIT 1"
    )


def test_a_file_of_the_second_milestone_is_migrated(path: Path) -> None:
    """Numbers, texts, tags, sessions, states and checkpoints are all there under the same ids."""
    rows = [
        v2_row(1, session_id="s1", tags='{"b":"2","a":"1"}'),
        v2_row(2, uploaded=1, priority=1, session_id="not in sessions"),
        v2_row(3, metric_value=None, value_text="h265", value_type=1, metric_name="encoder.codec"),
        v2_row(4, metric_value=0.0, value_text="1920x1080", value_type=1, metric_name="encoder.resolution"),
        v2_row(5, priority=None, tags=None, device_id=None),
        v2_row(6, priority=77, tags="{}", metric_value=7),
    ]
    sessions = [{"id": "s1", "start_time": NOW_MS - 5, "end_time": NOW_MS, "status": "completed", "metadata": "{}"}]
    checkpoints = [
        {
            "id": 9, "batch_id": "b-1", "chunk_index": 3, "last_uploaded_id": 2,
            "last_uploaded_timestamp": NOW_MS + 2, "upload_time": NOW_MS + 50, "metrics_count": 1,
        }
    ]  # fmt: skip
    make(path, V2, rows, sessions=sessions, upload_checkpoints=checkpoints)
    assert 2 == opened(path)
    assert_current(path)
    assert [
        (1, NOW_MS + 1, "cpu.usage_percent", 1.0, '{"a":"1","b":"2"}', "s1", DEVICE, 0, 2),
        (2, NOW_MS + 2, "cpu.usage_percent", 2.0, '{"core":"2"}', "not in sessions", DEVICE, 1, 1),
        (3, NOW_MS + 3, "encoder.codec", "h265", '{"core":"3"}', None, DEVICE, 2, 2),
        (4, NOW_MS + 4, "encoder.resolution", "1920x1080", '{"core":"0"}', None, DEVICE, 2, 2),
        (5, NOW_MS + 5, "cpu.usage_percent", 5.0, "{}", None, DEVICE, 0, 2),
        (6, NOW_MS + 6, "cpu.usage_percent", 7.0, "{}", None, DEVICE, 0, 2),
    ] == query(path, VIEW)
    assert [("s1", NOW_MS - 5, NOW_MS, "completed", "{}"), ("not in sessions", NOW_MS + 2, None, None, None)] == query(
        path, "SELECT id, start_time, end_time, status, metadata FROM sessions"
    )
    assert [(9, "b-1", 3, 2, NOW_MS + 2, NOW_MS + 50, 1)] == query(
        path,
        "SELECT id, batch_id, chunk_index, last_uploaded_id, last_uploaded_timestamp, upload_time, metrics_count "
        "FROM upload_checkpoints WHERE batch_id = 'b-1'",
    )
    assert [(2,), (migrations.VERSION,)] == query(path, "SELECT version FROM schema_version ORDER BY id")


def test_duplicates_are_folded(path: Path) -> None:
    """The same name, time, device and tags twice, in any spelling of the tags, is one sample: the first."""
    rows = [
        v2_row(1, dedup_key="a", tags='{"a":"1","b":"2"}', metric_value=1.0),
        v2_row(1, dedup_key="b", tags='{"b": "2", "a": "1"}', metric_value=2.0),
        v2_row(1, dedup_key="c", tags='{"a":"1"}', metric_value=3.0),
        v2_row(1, dedup_key="d", tags='{"a":"1","b":"2"}', metric_value=None, value_text="text", value_type=1),
    ]
    make(path, V2, rows)
    opened(path)
    assert [(1, 1.0), (3, 3.0), (4, "text")] == query(
        path, "SELECT id, coalesce(metric_value, value_text) FROM metrics ORDER BY id"
    )


def test_rows_that_say_nothing_are_left_out(path: Path) -> None:
    """No value, no name or no time is no sample; the rows around them are taken."""
    v1 = "CREATE TABLE metrics (id INTEGER PRIMARY KEY, timestamp_ms INTEGER, metric_name TEXT, metric_value REAL)"
    good: dict[str, Any] = {"timestamp_ms": NOW_MS, "metric_name": "a", "metric_value": 1.0}
    bad: list[dict[str, Any]] = [
        {"metric_value": None},
        {"metric_name": None},
        {"metric_name": ""},
        {"timestamp_ms": None},
    ]
    odd: list[dict[str, Any]] = [{"timestamp_ms": "yesterday"}, {"timestamp_ms": 1.5}, {"metric_value": b"\x00\x01"}]
    make(path, v1, [good, *({**good, **change} for change in (*bad, *odd)), {**good, "timestamp_ms": NOW_MS + 1}])
    opened(path)
    assert_current(path)
    assert [(1,), (9,)] == query(path, "SELECT id FROM metrics ORDER BY id")


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("not json", "{}"),
        ("[1, 2]", "{}"),
        ('"text"', "{}"),
        ("null", "{}"),
        ("", "{}"),
        ("{", "{}"),
        ("[" * 100_000, "{}"),
        ('{"a": 1, "b": null, "c": true}', '{"a":"1","c":"True"}'),
        ('{"a": {"b": 1}}', """{"a":"{'b': 1}"}"""),
        ('{"a": "\\ud800"}', '{"a":"?"}'),
        ('{"\\u00e9": "caf\\u00e9"}', '{"é":"café"}'),
        (b'{"a": "\xff"}', '{"a":"\ufffd"}'),
    ],
)
def test_tags_of_any_kind_do_not_stop_a_migration(path: Path, tags: str | bytes, expected: str) -> None:
    """What is a JSON map becomes names and text, without nulls; what is none becomes no tags; the sample is kept."""
    make(path, V2, [v2_row(1, tags=tags)])
    opened(path)
    assert [(1.0, expected)] == query(path, "SELECT metric_value, tags FROM metrics")


def test_text_that_is_not_utf8_does_not_stop_a_migration(path: Path) -> None:
    """Another program's bytes are kept as far as they are text."""
    make(path, V2)
    connection = apsw.Connection(str(path))
    connection.execute(
        "INSERT INTO metrics (timestamp_ms, metric_name, value_text, value_type, session_id, device_id, dedup_key) "
        "VALUES (?, CAST(x'61ff' AS TEXT), CAST(x'62ff' AS TEXT), 1, CAST(x'63ff' AS TEXT), CAST(x'64ff' AS TEXT),'k')",
        (NOW_MS,),
    )
    connection.close()
    opened(path)
    assert [("a\ufffd", "b\ufffd", "c\ufffd", "d\ufffd")] == query(
        path, "SELECT metric_name, value_text, session_id, device_id FROM metrics"
    )


@pytest.mark.parametrize(
    ("changes", "uploaded"),
    [
        ({"metric_value": float("inf")}, 2),
        ({"metric_value": float("-inf")}, 2),
        ({"timestamp_ms": -5}, 2),
        ({"timestamp_ms": 1_760_193_000}, 2),
        ({"timestamp_ms": 2**62}, 2),
        ({"metric_value": 2**62}, 0),
        ({"metric_value": float("inf"), "uploaded": 1}, 1),
    ],
)
def test_what_no_server_takes_is_kept_and_not_sent(path: Path, changes: dict[str, Any], uploaded: int) -> None:
    """Infinities and times outside any clock would be pending for ever; they are marked as refused."""
    make(path, V2, [v2_row(1, **changes)])
    store = Store(storage(path), DEVICE)
    assert [0, 0, int(uploaded == 0), 0] == store.pending.counts
    assert (uploaded == 0) == bool(store.pending.rows(NORMAL, 2**63 - 1, 10))
    store.close()
    assert [(uploaded,)] == query(path, "SELECT uploaded FROM metrics")


def test_a_migrated_file_goes_on_as_any_other(path: Path) -> None:
    """New samples get new ids, redelivered old ones change nothing, and pending is what was not uploaded."""
    make(path, V2, [v2_row(1), v2_row(2, uploaded=1)])
    store = Store(storage(path), DEVICE)
    assert [0, 0, 1, 0] == store.pending.counts
    again = [("cpu.usage_percent", 1.0, {"core": "1"})]
    assert (0, 1) == store.write([batch(*again, at_ms=NOW_MS + 1)])[:2]
    assert (1, 0) == store.write([batch(("cpu.usage_percent", 9, {"core": "1"}), at_ms=NOW_MS + 99)])[:2]
    store.close()
    assert [(1,), (2,), (3,)] == query(path, "SELECT id FROM metrics ORDER BY id")


def test_the_wal_does_not_grow_with_the_file_that_is_migrated(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A card that has room for the file has room for its migration."""
    monkeypatch.setattr(migrations, "SLICE_ROWS", 500)
    make(path, V2, [v2_row(number, tags=json.dumps({"core": "x" * 200})) for number in range(12_000)])
    sizes: list[int] = []
    log = path.with_name("metrics.db-wal")
    store = Store(storage(path), DEVICE, lambda _rows: sizes.append(log.stat().st_size))
    assert 24 == len(sizes)
    assert max(sizes) < path.stat().st_size
    store.close()


def test_progress_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator who waits sees how many rows are copied."""
    monkeypatch.setattr(migrations, "SLICE_ROWS", 10)
    make(path, V2, [v2_row(number) for number in range(25)])
    told: list[int] = []
    Store(storage(path), DEVICE, told.append).close()
    assert [10, 20, 25] == told


class PowerCut(BaseException):
    """What ends a migration in the middle, here within the process."""


def test_a_migration_that_is_cut_off_after_any_slice_is_resumed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever slice was the last, opening again finishes and gives the same file as an undisturbed migration."""
    monkeypatch.setattr(migrations, "SLICE_ROWS", 7)
    rows = mixed_rows(42)
    whole = path.with_name("whole.db")
    make(whole, V2, rows)
    opened(whole)
    for cut in range(1, 7):
        path.unlink(missing_ok=True)
        make(path, V2, rows)

        def progress(copied: int, cut: int = cut) -> None:
            if copied >= 7 * cut:
                raise PowerCut

        with pytest.raises(PowerCut):
            Store(storage(path), DEVICE, progress)
        assert 2 == opened(path)
        assert_current(path)
        assert content_without_times(whole) == content_without_times(path)


def mixed_rows(count: int) -> list[dict[str, Any]]:
    """Return rows of the second milestone with every oddity among them, duplicates far from their first."""
    rows = []
    for number in range(count):
        kinds: list[dict[str, Any]] = [
            {},
            {"uploaded": 1},
            {"metric_value": None, "value_text": f"text {number}", "value_type": 1},
            {"metric_value": None},
            {"tags": "not json", "session_id": f"s{number % 3}"},
            {"timestamp_ms": NOW_MS + number // 2, "tags": '{"core":"7"}'},
            {"device_id": None, "priority": None},
        ]
        rows.append(v2_row(number, **kinds[number % len(kinds)]))
    return rows


def content_without_times(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Return what is in a file but for when it was migrated, and numbers that are given out anew."""
    return {
        "metrics": query(path, VIEW),
        "sessions": query(path, "SELECT id, start_time FROM sessions ORDER BY id"),
        "checkpoints": query(path, "SELECT batch_id, chunk_index FROM upload_checkpoints ORDER BY id"),
        "series": query(path, "SELECT metric_name, device_id, tags, value_type FROM series ORDER BY series_key"),
        "versions": query(path, "SELECT version FROM schema_version ORDER BY id"),
    }


def test_migrating_is_idempotent(path: Path) -> None:
    """Opening a migrated file again changes nothing at all."""
    make(path, V2, mixed_rows(200))
    opened(path)
    before = content(path)
    assert (migrations.VERSION, migrations.VERSION) == (opened(path), opened(path))
    assert before == content(path)


@pytest.mark.parametrize("prepare", [opened, lambda path: make(path, V2, [v2_row(1)])])
def test_a_file_of_a_newer_version_is_refused(path: Path, prepare: Callable[[Path], Any]) -> None:
    """A downgrade says which version it met and touches nothing."""
    prepare(path)
    connection = apsw.Connection(str(path))
    connection.execute("INSERT INTO schema_version (version, applied_at) VALUES (99, 'x')")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(NewerSchemaError, match="schema version 99, this program knows up to 4: install"):
        opened(path)
    assert before == path.read_bytes()


FOREIGN = {
    "another program's table": "CREATE TABLE moz_places (id INTEGER PRIMARY KEY, url TEXT)",
    "another table called metrics": "CREATE TABLE metrics (run_uuid TEXT, key TEXT, value REAL, timestamp BIGINT)",
    "another schema_version of text": "CREATE TABLE schema_version (version TEXT); "
    "INSERT INTO schema_version VALUES ('1.2'); CREATE TABLE t (x)",
    "another schema_version of our number": "CREATE TABLE schema_version (version INTEGER); "
    "INSERT INTO schema_version VALUES (3); CREATE TABLE t (x)",
    "another schema_version of a higher number": "CREATE TABLE schema_version (version INTEGER); "
    "INSERT INTO schema_version VALUES (2025); CREATE TABLE t (x)",
    "another schema_version without a version": "CREATE TABLE schema_version (n INTEGER); CREATE TABLE t (x)",
    "only one of our names": "CREATE TABLE samples (x)",
}


@pytest.mark.parametrize("ddl", FOREIGN.values(), ids=FOREIGN)
def test_another_programs_database_is_refused_untouched(path: Path, ddl: str) -> None:
    """A wrong path does not cost somebody else's data: the message names what was found, not a byte changes."""
    make(path, f"{ddl}; CREATE TABLE other (x); INSERT INTO other VALUES (1)")
    before = path.read_bytes()
    with pytest.raises(UnknownSchemaError, match=r"not a metrics database: it holds .*other"):
        opened(path)
    assert before == path.read_bytes()


def test_a_file_that_is_no_database_is_an_error(path: Path) -> None:
    """What is not SQLite is not overwritten by opening it."""
    path.write_bytes(b"just some text that is long enough to be a header of something else\n" * 100)
    before = path.read_bytes()
    with pytest.raises(apsw.NotADBError):
        opened(path)
    assert before == path.read_bytes()


def test_a_kill_while_the_first_tables_are_made_is_no_foreign_file(path: Path) -> None:
    """A fresh file that was not finished is finished at the next start."""
    opened(path)
    connection = apsw.Connection(str(path))
    connection.execute("DELETE FROM schema_version")
    connection.close()
    assert 0 == opened(path)
    assert_current(path)
