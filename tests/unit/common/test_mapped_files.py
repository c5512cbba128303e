"""Small files that a process writes by way of a memory map: what they keep, and what a full disk costs."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from common import activity
from common.activity import Activity
from common.unacked_count import UnackedCount


def test_what_a_process_was_doing_can_be_read_after_its_end(tmp_path: Path) -> None:
    """The source at work, and what it reads."""
    noting = Activity(tmp_path, "system")
    noting.begin("cpu")
    noting.reading("/proc/stat")
    assert ("cpu", "/proc/stat") == activity.noted(tmp_path, "system")
    noting.end()
    assert ("", "") == activity.noted(tmp_path, "system")


def test_a_count_outlives_its_process(tmp_path: Path) -> None:
    """By priority; it stays until the next one writes its own."""
    path = tmp_path / "unacked" / "p"
    unacked = UnackedCount(path)
    unacked.write(Counter({0: 1, 2: 70_000}))
    unacked.close()
    assert [Counter({0: 1, 2: 70_000})] * 2 == [+UnackedCount(path).left for _ in range(2)]


@pytest.mark.parametrize("written", [0, OSError(28, "no space")])
def test_a_full_disk_costs_the_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: int | OSError
) -> None:
    """A map of a file without room behind it would end the process with SIGBUS at its first byte."""

    def pwrite(*_: object) -> int:
        if isinstance(written, OSError):
            raise written
        return written

    monkeypatch.setattr(os, "pwrite", pwrite)
    Activity(tmp_path, "system").begin("cpu")
    unacked = UnackedCount(tmp_path / "unacked" / "p")
    unacked.write(Counter({0: 1}))
    assert Counter() == unacked.left
    assert ("", "") == activity.noted(tmp_path, "system")
