"""Find the other processes that read or write the database now.

Reads /proc/locks. SQLite locks bytes of the file `-shm` beside the database (wal.c, "WAL_LOCK" in its file format
page): 120 while a transaction writes, 123 to 127 for one that reads. A pid of another namespace cannot be told.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

WRITE = range(120, 121)
READ = range(123, 128)
_PROC = Path("/proc")


def readers(database: Path, proc: Path = _PROC) -> str:
    """Name the processes that have a read transaction open."""
    return _named(_pids(database, READ, proc), proc)


def writer(database: Path, proc: Path = _PROC) -> str:
    """Name the process that has a write transaction open."""
    return _named(_pids(database, WRITE, proc), proc)


def _pids(database: Path, locked: range, proc: Path) -> set[int]:
    """Return the other processes that hold a lock on one of some bytes."""
    try:
        inode = database.with_name(f"{database.name}-shm").stat().st_ino
        rows = proc.joinpath("locks").read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return set()
    found = {pid for row in rows for pid in _holder(row.split(), inode, locked)}
    return found - {os.getpid()}


def _holder(words: list[str], inode: int, locked: range) -> Iterable[int]:
    """Yield the pid of a row such as `1: POSIX ADVISORY READ 708 fd:01:2490375 124 124`."""
    try:
        kind, pid, file, first, last = words[1], int(words[4]), words[5].split(":"), int(words[6]), int(words[7])
    except (IndexError, ValueError):  # one that waits (`->`), or to the end of the file (`EOF`)
        return
    if kind == "POSIX" and pid > 0 and int(file[-1]) == inode and first in locked and last in locked:
        yield pid


def _named(pids: Iterable[int], proc: Path) -> str:
    names = [f"{_name(pid, proc)} (process {pid})" for pid in sorted(pids)]
    return ", ".join(names) or "another process"


def _name(pid: int, proc: Path) -> str:
    try:
        return proc.joinpath(str(pid), "comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return "a process that has ended"
