"""The clocks of a sample."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from common import clock


@pytest.mark.parametrize(
    ("timestamp_ms", "expected"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_760_193_000_007, "2025-10-11T14:30:00.007Z"),
        (1_760_193_000_999, "2025-10-11T14:30:00.999Z"),
        (4_102_444_800_000, "2100-01-01T00:00:00.000Z"),
    ],
)
def test_a_time_is_rfc_3339_to_the_millisecond(timestamp_ms: int, expected: str) -> None:
    """UTC, with exactly three digits, never rounded into the next second."""
    assert expected == clock.rfc3339(timestamp_ms)


def test_both_clocks_are_in_milliseconds() -> None:
    """The wall clock counts from 1970, the other from boot, both at the same pace."""
    wall_ms, boot_ms = clock.wall_ms(), clock.boottime_ms()
    assert abs(time.time() * 1000 - wall_ms) < 1_000
    uptime_s = float(Path("/proc/uptime").read_text(encoding="ascii").split()[0])
    assert abs(uptime_s * 1000 - boot_ms) < 1_000


def test_a_boot_has_an_id_and_its_absence_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel's id is the same at every reading; where /proc hides it there is none."""
    assert clock.boot_id() == clock.boot_id() != ""
    monkeypatch.setattr(clock, "BOOT_ID", Path("/proc/absent"))
    assert "" == clock.boot_id()


def test_no_two_starts_share_an_epoch() -> None:
    """Random enough for every start there will ever be."""
    assert 1000 == len({clock.new_epoch() for _ in range(1000)})
