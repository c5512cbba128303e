"""Whether what is not stored yet outlives its process."""

from __future__ import annotations

from pathlib import Path

import pytest

from buffer import free_space, run_directory


def test_a_run_directory_with_a_spool_and_room_is_fine(tmp_path: Path) -> None:
    """Each producer has a file there."""
    tmp_path.joinpath("spool").mkdir()
    tmp_path.joinpath("spool", "buffer.batches").touch()
    assert run_directory.trouble(tmp_path) is None


def test_a_spool_that_was_removed_is_named(tmp_path: Path) -> None:
    """The folder, or what was in it."""
    assert "spool is gone" in str(run_directory.trouble(tmp_path))
    tmp_path.joinpath("spool").mkdir()
    assert "are gone" in str(run_directory.trouble(tmp_path))


def test_a_full_run_directory_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is published is in memory alone."""
    tmp_path.joinpath("spool").mkdir()
    tmp_path.joinpath("spool", "buffer.batches").touch()
    monkeypatch.setattr(free_space, "free_bytes", lambda _: 1000)
    assert "is full; free space there" in str(run_directory.trouble(tmp_path))
