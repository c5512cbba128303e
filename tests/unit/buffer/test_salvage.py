"""Rows of a damaged file back in the database in use: in their state, once, slice by slice, whatever interrupts."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from buffer.recovery import note
from buffer.recovery.note import Note
from buffer.recovery.salvage import Salvage
from buffer.storage import database
from buffer.storage.store import Store
from common import clock
from common.sample import NORMAL, Batch, Sample
from tests.unit.buffer.databases import DEVICE, NOW_MS, storage


def fill(store: Store, batches: int, *, first: int = 0) -> None:
    """Write batches of ten numbers and a text."""
    for number in range(first, first + batches):
        samples = [Sample("number", 10 * number + slot, {"slot": str(slot)}) for slot in range(10)]
        samples.append(Sample("note", f"text {number}", {}))
        store.write([Batch("p", "e", number, NOW_MS + number, 0, "", False, samples)])


def salvaged(path: Path, store: Store, room: Callable[[], bool] = lambda: True) -> Salvage:
    """Salvage a whole file."""
    salvage = Salvage(path, store, room)
    for _ in salvage.work():
        pass
    salvage.close()
    return salvage


def states(store: Store) -> list[tuple[Any, ...]]:
    """Return every sample with its state and batch, in order."""
    query = "SELECT metric_name, tags, timestamp_ms, metric_value, value_text, uploaded, batch_id FROM metrics"
    return sorted(store._connection.execute(query).fetchall(), key=str)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A database with pending, uploaded, refused and local samples, closed."""
    store = Store(storage(tmp_path / "old.db"), DEVICE)
    fill(store, 100)
    rows = store.pending.rows(NORMAL, NOW_MS * 2, 600)
    store.pending.mark_uploaded(NORMAL, rows[:300], "first", 0)
    store.pending.mark_uploaded(NORMAL, rows[300:590], "second", 1)
    store.pending.mark_quarantined(NORMAL, rows[590:])
    store._connection.execute("INSERT INTO sessions VALUES ('s1', ?, NULL, 'active', NULL)", (NOW_MS,))
    store._connection.execute("UPDATE samples SET session = 1 WHERE id <= 50")
    store._connection.execute(
        "INSERT INTO events (timestamp_ms, kind, severity, source, text, session) VALUES (?, 'k', 'info', 's', 't', 1)",
        (NOW_MS,),
    )
    store._connection.execute(
        "INSERT INTO aggregates VALUES (60000, ?, 1, 1, 3, 2, 3, 500, 4)", (NOW_MS // 60_000 * 60_000,)
    )
    store.checkpoint()
    store.close()
    return tmp_path / "old.db"


@pytest.fixture
def fresh(tmp_path: Path) -> Store:
    """An empty database."""
    return Store(storage(tmp_path / "fresh.db"), DEVICE)


def test_deleted_rows_do_not_come_back(tmp_path: Path) -> None:
    """Pages on the list of free pages still hold what was deleted; they are left out."""
    store = Store(storage(tmp_path / "m.db"), DEVICE)
    fill(store, 200)
    store._connection.execute("DELETE FROM samples WHERE id <= 2000")
    store.checkpoint()
    other = Store(storage(tmp_path / "fresh.db"), DEVICE)
    salvaged(tmp_path / "m.db", other)
    assert states(store) == states(other)


def test_everything_is_put_back_in_its_state(old: Path, fresh: Store) -> None:
    """Pending stays pending, uploaded stays uploaded under its batch, refused and local stay; sessions, events too."""
    before = Store(storage(old), DEVICE)
    expected, pending = states(before), before.pending.counts
    before.close()
    fill(fresh, 5, first=500)  # what came in meanwhile has taken the first ids
    fresh.pending.mark_uploaded(NORMAL, fresh.pending.rows(NORMAL, NOW_MS * 2, 10), "meanwhile", 0)
    mine = states(fresh)
    salvage = salvaged(old, fresh)
    assert sorted([*expected, *mine], key=str) == states(fresh)
    assert [before + after for before, after in zip(pending, [0, 0, 40, 0], strict=True)] == fresh.pending.counts
    assert (1100, 0, 0) == (salvage.progress.samples, salvage.progress.known, salvage.unnamed)
    assert [(50,)] == fresh._connection.execute("SELECT count(*) FROM metrics WHERE session_id = 's1'").fetchall()
    for table, rows in (("events", 1), ("aggregates", 1)):
        assert rows == fresh._connection.execute(f"SELECT count(*) FROM {table}").get
    assert fresh._connection.execute("PRAGMA integrity_check").get == "ok"


def test_chunks_that_were_salvaged_are_sent_again_when_the_server_lost_them(old: Path, fresh: Store) -> None:
    """Their rows have other ids now; a crash of the server right after the damage costs none of them."""
    fill(fresh, 5, first=500)  # what came in meanwhile has taken the first ids
    salvaged(old, fresh)
    chunks = fresh.checkpoints.uploaded_before(clock.wall_ms() + 1_000, 60_000)
    uploaded = {(number, timestamp_ms) for number, timestamp_ms in fresh.pending.uploaded_in(chunks, 1_000)}
    assert 590 == len(uploaded)
    with fresh.transaction():
        assert 590 == fresh.pending.requeue_chunks(chunks)
    assert set() == set(fresh.pending.uploaded_in(chunks, 1_000))


def test_salvaging_twice_changes_nothing(old: Path, fresh: Store) -> None:
    """Whatever was done before a kill is folded when it is done again."""
    salvaged(old, fresh)
    expected, pending = states(fresh), list(fresh.pending.counts)
    fresh._connection.execute("DELETE FROM salvage")
    again = salvaged(old, fresh)
    assert (expected, pending) == (states(fresh), fresh.pending.counts)
    assert (0, 1100) == (again.progress.samples, again.progress.known)


def test_uploaded_wins_over_pending(old: Path, fresh: Store) -> None:
    """A sample that is here as pending and was uploaded there is not sent again."""
    fill(fresh, 20)
    assert [0, 0, 200, 0] == fresh.pending.counts
    salvaged(old, fresh)
    assert [0, 0, 400, 0] == fresh.pending.counts
    assert fresh._connection.execute("SELECT count(*) FROM samples WHERE chunk IS NULL").get == 400


def test_pages_that_are_used_again_behind_a_damaged_frame_are_read(tmp_path: Path, fresh: Store) -> None:
    """SQLite would see them in their list of free pages still."""
    store = Store(storage(tmp_path / "old.db"), DEVICE)
    fill(store, 100)
    store.samples.delete(range(1, 100 * 11 + 1))
    store.checkpoint()
    fill(store, 50, first=100)
    before = states(store)
    store.abandon()
    with database.log_of(store.path).open("r+b") as log:
        log.seek(32 + 16)  # the checksum of the first frame
        log.write(b"\0" * 8)
    salvaged(store.path, fresh)
    assert before == states(fresh)


@pytest.mark.parametrize("stop_after", [1, 8])
def test_a_kill_costs_a_slice(old: Path, fresh: Store, stop_after: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A salvage that is begun again after any slice goes on behind it, and counts every sample once."""
    monkeypatch.setattr("buffer.pace.FIRST_ROWS", 200)
    salvaged_to, total = -1, 0
    for _ in range(30):
        salvage = Salvage(old, fresh, lambda: True)
        assert salvage.progress.done > salvaged_to or salvage.progress.done == 0
        work = salvage.work()
        steps = sum(1 for _ in zip(range(stop_after + 3), work, strict=False))
        salvage.close()
        total = salvage.progress.samples
        if steps < stop_after + 3:
            break
    assert 1100 == total == len(states(fresh))


def test_a_full_disk_makes_it_wait(old: Path, fresh: Store) -> None:
    """Without room nothing is written and nothing forgotten; with room it goes on."""
    room = [False]
    salvage = Salvage(old, fresh, lambda: room[0])
    work = salvage.work()
    for _ in range(20):
        next(work)
    assert ("the disk is full", 0) == (salvage.waiting, salvage.progress.samples)
    room[0] = True
    for _ in work:
        pass
    salvage.close()
    assert (None, 1100) == (salvage.waiting, salvage.progress.samples)


def test_samples_of_a_lost_series_are_counted_as_lost(old: Path, fresh: Store) -> None:
    """What a sample was cannot be known without its series."""
    connection = sqlite3.connect(old)
    connection.execute("DELETE FROM series WHERE id = 1")
    connection.commit()
    connection.close()
    salvage = salvaged(old, fresh)
    assert (1000, 100) == (salvage.progress.samples, salvage.unnamed)


def test_pages_that_a_copied_log_does_not_have_are_not_counted_as_lost(tmp_path: Path) -> None:
    """They are in the database in use."""
    store = Store(storage(tmp_path / "metrics.db"), DEVICE)
    fill(store, 200)
    store.checkpoint()
    fill(store, 1, first=200)
    log = tmp_path / "metrics.db.corrupt-1-wal"
    log.write_bytes((tmp_path / "metrics.db-wal").read_bytes())
    note.write(tmp_path / "metrics.db.corrupt-1", Note(*store.restore.known()))
    salvage = salvaged(tmp_path / "metrics.db.corrupt-1", store)
    assert 0 == salvage.unnamed
    assert salvage.progress.known >= 11
    store.close()
