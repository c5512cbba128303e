"""The file that shifts the clocks of every process of a pipeline; its path goes into BELABOX_TEST_CLOCK."""

from __future__ import annotations

import time
from pathlib import Path


class ShiftedClock:
    """Clocks that are right until somebody sets them.

    Args:
        path: of the file.
        booted_ago_s: how long ago the machine seems to be booted; None: as it is.
    """

    def __init__(self, path: Path, booted_ago_s: float | None = None) -> None:
        self._path = path
        boottime_ms = time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000
        self._boottime_ms = 0 if booted_ago_s is None else int(1000 * booted_ago_s) - boottime_ms
        self.set(0, synchronised=True)

    def set(self, wall_ms: int, *, synchronised: bool) -> None:
        """Add milliseconds to the wall clock, and say whether it is synchronised."""
        new = self._path.with_suffix(".new")
        new.write_text(f"{wall_ms} {self._boottime_ms} {int(synchronised)}\n", encoding="ascii")
        new.rename(self._path)
