"""A damaged database is moved aside and salvaged, whatever is damaged and whenever it shows."""

from __future__ import annotations

import random
import re
import shutil
import sqlite3
from pathlib import Path

import apsw
import pytest

from buffer.recovery.aside import SALVAGED
from buffer.storage import database, inspection
from buffer.storage.store import Store
from tests.unit.buffer.databases import DEVICE, NOW_MS, query, storage
from tests.unit.buffer.rescued import aside, buffer, home, report, sound, works
from tests.unit.buffer.test_salvage import fill
from tests.whole import cases

__all__ = ["home"]


@pytest.mark.parametrize(
    ("offset", "content"),
    [(0, b"\0" * 1024), (18, b"\x42"), (16, b"\x20"), (56, b"\0\0\0\2"), (44, b"\0\0\0\x63"), (100, b"\0" * 200)],
    ids=["first page", "write version", "page size", "encoding", "schema format", "root page"],
)
def test_a_damaged_header_costs_no_sample(home: Path, offset: int, content: bytes) -> None:
    """Whatever SQLite makes of it (no database, read-only, no tables), all samples are salvaged."""
    path = sound(home)
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)
    with buffer(home) as treated:
        works(treated)
        assert 330 == treated.stored - 100
        (moved,) = aside(home)
        assert (SALVAGED, 330) == (report(moved)["state"], report(moved)["samples_salvaged"])


@pytest.mark.parametrize(
    "statement", ["DROP INDEX idx_uploaded", "DROP TABLE events", "DROP VIEW metrics; DROP TABLE samples"]
)
def test_missing_tables_are_damage(home: Path, statement: str) -> None:
    """A database of ours without all of its tables and indexes is replaced, and what is in it salvaged."""
    path = sound(home)
    connection = sqlite3.connect(path)
    connection.executescript(statement)
    connection.close()
    with buffer(home) as treated:
        works(treated)
        assert 1 == len(aside(home))


def test_damage_that_shows_at_run_time_is_replaced_within_a_second(home: Path) -> None:
    """Ingest goes on with a fresh database, leases of the old one are void, and all its samples come back."""
    path = sound(home, 200)
    with buffer(home) as treated:
        lease = treated.ask(op="lease", priority=2, max_samples=10, before_ms=None)
        with path.open("r+b") as file:  # the series among them
            file.seek(1024 * 2)
            file.write(random.Random(1).randbytes(1024 * 20))
        treated.buffer.store._connection.execute("PRAGMA shrink_memory").fetchall()
        treated.look_at_everything()
        treated.wait_until("the database is replaced", lambda: bool(aside(home)), 2)
        assert (
            "unknown_lease"
            == treated.ask(op="done", lease=lease["lease"], upto=10, batch_id="b", chunk_index=0)["error"]
        )
        works(treated)
        report_of_it = report(aside(home)[0])
        assert SALVAGED == report_of_it["state"]
        assert 1_500 < int(str(report_of_it["samples_salvaged"])) < 2_200


