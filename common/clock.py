"""The three clocks of a sample: wall clock, CLOCK_BOOTTIME and which boot.

The wall clock of a board without a battery is plausible and wrong until NTP answers. CLOCK_BOOTTIME
counts through suspend and is not affected by clock steps, so a sample's true time can be computed later from both.

For tests a file named by BELABOX_TEST_CLOCK shifts them: milliseconds to add to the wall clock, to
CLOCK_BOOTTIME, and 0 or 1 for whether the clock is synchronised.
"""

from __future__ import annotations

import os
import time
from datetime import datetime, timezone
from pathlib import Path

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
# What systemd-timesyncd, chrony and the two ntpds leave while they run.
TIME_SERVICES = tuple(map(Path, ("/run/systemd/timesync", "/run/chrony", "/run/ntpd.pid", "/run/ntpd.sock")))

_SHIFT_FILE = os.environ.get("BELABOX_TEST_CLOCK", "")


def wall_ms() -> int:
    """Return the wall clock, Unix milliseconds."""
    return time.time_ns() // 1_000_000 + (_shift(0) if _SHIFT_FILE else 0)


def boottime_ms() -> int:
    """Return milliseconds since boot, suspend included."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000 + (_shift(1) if _SHIFT_FILE else 0)


def is_synchronised() -> bool | None:
    """Return whether something (chrony, ntpd, timesyncd) keeps the clock right; None where the kernel does not say."""
    if _SHIFT_FILE:
        return bool(_shift(2))
    from common import adjtimex  # noqa: PLC0415 - ctypes, a megabyte that few processes need

    return adjtimex.is_synchronised()


def is_kept() -> bool:
    """Return whether a service that synchronises the clock runs: without one there is nothing to wait for."""
    return bool(_SHIFT_FILE) or any(path.exists() for path in TIME_SERVICES)


def boot_id() -> str:
    """Return the kernel's id of this boot, or "" where /proc hides it."""
    try:
        return BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def new_epoch() -> str:
    """Return a random id for one start of a process."""
    return os.urandom(8).hex()


def rfc3339(timestamp_ms: int) -> str:
    """Format Unix milliseconds as RFC 3339 in UTC, e.g. ``2025-10-11T14:30:00.123Z``."""
    moment = datetime.fromtimestamp(timestamp_ms / 1000, tz=timezone.utc)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{timestamp_ms % 1000:03d}Z"


def _shift(which: int) -> int:
    return int(Path(_SHIFT_FILE).read_text(encoding="ascii").split()[which])
