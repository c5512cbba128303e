"""What processes take, from /proc: CPU time, memory, wake-ups, bytes to the disk."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple


class Use(NamedTuple):
    """What some processes took in a time.

    Attributes:
        seconds: of the wall.
        cpu_percent: of one core, all threads.
        wakeups: voluntary context switches a second, all threads.
        memory_mib: sum of PSS at the end.
    """

    seconds: float
    cpu_percent: float
    wakeups: float
    memory_mib: float


class Watch:
    """Some processes, watched from now on."""

    def __init__(self, pids: Iterable[int]) -> None:
        self._pids = list(pids)
        self._began = self._read()

    def use(self) -> Use:
        """Return what they took since."""
        (began_s, cpu_s, switches), (now_s, cpu_now_s, switches_now) = self._began, self._read()
        seconds = now_s - began_s
        share = 100 * (cpu_now_s - cpu_s) / seconds
        return Use(seconds, share, (switches_now - switches) / seconds, memory(self._pids))

    def _read(self) -> tuple[float, float, int]:
        return time.monotonic(), sum(map(cpu, self._pids)), sum(map(wakeups, self._pids))


def cpu(pid: int) -> float:
    """Return the CPU seconds of all threads; /proc/<pid>/stat counts in hundredths, too coarse for idle processes."""
    return sum(int(task.joinpath("schedstat").read_text(encoding="ascii").split()[0]) for task in _tasks(pid)) / 1e9


def wakeups(pid: int) -> int:
    """Return how often the threads have waited for something."""
    rows = (line for task in _tasks(pid) for line in task.joinpath("status").read_text(encoding="ascii").splitlines())
    return sum(int(row.split()[1]) for row in rows if row.startswith("voluntary_ctxt_switches:"))


def memory(pids: Iterable[int]) -> float:
    """Return the memory of processes in MiB, shared pages counted once."""
    return sum(map(_pss_kib, pids)) / 1024


def written_bytes(pid: int | str = "self") -> int:
    """Return the bytes that a process, by default this one, has caused to be sent to the disk."""
    rows = Path(f"/proc/{pid}/io").read_text(encoding="ascii").splitlines()
    return next(int(row.split()[1]) for row in rows if row.startswith("write_bytes:"))


def _tasks(pid: int) -> list[Path]:
    return list(Path(f"/proc/{pid}/task").iterdir())


def _pss_kib(pid: int) -> int:
    rows = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    return sum(int(row.split()[1]) for row in rows if row.startswith("Pss:"))
