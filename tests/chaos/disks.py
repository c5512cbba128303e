"""Small file systems, full file systems, and what is in a database on them."""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
import pytest

from tests.chaos.patient import Patient
from tests.scratch import scratch


@pytest.fixture
def folder() -> Iterator[Path]:
    """Give a folder with a short path."""
    with scratch() as path:
        yield path


@contextmanager
def small_disk(folder: Path, megabytes: int, options: str = "") -> Iterator[Path]:
    """Give a file system of that size, where mounting is allowed; elsewhere the test is skipped, loudly."""
    disk = folder / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m{options}", "tmpfs", str(disk)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("NOT ALLOWED TO MOUNT: what a full or read-only disk does was not tested")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


@contextmanager
def patient(home: Path, run_dir: Path, **settings: str) -> Iterator[Patient]:
    """Give a buffer of this process, and end it."""
    treated = Patient(home, run_dir, **settings)
    try:
        yield treated
    finally:
        treated.close()


def fill(disk: Path, leave_bytes: int = 0) -> Path:
    """Take all room but some with one file, and return it."""
    ballast = disk / "ballast"
    status = os.statvfs(disk)
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, status.f_bavail * status.f_frsize - leave_bytes)
    return ballast


def stored(database: Path, name: str) -> Counter[int]:
    """Count how often each number of a metric is in a database, if there is one yet."""
    if not database.exists():
        return Counter()
    connection = apsw.Connection(str(database), flags=apsw.SQLITE_OPEN_READONLY)
    connection.set_busy_timeout(5_000)
    try:
        rows = connection.execute("SELECT metric_value FROM metrics WHERE metric_name = ?", (name,)).fetchall()
    except apsw.SQLError:
        rows = []  # no tables yet
    finally:
        connection.close()
    return Counter(int(row[0]) for row in rows)  # type: ignore[arg-type]