def test_commits_hidden_behind_a_damaged_frame_come_back(home: Path) -> None:
    """SQLite opens such a file without a word and without what was committed last; here it is found and put back."""
    store = Store(storage(home / "live.db"), DEVICE)
    fill(store, 60)
    for suffix in ("", "-wal"):
        shutil.copy(home / f"live.db{suffix}", home / f"metrics.db{suffix}")
    store.close()
    log = home / "metrics.db-wal"
    frames = range(32, log.stat().st_size, 24 + 1024)
    content = log.read_bytes()
    damaged = next(at for at in frames[len(frames) // 2 :] if content[at : at + 4] == b"\0\0\0\1")  # it comes again
    with log.open("r+b") as file:
        file.seek(damaged + 24)
        file.write(b"\xff" * 8)
    with buffer(home) as treated:
        assert 1 == treated.process.instruments.counter("storage.corruptions_total", kind="log")
        works(treated)
        assert 660 == treated.stored - 100


def test_a_kill_is_no_damage(home: Path) -> None:
    """A log that was not folded in, with the torn rest of a transaction, is what every kill leaves."""
    store = Store(storage(home / "live.db"), DEVICE)
    fill(store, 30)
    for suffix in ("", "-wal", "-shm"):
        shutil.copy(home / f"live.db{suffix}", home / f"metrics.db{suffix}")
    store.close()
    with (home / "metrics.db-wal").open("ab") as file:
        file.write(random.Random(1).randbytes(10_000))
    with buffer(home) as treated:
        works(treated)
        assert [] == aside(home)


@pytest.mark.parametrize(("name", "is_running"), [("number", False), ("note", False), ("number", True)])
def test_a_series_that_is_not_what_it_says_is_not_taken_for_another(home: Path, name: str, is_running: bool) -> None:
    """SQLite does not notice a changed letter; the series' key does: the file is replaced, its samples are lost.

    Found at the start, texts too that no upload reads, else by the lease.
    """
    path = sound(home)
    if not is_running:
        rename(path, name)
    with buffer(home) as treated:
        if is_running:
            rename(path, name)
            treated.buffer.store._connection.execute("PRAGMA shrink_memory").fetchall()
            assert "storage" == treated.ask(op="lease", priority=2, max_samples=500, before_ms=None)["error"]
        works(treated)
        assert [("note",), ("number",), ("patient.number",)][name == "note" :] == query(
            path, "SELECT DISTINCT metric_name FROM metrics WHERE metric_name != 'events_total' ORDER BY 1"
        )
        assert 300 == treated.stored - 100
        assert 30 == treated.process.instruments.counter("storage.unsalvaged_samples_total")


def rename(path: Path, name: str) -> None:
    """Change the first letter of a series' name in its file, and no more."""
    with path.open("r+b") as file:
        file.seek(file.read().index(name.encode() + DEVICE.encode()))
        file.write(b"z")


@pytest.mark.parametrize("bit", cases([0, 3, 5], [1, 2, 4]))
def test_an_index_entry_that_differs_from_its_row_is_damage(home: Path, bit: int) -> None:
    """The sample would be leased for ever: the mark that marks fewer says so, and all of it is sent once more."""
    path = sound(home)
    pages = {number for (number,) in query(path, "SELECT pageno FROM dbstat WHERE name = 'idx_uploaded'")}
    content = bytearray(path.read_bytes())
    places = [at for at in find(content, (NOW_MS + 15).to_bytes(6, "big")) if at // 1024 + 1 in pages]
    content[places[-1] + 5] ^= 1 << bit
    path.write_bytes(content)
    with buffer(home) as treated:
        treated.wait_until("samples are acked", treated.publish(100))
        treated.drain_everything()
        counter = treated.process.instruments.counter
        treated.wait_until("it is noticed", lambda: counter("storage.corruptions_total", kind="database") == 1)
        treated.wait_until("what is damaged is replaced, and salvaged", treated.is_well)
        treated.drain_everything()
        treated.wait_until("the marks are written", lambda: not any(treated.buffer.store.pending.counts[1:]))
        assert 430 == treated.stored


def find(content: bytes | bytearray, wanted: bytes) -> list[int]:
    """Return where some bytes are."""
    return [match.start() for match in re.finditer(re.escape(wanted), content)]


def test_text_that_is_no_text_any_more_is_damage(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Upkeep, the first to read it, does not stumble over it again and again."""
    path = sound(home)
    path.write_bytes(path.read_bytes().replace(b"text 3", b"text \xff"))
    with buffer(home) as treated:
        store = treated.buffer.store
        tasks = treated.buffer.retention
        monkeypatch.setattr(tasks, "_slice", lambda: float(len(store.samples.read((0, 0), 1 << 60, 1000))))
        tasks.turn()
        treated.wait_until("the database is replaced", lambda: bool(aside(home)))
        works(treated)


def test_only_what_is_about_the_file_is_damage() -> None:
    """A full disk, a lock, a lost permission pass; a checksum or a bad sector does not."""
    bad_sector = apsw.IOError("disk I/O error")
    vars(bad_sector)["extendedresult"] = apsw.SQLITE_IOERR_READ
    assert database.is_damage(apsw.CorruptError(""))
    assert database.is_damage(apsw.NotADBError(""))
    assert database.is_damage(bad_sector)
    for passing in (apsw.FullError(""), apsw.BusyError(""), apsw.CantOpenError(""), apsw.IOError("")):
        assert not database.is_damage(passing)


def test_the_check_at_start_is_bounded_in_time(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large file is looked at for as long as there is time, and taken for sound as far as it was seen."""
    monkeypatch.setattr(inspection, "CHECK_S", -1.0)
    monkeypatch.setattr(inspection, "CHECK_EVERY", 1)
    store = Store(storage(sound(home)), DEVICE)
    assert store.find_damage(unclean=True) is None
    store.close()
