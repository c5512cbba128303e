"""The clocks: what they say, and how a test shifts them."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from common import adjtimex, clock
from tests.harness import ROOT


def test_the_clocks_are_the_kernels() -> None:
    """Milliseconds of CLOCK_REALTIME and CLOCK_BOOTTIME."""
    assert abs(clock.wall_ms() - time.time() * 1000) < 1_000
    assert abs(clock.boottime_ms() - time.clock_gettime(time.CLOCK_BOOTTIME) * 1000) < 1_000


def test_the_kernel_says_whether_the_clock_is_synchronised() -> None:
    """Adjtimex works without privileges."""
    assert adjtimex.is_synchronised() in {True, False}
    assert clock.is_synchronised() == adjtimex.is_synchronised()


def test_a_file_shifts_all_clocks(tmp_path: Path) -> None:
    """The wall clock, CLOCK_BOOTTIME and whether it is synchronised, at any time."""
    file = tmp_path / "clock"
    file.write_text("-3600000 86400000 0\n", encoding="ascii")
    script = "from common import clock; print(clock.wall_ms(), clock.boottime_ms(), clock.is_synchronised())"
    before_ms = clock.wall_ms()
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env={"BELABOX_CLOCK_FILE": str(file)}, capture_output=True, check=True
    )
    wall_ms, boottime_ms, synchronised = done.stdout.split()
    assert 0 <= int(wall_ms) - (before_ms - 3_600_000) < 20_000
    assert 0 <= int(boottime_ms) - 86_400_000 - clock.boottime_ms() + 20_000 <= 20_000
    assert synchronised == b"False"


def test_times_are_written_in_utc() -> None:
    """RFC 3339 with milliseconds."""
    assert clock.rfc3339(1_760_193_000_123) == "2025-10-11T14:30:00.123Z"
