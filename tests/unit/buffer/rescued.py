"""The buffer on a database of a test's making, and what is beside it afterwards."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from buffer.storage.store import Store
from tests.chaos.patient import Patient
from tests.scratch import scratch
from tests.unit.buffer.databases import DEVICE, storage
from tests.unit.buffer.test_salvage import fill


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder for a database, with a short path for the sockets beside it."""
    with scratch() as folder:
        (folder / "home").mkdir()
        yield folder / "home"


@contextmanager
def buffer(home: Path, **settings: str) -> Iterator[Patient]:
    """A buffer on the database of a folder, in this process."""
    treated = Patient(home, home.parent / "run", **settings)
    if treated.buffer._is_open:
        treated.buffer.rescue._timer.interval_s = 0.01
    try:
        yield treated
    finally:
        treated.close()


def works(treated: Patient) -> None:
    """Assert that samples are taken, and that all that can be salvaged is."""
    treated.wait_until("samples are acked", treated.publish(100))
    treated.wait_until("the salvage ends", treated.is_well)
    assert ("ok", 100) == (
        treated.buffer.store._connection.execute("PRAGMA integrity_check").get,
        treated.buffer.store._connection.execute(
            "SELECT count(*) FROM metrics WHERE metric_name = 'patient.number'"
        ).get,
    )


def aside(home: Path) -> list[Path]:
    """Return the databases that were moved aside."""
    return sorted(
        path for path in home.glob("metrics.db.corrupt-*") if path.suffix != ".json" and "-wal" not in path.name
    )


def report(path: Path) -> dict[str, object]:
    """Return what became of one."""
    text: dict[str, object] = json.loads(path.with_name(path.name + ".json").read_text(encoding="utf-8"))
    return text


def sound(home: Path, batches: int = 30) -> Path:
    """Write a sound database and close it."""
    store = Store(storage(home / "metrics.db"), DEVICE)
    fill(store, batches)
    store.checkpoint()
    store.close()
    return home / "metrics.db"
