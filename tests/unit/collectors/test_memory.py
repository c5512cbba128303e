"""Memory: swap, and rows that are missing or impossible."""

from __future__ import annotations

from pathlib import Path

import pytest

from collectors.system import memory
from tests.unit.collectors import trees

RAM = "MemTotal: 1000 kB\nMemAvailable: 250 kB\n"


def collect(root: Path, meminfo: str, vmstat: str = "") -> trees.Values:
    """Collect once."""
    host = trees.write(root, {"proc/meminfo": meminfo, "proc/vmstat": vmstat})
    return trees.Collector(memory, host).at(0)


def test_swap(tmp_path: Path) -> None:
    """Swap is used as far as it is not free."""
    values = collect(tmp_path, RAM + "SwapTotal: 3000 kB\nSwapFree: 2000 kB\n")
    assert (3000 * 1024, 1000 * 1024, 33.33) == (
        values["memory.swap_total_bytes", ""],
        values["memory.swap_used_bytes", ""],
        values["memory.swap_used_percent", ""],
    )


def test_without_swap(tmp_path: Path) -> None:
    """Without swap its size is 0, and no share of it is used."""
    values = collect(tmp_path, RAM + "SwapTotal: 0 kB\nSwapFree: 0 kB\n")
    assert 0 == values["memory.swap_total_bytes", ""]
    assert ("memory.swap_used_percent", "") not in values


def test_more_available_than_there_is(tmp_path: Path) -> None:
    """Nothing is known of what is used: neither 0 nor less."""
    found = collect(tmp_path, "MemTotal: 1000 kB\nMemAvailable: 1001 kB\n")
    assert {("memory.total_bytes", ""): 1_024_000} == found


@pytest.mark.parametrize("row", ["MemAvailable: 14", "MemAvailable: 14 k", "MemAvailable: -14 kB", "MemAvailable:"])
def test_row_not_understood(row: str, tmp_path: Path) -> None:
    """A row without a number of kB costs what depends on it."""
    assert {("memory.total_bytes", ""): 1_024_000} == collect(tmp_path, f"MemTotal: 1000 kB\n{row}\n")


@pytest.mark.parametrize(("vmstat", "expected"), [("oom_kill 12\n", 12), ("oom_kill 12", None), ("pgfault 9\n", None)])
def test_oom_kills(vmstat: str, expected: int | None, tmp_path: Path) -> None:
    """A count of OOM kills that may have been cut is not taken for the count."""
    assert expected == collect(tmp_path, RAM, vmstat).get(("memory.oom_kills_total", ""))
