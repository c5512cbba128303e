"""The fixtures of these tests: a database, and what they share with those of `common`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from buffer.storage.store import Store
from tests.unit.buffer.databases import DEVICE, storage
from tests.unit.common.fixtures import run_dir

__all__ = ["run_dir"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the database is."""
    return tmp_path / "metrics.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    """A fresh database."""
    new = Store(storage(path), DEVICE)
    yield new
    new.close()
