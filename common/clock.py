"""The three clocks of a sample: wall clock, CLOCK_BOOTTIME and which boot.

The wall clock of a board without a battery is plausible and wrong until NTP answers. CLOCK_BOOTTIME
counts through suspend and no clock step moves it, so both together date a sample later.
"""

from __future__ import annotations

import os
import time
from datetime import datetime, timezone
from pathlib import Path

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def wall_ms() -> int:
    """Return the wall clock, Unix milliseconds."""
    return time.time_ns() // 1_000_000


def boottime_ms() -> int:
    """Return milliseconds since boot, suspend included."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


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
