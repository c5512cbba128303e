"""Migrations of an older file, killed at any moment."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.harness import ROOT
from tests.unit.buffer.databases import V1, V2, make
from tests.unit.buffer.test_schema import assert_current, content_without_times, mixed_rows, opened


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the database is."""
    return tmp_path / "metrics.db"


MIGRATING = """
import sys
from pathlib import Path
from buffer.storage import migrations
from buffer.storage.store import Store
from tests.unit.buffer.databases import DEVICE, storage
migrations.SLICE_ROWS = 50
print("go", flush=True)
Store(storage(Path(sys.argv[1])), DEVICE)
print("done", flush=True)
"""


def killed_migration(path: Path, after_s: float) -> bool:
    """Migrate in a child process and kill it; return whether it was done already."""
    with subprocess.Popen(
        [sys.executable, "-c", MIGRATING, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert "go\n" == child.stdout.readline()
        time.sleep(after_s)  # where the kill hits is what is varied here
        child.kill()
        return "done\n" in child.stdout.read()


@pytest.mark.parametrize(("ddl", "found"), [(V1, 1), (V2, 2)])
def test_a_migration_survives_kill_9_at_any_moment(path: Path, ddl: str, found: int) -> None:
    """Killed again and again in a real process, the migration ends in the same file as an undisturbed one."""
    chance = random.Random(20251011)
    rows: list[dict[str, Any]] = mixed_rows(5_000)
    if ddl == V1:
        kept = ("timestamp_ms", "metric_name", "metric_value", "device_id")
        rows = [{name: row[name] for name in kept} for row in rows]
    whole = path.with_name("whole.db")
    for file in (path, whole):
        make(file, ddl, rows)
    assert found == opened(whole)
    kills = 0
    while not killed_migration(path, chance.uniform(0, 0.03)) and kills < 10:
        kills += 1
    print(f"{kills} kills")
    opened(path)
    assert kills > 0
    assert_current(path)
    assert content_without_times(whole) == content_without_times(path)
