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


def test_a_newer_schema_is_moved_aside_untouched(home: Path) -> None:
    """After a downgrade the newer file is there to be used again."""
    path = sound(home)
    connection = sqlite3.connect(path)
    connection.execute("INSERT INTO schema_version (version, applied_at) VALUES (99, 'later')")
    connection.commit()
    connection.close()
    content = path.read_bytes()
    with buffer(home) as treated:
        works(treated)
        (moved,) = aside(home)
        assert (content, FOREIGN) == (moved.read_bytes(), report(moved)["state"])
        assert "99" in str(report(moved)["reason"])


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
