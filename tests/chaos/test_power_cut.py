"""A battery that is pulled: whatever the disk then holds, it opens, and no more than an interval is missing.

More by hand: `python -m tests.chaos.power_cut --points 2000 --seed 7`.
"""

from __future__ import annotations

import itertools
import random
import time
from pathlib import Path

import pytest

from buffer.storage import database
from common.sample import Sample
from tests.chaos import day, power_cut
from tests.chaos.day import FIRST_MS
from tests.chaos.disks import folder, patient
from tests.chaos.patient import FIRST_MS as PATIENT_MS
from tests.whole import cases

__all__ = ["folder"]


@pytest.mark.parametrize("seed", cases([1], [2]))  # odd: the day begins with a migration, and goes on as the other
def test_a_cut_at_any_moment_leaves_a_commit_and_all_that_were_synced(seed: int) -> None:
    """At every sync and between, of unsynced writes none or any part: a sound database, as after one of its commits.

    Long because a hundred moments, two disks each, are opened and compared row by row.
    """
    seen = power_cut.run(seed, points=110)
    assert seen["cuts"] >= 200
    assert seen["cuts that cost a commit"] > 0, "the disk forgets nothing: the test proves nothing"


def test_buffer_that_starts_after_a_cut_has_all_that_was_synced_and_nothing_else(folder: Path) -> None:
    """What lies behind a torn frame is put back too: samples as they were written, marks as they were made."""
    (folder / "day").mkdir()
    chance = random.Random(2)
    log = day.record(folder / "day", 1)
    written = {key: value for commit in log.commits for key, (value, _) in commit.new.items()}
    batches = {(key, commit.marked[1]) for commit in log.commits if commit.marked for key in commit.marked[0]}
    hidden = 0.0
    for number, (moment, files) in enumerate(itertools.islice(power_cut.cuts(log, 110, chance), 1, None, 6)):
        home = folder / f"home{number}"
        home.mkdir()
        for name, content in files.items():
            (home / name).write_bytes(content)
        with patient(home, folder / f"run{number}") as treated:
            treated.buffer.rescue._timer.interval_s = 0.01
            treated.wait_until("a sample is stored", treated.publish(1))
            treated.wait_until("the salvage ends", treated.is_well)
            found = power_cut.contents(treated.buffer.store)
            hidden += treated.process.instruments.counter("storage.corruptions_total", kind="log")
            assert 0 == treated.process.instruments.counter("storage.corruptions_total", kind="database")
        del found["patient.number", PATIENT_MS]
        promised = max(commits for events, commits in log.synced if events <= moment)
        assert {key for commit in log.commits[:promised] for key in commit.new} <= found.keys()
        assert {key: written.get(key) for key in found} == {key: value for key, (value, _) in found.items()}
        marked = {(key, batch) for key, (_, batch) in found.items() if batch and ".corrupt-" not in batch}
        assert marked <= batches
    assert hidden > 0, "no cut tore a frame that commits followed: the test proves less than it says"


def test_without_the_sync_the_promise_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """The simulated disk sees it when a commit interval ends without a sync."""
    monkeypatch.setattr(database, "sync_log", lambda _path: None)
    with pytest.raises(AssertionError, match="commits were synced"):
        power_cut.run(2, points=110)


def test_an_interval_costs_one_sync_however_many_commits(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Alarms are committed at once, one by one; what they share is the sync at the end of the interval."""
    synced: list[Path] = []
    monkeypatch.setattr(database, "sync_log", synced.append)
    with patient(folder / "home", folder / "run", commit_interval="500ms") as treated:
        began_s = time.monotonic()
        for number in range(20):
            treated._publisher.publish([Sample("alarm", number, {})], FIRST_MS + number, urgent=True)
            treated.wait_until("it is committed", lambda: not treated._publisher.unacked_samples)
        treated.wait_until("it is synced", lambda: bool(synced))
        intervals = int((time.monotonic() - began_s) / 0.5) + 1
        assert 20 <= treated.process.instruments.counter("storage.commits_total")
        assert intervals >= len(synced)


def test_what_a_cut_leaves_depends_on_the_syncs_alone(tmp_path: Path) -> None:
    """The same seed gives the same day and the same disks."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first, second = day.record(tmp_path / "a", 4), day.record(tmp_path / "b", 4)
    assert [event[:3] for event in first.events] == [event[:3] for event in second.events]
