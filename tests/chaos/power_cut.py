"""Cut the power at any moment of a recorded day: what opens afterwards, and what is in it?

A workload of batches, marks, checkpoints, restarts and a migration runs once, on the recorded disk. Then,
at every sync and at random moments between, the disk is put together as a cut would leave it, opened as
the buffer opens it, and must be exactly the database after one of the commits, no earlier than the last
one that a commit interval's sync had covered.

By hand: `python -m tests.chaos.power_cut --points 2000 --seed 7`.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from buffer.storage.store import Store
from tests.chaos.day import NAME, Recording, State, open_store, record
from tests.chaos.disk import Disk
from tests.scratch import scratch


def cuts(log: Recording, points: int, chance: random.Random) -> Iterator[tuple[int, dict[str, bytes]]]:
    """Yield moments, as numbers of events, each with what a cut then leaves: first the cautious, then a random disk."""
    syncs = {n + 1 for n, event in enumerate(log.events) if event.kind == "sync"}
    between = {chance.randrange(len(log.events) + 1) for _ in range(max(0, points - len(syncs)))}
    disk, followed = Disk(log.before), 0
    for moment in sorted(syncs | between):
        disk.follow(log.events[followed:moment])
        followed = moment
        yield moment, disk.after_a_cut(None)
        yield moment, disk.after_a_cut(chance)


def check(log: Recording, moment: int, folder: Path) -> int:
    """Open what a cut has left and compare; return how many commits are lost.

    Raises:
        AssertionError: it is not the database after one of the commits, or an earlier one than promised.
    """
    promised = max(commits for events, commits in log.synced if events <= moment)
    if not promised and not (folder / NAME).exists():
        return 0
    store = open_store(folder / NAME)
    damage = store.find_damage(unclean=True)
    assert damage is None, f"a cut is taken for damage: {damage}"
    assert store._connection.execute("PRAGMA integrity_check").get == "ok"
    found = contents(store)
    store.abandon()
    expected, survived = after_commits(log, found)
    assert survived >= promised, f"{promised} commits were synced, {survived} are there"
    differ = {key for key in expected.keys() | found.keys() if expected.get(key) != found.get(key)}
    assert not differ, f"commit {survived}: {len(differ)} samples differ, such as {sorted(differ)[:3]}"
    return sum(done <= moment for done in log.done) - survived


def contents(store: Store) -> State:
    """Return all samples of a database, besides those that count the buffer's own events."""
    rows: list[Any] = store._connection.execute(
        "SELECT metric_name, timestamp_ms, ifnull(metric_value, value_text), batch_id FROM metrics "
        "WHERE metric_name != 'events_total'"
    ).fetchall()
    return {(name, at_ms): (value, batch_id) for name, at_ms, value, batch_id in rows}


def after_commits(log: Recording, found: State) -> tuple[State, int]:
    """Return what should be there after the last commit of which anything is there, and how many that are."""
    batches = {batch_id for _, batch_id in found.values()}
    survived = 0
    for number, commit in enumerate(log.commits, 1):
        if commit.new.keys() & found.keys() or (commit.marked and commit.marked[1] in batches):
            survived = number
    expected: State = {}
    for commit in log.commits[:survived]:
        expected.update(commit.new)
        for key in commit.marked[0] if commit.marked else ():
            expected[key] = expected[key][0], commit.marked[1] if commit.marked else None
    return expected, survived


def run(seed: int, points: int) -> dict[str, int]:
    """Record a day and cut it many times; return what was seen.

    Raises:
        AssertionError: with the moment, and how to repeat it.
    """
    chance, seen = (
        random.Random(seed),
        dict.fromkeys(("cuts", "events", "commits", "cuts that cost a commit", "most commits lost"), 0),
    )
    with scratch() as folder:
        (folder / "day").mkdir()
        log = record(folder / "day", seed)
        for moment, files in cuts(log, points, chance):
            left = folder / "left"
            shutil.rmtree(left, ignore_errors=True)
            left.mkdir()
            for name, content in files.items():
                (left / name).write_bytes(content)
            try:
                lost = check(log, moment, left)
            except Exception as error:
                raise AssertionError(f"seed {seed}, after {moment} events: {type(error).__name__}: {error}") from error
            seen["cuts"] += 1
            seen["cuts that cost a commit"] += lost > 0
            seen["most commits lost"] = max(seen["most commits lost"], lost)
    return {**seen, "events": len(log.events), "commits": len(log.commits)}


def main() -> int:
    """Run by hand; exit code 1 when a cut did harm."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.power_cut", description=__doc__)
    parser.add_argument("--points", type=int, default=500, help="moments of each day, two disks each")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--days", type=int, default=2)
    options = parser.parse_args()
    for seed in range(options.seed, options.seed + options.days):
        began_s = time.monotonic()
        try:
            print(f"seed {seed}: {run(seed, options.points)} in {time.monotonic() - began_s:.1f} s", flush=True)
        except AssertionError as error:
            print(error)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
