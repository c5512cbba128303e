"""A battery that is pulled: whatever the disk then holds, it opens, and no more than an interval is missing.

More by hand: `python -m tests.chaos.power_cut --points 2000 --seed 7`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from buffer import database
from tests.chaos import power_cut


@pytest.mark.parametrize("seed", [1, 2])  # odd: the day begins with a migration
def test_a_cut_at_any_moment_leaves_a_commit_and_all_that_were_synced(seed: int) -> None:
    """At every sync and between, of unsynced writes none or any part: a sound database, as after one of its commits."""
    seen = power_cut.run(seed, points=160)
    assert seen["cuts"] >= 300
    assert seen["cuts that cost a commit"] > 0, "the disk forgets nothing: the test proves nothing"


def test_without_the_sync_the_promise_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """The simulated disk sees it when a commit interval ends without a sync."""
    monkeypatch.setattr(database, "sync_log", lambda _path: None)
    with pytest.raises(AssertionError, match="commits were synced"):
        power_cut.run(2, points=160)


def test_what_a_cut_leaves_depends_on_the_syncs_alone(tmp_path: Path) -> None:
    """The same seed gives the same day and the same disks."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first, second = power_cut.record(tmp_path / "a", 4), power_cut.record(tmp_path / "b", 4)
    assert [event[:3] for event in first.events] == [event[:3] for event in second.events]
