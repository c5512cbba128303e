"""SQLite's files read without SQLite: every value, behind damage, and nothing that is not there any more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import apsw
import pytest

from buffer.recovery import shapes
from buffer.recovery.frames import WriteAheadLog
from buffer.recovery.pages import File, Record
from buffer.storage import schema
from buffer.storage.found import FoundSample, FoundSeries, Identity
from buffer.storage.series import series_key
from buffer.storage.store import Store
from tests.unit.buffer.databases import DEVICE, NOW_MS, storage
from tests.unit.buffer.test_salvage import fill

PAGE = 1024
VALUES = (0, 1, -1, 127, 128, -32_768, 1 << 20, 1 << 30, -(1 << 40), 1 << 60, 0.5, -1e300, "", "text", "ü" * 9_000)


def rows_in(path: Path, columns: int) -> list[Record]:
    """Return the records with so many columns in a file with its log, in order."""
    file = File(path)
    list(file.log.read())
    found = [
        record
        for number in range(1, file.pages + 1)
        for content in file.contents(number)
        for record in file.records(content, number) or []
        if len(record.values) == columns and record.rowid is not None
    ]
    file.close()
    return sorted(set(found), key=lambda record: record.rowid or 0)


def test_every_value_reads_as_sqlite_wrote_it(tmp_path: Path) -> None:
    """Integers of each size, floats, text with and without overflow pages, in the database and in the log."""
    path = tmp_path / "values.db"
    connection = apsw.Connection(str(path))
    connection.execute("PRAGMA journal_mode = WAL").fetchall()
    connection.execute("CREATE TABLE v (id INTEGER PRIMARY KEY, a, b, c, d, e)")
    connection.execute("PRAGMA synchronous = OFF").fetchall()
    expected: list[Record] = []
    for number, value in enumerate(VALUES * 20, 1):
        row: tuple[Any, ...] = (value, number, None, b"blob", VALUES[-1 - number % 5])
        connection.execute("INSERT INTO v VALUES (?, ?, ?, ?, ?, ?)", (number, *row))
        expected.append(Record(number, (None, *row)))
        if number == 150:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    assert expected == rows_in(path, 6)
    connection.close()
    assert expected == rows_in(path, 6)


def test_a_list_of_free_pages_that_runs_in_a_circle_ends(tmp_path: Path) -> None:
    """Damage to the list costs no more than what it says."""
    store = Store(storage(tmp_path / "m.db"), DEVICE)
    fill(store, 20)
    store.checkpoint()
    store.close()
    old = tmp_path / "m.db"
    content = bytearray(old.read_bytes())
    content[32:36] = (5).to_bytes(4, "big")
    content[4 * PAGE : 4 * PAGE + 8] = (5).to_bytes(4, "big") + (0).to_bytes(4, "big")
    old.write_bytes(content)
    file = File(old)
    assert set(file.free_pages()) == {5}
    file.close()


def test_log_is_read_behind_a_damaged_frame(tmp_path: Path) -> None:
    """SQLite stops at the first frame whose checksum fails; what was committed after it is found all the same."""
    store = Store(storage(tmp_path / "m.db"), DEVICE)
    fill(store, 50)
    log = tmp_path / "m.db-wal"
    with log.open("r+b") as file:
        file.seek(log.stat().st_size // 2)
        file.write(b"\xff" * 100)
    reader = WriteAheadLog(log)
    list(reader.read())
    assert reader.hidden
    reader.close()
    assert len(rows_in(tmp_path / "m.db", 8)) == 50 * 11


def test_frames_of_an_earlier_lap_are_not_read(tmp_path: Path) -> None:
    """The rest of an old log behind a new one has other salts."""
    store = Store(storage(tmp_path / "m.db"), DEVICE)
    fill(store, 50)
    store._connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()
    fill(store, 1, first=50)
    reader = WriteAheadLog(tmp_path / "m.db-wal")
    list(reader.read())
    assert (True, {}) == (len(reader.pages) > 0, reader.hidden)
    assert not reader.has_commit_after(store._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_NOOP)[0])
    reader.close()


def test_shapes_are_those_of_the_schema() -> None:
    """A column that is added to a table is added here, or its rows would be taken for damage."""
    connection = apsw.Connection(":memory:")
    connection.execute(schema.TABLES)
    names = ("samples", "series", "upload_checkpoints", "sessions", "clocks", "events", "aggregates")
    found = {name: [row[1] for row in connection.execute(f"PRAGMA table_info({name})")] for name in names}
    assert {
        "samples": ["id", "timestamp_ms", "series_id", "value", "session", "clock", "priority", "chunk"],
        "series": ["id", "metric_name", "device_id", "tags", "value_type", "series_key"],
        "upload_checkpoints": [
            "id", "batch_id", "chunk_index", "first_uploaded_id", "last_uploaded_id", "first_uploaded_timestamp",
            "last_uploaded_timestamp", "upload_time", "metrics_count",
        ],
        "sessions": ["id", "start_time", "end_time", "status", "metadata"],
        "clocks": ["id", "boot_id", "offset_ms"],
        "events": ["id", "timestamp_ms", "kind", "severity", "source", "text", "session"],
        "aggregates": ["width_ms", "start_ms", "series_id", "min", "max", "avg", "last", "last_ms", "count"],
    } == found  # fmt: skip


@pytest.mark.parametrize(
    "changed",
    [
        {1: 5}, {1: "x"}, {2: 0}, {2: 1 << 50}, {3: None}, {3: b"x"}, {3: float("nan")}, {4: "x"}, {5: -3},
        {6: 7}, {6: None}, {7: -2}, {7: 0.5},
    ],
)  # fmt: skip
def test_a_row_that_does_not_hold_together_is_no_sample(changed: dict[int, Any]) -> None:
    """A wrong type, a time before the epoch of this program, an impossible priority: damage, not a sample."""
    values = [None, NOW_MS, 3, 1.5, None, None, 2, None]
    assert isinstance(shapes.recognise(Record(9, tuple(values))), FoundSample)
    for column, value in changed.items():
        values[column] = value
    assert shapes.recognise(Record(9, tuple(values))) is None


def test_a_series_is_one_when_its_key_proves_it() -> None:
    """Its samples must not go out as another's: one flipped bit of a row is set right, more are damage."""
    tags = '{"core":"0"}'
    key = series_key("cpu.usage", DEVICE, tags, is_text=False)
    expected = FoundSeries(3, Identity("cpu.usage", DEVICE, tags, is_text=False))
    assert expected == shapes.recognise(Record(3, (None, "cpu.usage", DEVICE, tags, 0, key)))
    for one_bit_off in (
        ("cpu.usagE", DEVICE, tags),
        ("cpu.usage", "c" + DEVICE[1:], tags),
        ("cpu.usage", DEVICE, '{"core":"1"}'),
    ):
        assert (one_bit_off, expected) == (one_bit_off, shapes.recognise(Record(3, (None, *one_bit_off, 0, key))))
    assert shapes.recognise(Record(3, (None, "cpu.usafE", DEVICE, tags, 0, key))) is None
    assert shapes.recognise(Record(3, (None, "cpu.usage", DEVICE, tags, 1, key))) is None
