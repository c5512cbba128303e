"""Files that are moved aside: what is kept, what is deleted, and a move that is interrupted."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from buffer.recovery.aside import FOREIGN, SALVAGED, Aside
from buffer.storage.store import Store
from tests.unit.buffer.databases import DEVICE, storage
from tests.unit.buffer.rescued import aside, buffer, home, report, sound, works
from tests.unit.buffer.test_salvage import fill

__all__ = ["home"]

MARK = b"not a database " * 1_000


def test_a_file_that_is_no_database_is_kept_for_good(home: Path) -> None:
    """It is moved aside as it is, and stays when others are deleted."""
    (home / "metrics.db").write_bytes(MARK)
    with buffer(home) as treated:
        works(treated)
        (moved,) = aside(home)
        assert (MARK, FOREIGN) == (moved.read_bytes(), report(moved)["state"])
        Aside(home / "metrics.db").prune(0)
        assert MARK == moved.read_bytes()


def test_another_programs_database_is_kept_for_good(home: Path) -> None:
    """Its tables are not ours: moved aside at once, not salvaged, never deleted."""
    connection = sqlite3.connect(home / "metrics.db")
    connection.execute("CREATE TABLE bookmarks (url TEXT)")
    connection.commit()
    connection.close()
    with buffer(home) as treated:
        works(treated)
        (moved,) = aside(home)
        assert FOREIGN == report(moved)["state"]
        assert 1 == treated.process.instruments.counter("storage.corruptions_total", kind="foreign")


def test_a_newer_schema_stays_where_it_is(home: Path) -> None:
    """A downgrade is refused with the way out; the newer version finds everything, what came meanwhile too."""
    path = sound(home)
    set_version(path, 99)
    content = path.read_bytes()
    with buffer(home) as treated:
        acked = treated.publish(100)
        treated.wait_until("it waits", lambda: "install the version that wrote it" in str(treated.buffer.status.paused))
        assert (content, [], False) == (path.read_bytes(), aside(home), acked())
        set_version(path, None)
        treated.wait_until("samples are acked", acked)
        assert 430 == treated.stored


@pytest.mark.parametrize(("version", "state", "stored"), [(99, FOREIGN, 100), (None, SALVAGED, 430)])
def test_a_file_that_was_moved_aside_is_taken_back_when_it_can_be_read(
    home: Path, version: int | None, state: str, stored: int
) -> None:
    """By a version that knows its tables: nothing in it was ever sent."""
    set_version(sound(home), 99)
    moved = Aside(home / "metrics.db").move("schema version 99", foreign=True)
    set_version(moved, version)
    with buffer(home) as treated:
        works(treated)
        assert (stored, [moved], state) == (treated.stored, aside(home), report(moved)["state"])


def set_version(path: Path, version: int | None) -> None:
    """Write down that a version from the future wrote a file, or that none did."""
    connection = sqlite3.connect(path)
    if version is None:
        connection.execute("DELETE FROM schema_version WHERE applied_at = 'later'")
    else:
        connection.execute("INSERT INTO schema_version (version, applied_at) VALUES (?, 'later')", (version,))
    connection.commit()
    connection.close()


def test_two_salvaged_files_are_kept(home: Path) -> None:
    """The oldest goes when a newer one is safe; one that is not salvaged yet, or not ours, never goes."""
    shelf, moved = Aside(home / "metrics.db"), []
    for state in (SALVAGED, FOREIGN, SALVAGED, "", SALVAGED):
        (home / "metrics.db").write_bytes(MARK)
        moved.append(shelf.move("a test", foreign=state == FOREIGN))
        if state == SALVAGED:
            shelf.report(moved[-1], {"state": SALVAGED})
    assert [moved[0]] == shelf.prune()
    assert sorted(moved[1:]) == aside(home)
    assert [moved[3]] == shelf.unfinished()


@pytest.mark.parametrize("moves", [1, 2])
def test_a_kill_in_the_middle_of_a_move_loses_nothing(home: Path, moves: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever of the files was moved by then: the next start finishes it, and the log is not thrown away."""
    store = Store(storage(home / "metrics.db"), DEVICE)
    fill(store, 30)  # all of it is in the log
    store.abandon()
    done: list[str] = []

    def rename(source: Path, target: Path) -> None:
        if len(done) == moves:
            raise KeyboardInterrupt
        done.append(source.name)
        if source.exists():
            source.rename(target)

    with monkeypatch.context() as patch:
        patch.setattr("buffer.recovery.aside._rename", rename)
        with pytest.raises(KeyboardInterrupt):
            Aside(home / "metrics.db").move("a test")
    with buffer(home) as treated:
        works(treated)
        assert 330 == treated.stored - 100


def test_an_empty_database_with_a_full_log_is_no_empty_database(home: Path) -> None:
    """SQLite would delete the log; it is moved aside and salvaged."""
    store = Store(storage(home / "metrics.db"), DEVICE)
    fill(store, 30)
    store.abandon()
    os.truncate(home / "metrics.db", 0)
    with buffer(home) as treated:
        works(treated)
        assert 330 == treated.stored - 100
