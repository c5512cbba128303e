"""Read memory, CPU time, age and state of a process from the kernel.

Reads: /proc/<pid>/stat, statm and smaps_rollup.
Source: proc(5).
Fails: a process that is gone gives None.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

# Fields of stat after the name in parentheses, from 0; proc(5) counts the state, the first of them, as 3.
_STATE, _UTIME, _STIME, _STARTTIME = 0, 11, 12, 19


@dataclass(frozen=True)
class Usage:
    """CPU time, memory and age of a process.

    Attributes:
        resident_bytes: RAM it occupies, shared pages included.
        cpu_seconds: user and system time since its start.
        age_s: time since its start, suspend included.
        state: one letter of proc(5), e.g. R running, S sleeping, D waiting for a disk, T stopped.
    """

    resident_bytes: int
    cpu_seconds: float
    age_s: float
    state: str


def usage(pid: int, proc: Path = PROC) -> Usage | None:
    """Return the usage of a process, None if there is no process with that id."""
    try:
        stat = (proc / str(pid) / "stat").read_bytes()
        statm = (proc / str(pid) / "statm").read_bytes()
        fields = stat.rpartition(b")")[2].split()
        ticks = int(fields[_UTIME]) + int(fields[_STIME])
        began_s = int(fields[_STARTTIME]) / _TICKS_PER_SECOND
        return Usage(
            resident_bytes=int(statm.split()[1]) * _PAGE_BYTES,
            cpu_seconds=ticks / _TICKS_PER_SECOND,
            age_s=max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - began_s),
            state=fields[_STATE].decode("ascii", "replace"),
        )
    except (OSError, ValueError, IndexError):
        return None


def pss_bytes(pid: int, proc: Path = PROC) -> int | None:
    """Return the proportional set size of a process: shared memory is divided by its users.

    None if there is no such process, or this one may not read it (the SRT collector's unit).
    """
    try:
        rows = (proc / str(pid) / "smaps_rollup").read_bytes().splitlines()
        return next(int(row.split()[1]) * 1024 for row in rows if row.startswith(b"Pss:"))
    except (OSError, ValueError, IndexError, StopIteration):
        return None
