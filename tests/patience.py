"""A time limit that runs slower while this machine keeps everybody waiting for a core or the disk.

Reads /proc/pressure, which counts the time in which something had to wait; where the kernel has none, it is the clock.
"""

from __future__ import annotations

import re
import time
from pathlib import Path

SHARE = 0.8  # of the time in which others had to wait; not all of it, or a hang on a busy machine would never end
_TOTAL = re.compile(r"some .*total=(\d+)")  # microseconds


class Patience:
    """A time limit that begins now.

    Args:
        seconds: how long, on a machine that has a core to spare.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._began_s = time.monotonic()
        self._began_pressure_s = _pressure_s()

    def is_over(self) -> bool:
        """Tell whether the limit is reached."""
        return time.monotonic() - self._began_s - self.waited_s() > self._seconds

    def waited_s(self) -> float:
        """Return by how many seconds the limit has been moved so far."""
        return SHARE * max(now - then for now, then in zip(_pressure_s(), self._began_pressure_s, strict=True))


def _pressure_s() -> list[float]:
    return [_total_s(Path("/proc/pressure", name)) for name in ("cpu", "io")]


def _total_s(path: Path) -> float:
    try:
        found = _TOTAL.search(path.read_text(encoding="ascii"))
    except OSError:
        return 0.0
    return int(found[1]) / 1e6 if found else 0.0
