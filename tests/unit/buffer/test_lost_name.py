"""A database that is deleted or replaced while the buffer uses it: all of it is back at its path."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.patient import Patient
from tests.unit.buffer.databases import query
from tests.unit.buffer.rescued import aside, buffer, home, sound

__all__ = ["home"]

COUNT = "SELECT count(*) FROM metrics WHERE metric_name = 'patient.number'"


@pytest.fixture
def running(home: Path) -> Iterator[Patient]:
    """A buffer with a hundred samples, in the log alone."""
    with buffer(home) as treated:
        treated.wait_until("samples are acked", treated.publish(100))
        yield treated


def in_place(treated: Patient) -> bool:
    """Tell whether the database is at its path and open."""
    return treated.buffer.store.is_in_place() and treated.is_well()


@pytest.mark.parametrize("files", [["metrics.db"], ["metrics.db", "metrics.db-wal", "metrics.db-shm"]])
def test_a_deleted_database_is_back_with_all_of_it(running: Patient, home: Path, files: list[str]) -> None:
    """It is said at once; what comes meanwhile is in it too, and a lease of before is void."""
    lease = running.ask(op="lease", priority=2, max_samples=10, before_ms=None)["lease"]
    for name in files:
        (home / name).unlink()
    acked = running.publish(100)
    running.wait_until("the database is back", lambda: acked() and in_place(running))
    assert [(200,)] == query(home / "metrics.db", COUNT)
    assert "unknown_lease" == running.ask(op="release", lease=lease)["error"]
    running.wait_until(
        "its event",
        lambda: bool(
            query(home / "metrics.db", "SELECT 1 FROM events WHERE text LIKE '%was deleted while it is in use%'")
        ),
    )
    running.drain_everything()


def test_what_took_its_place_is_salvaged(running: Patient, home: Path) -> None:
    """An older copy, moved over it: both are one database afterwards."""
    other = sound(home.parent / "run")
    other.rename(home / "metrics.db")
    running.wait_until("both are one", lambda: in_place(running) and running.stored == 430)
    assert 1 == len(aside(home))


def test_a_database_that_was_deleted_just_before_the_end_is_there_afterwards(home: Path) -> None:
    """The open file ends with the process: it is copied before."""
    with buffer(home) as treated:
        treated.wait_until("samples are acked", treated.publish(100))
        (home / "metrics.db").unlink()
    assert [(100,)] == query(home / "metrics.db", COUNT)


def test_without_room_for_the_copy_it_is_tried_again(
    running: Patient, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Samples are taken meanwhile."""
    attempts: list[Path] = []

    def full(target: Path) -> Iterator[None]:
        attempts.append(target)
        raise OSError(28, "No space left on device")
        yield

    with monkeypatch.context() as patch:
        patch.setattr(running.buffer.store, "copy", full)
        (home / "metrics.db").unlink()
        acked = running.publish(100)
        running.wait_until("it was tried", lambda: acked() and bool(attempts))
    running.buffer.rescue._timer.postpone(0.0)
    running.wait_until("the database is back", lambda: in_place(running))
    assert [(200,)] == query(home / "metrics.db", COUNT)
