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
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from buffer import checkup, schema
from buffer.store import Store
from common.sample import Batch, Sample
from common.settings import Storage
from tests.chaos.disk import Disk, Recorder, recording

NAME = "metrics.db"
FIRST_MS = 1_760_000_000_000
INTERVALS = 60
OLD_ROWS = 2_000
OLD_SLICE = 250  # rows; a migration of eight slices

State = dict[tuple[str, int], tuple[Any, str | None]]  # by name and timestamp: value, and batch of its upload


class Commit(NamedTuple):
    """What one transaction changed: samples that came, or samples that were marked."""

    new: State
    marked: tuple[list[tuple[str, int]], str] | None = None


@dataclass
class Recording:
    """One recorded day.

    Attributes:
        events: what happened on the disk.
        before: the files that were there at the beginning.
        commits: in order.
        done: after how many events each commit was done.
        synced: after so many events, so many of the commits are safe.
    """

    events: list[Any] = field(default_factory=list)
    before: dict[str, bytes] = field(default_factory=dict)
    commits: list[Commit] = field(default_factory=list)
    done: list[int] = field(default_factory=list)
    synced: list[tuple[int, int]] = field(default_factory=lambda: [(0, 0)])


class Day:
    """The workload, as the buffer does it.

    Args:
        folder: of the database.
        seed: of everything that is random.
        recorder: sees the disk.
    """

    def __init__(self, folder: Path, seed: int, recorder: Recorder) -> None:
        self._path = folder / NAME
        self._chance = random.Random(seed)
        self._recorder = recorder
        self._number = 0
        self.log = Recording()

    def live(self) -> None:
        """Work through the intervals."""
        store = open_store(self._path)
        for _ in range(INTERVALS):
            for _ in range(self._chance.choice((1, 1, 2, 4))):
                self._write(store)
            if self._chance.random() < 0.4:
                self._mark(store)
            store.sync()  # the end of a commit interval
            self._safe()
            if self._chance.random() < 0.15:
                store.checkpoint()
            if self._chance.random() < 0.05:
                store.checkpoint()
                store.close()
                self._safe()
                store = open_store(self._path)
        store.close()
        self._safe()
        self.log.events = self._recorder.events

    def _safe(self) -> None:
        self.log.synced.append((len(self._recorder.events), len(self.log.commits)))

    def _write(self, store: Store) -> None:
        self._number += 1
        at_ms, samples = FIRST_MS + 1000 * self._number, []
        new: State = {}
        for slot in range(self._chance.choice((1, 5, 30, 200))):
            value = self._chance.choice((slot, self._chance.random(), f"text {self._number}"))
            name = f"m.{slot}{'.text' if isinstance(value, str) else ''}"
            samples.append(Sample(name, value, {}))
            new[name, at_ms] = value, None
        self.log.commits.append(Commit(new))
        store.write([Batch("p", "e", self._number, at_ms, 0, "", False, samples)])
        self.log.done.append(len(self._recorder.events))

    def _mark(self, store: Store) -> None:
        rows = store.pending_rows(2, FIRST_MS * 2, self._chance.choice((10, 300)))
        keys = [(store.series(row.series_id).name, row.timestamp_ms) for row in rows]
        batch_id = f"batch {len(self.log.commits)}"
        if rows:
            self.log.commits.append(Commit({}, (keys, batch_id)))
            store.mark_uploaded(2, rows, batch_id, 0)
            self.log.done.append(len(self._recorder.events))


def open_store(path: Path) -> Store:
    """Open a database as the buffer does."""
    return Store(replace(Storage(), path=path), "belabox-001")


def record(folder: Path, seed: int) -> Recording:
    """Record a day, every other one beginning with a database of the older version."""
    old = make_old(folder / NAME) if seed % 2 else {}
    before = {NAME: (folder / NAME).read_bytes()} if old else {}
    with recording() as recorder, mock.patch.object(schema, "SLICE_ROWS", OLD_SLICE):
        day = Day(folder, seed, recorder)
        day.log.before = before
        if old:
            day.log.commits.append(Commit(old))
            day.log.done, day.log.synced = [0], [(0, 1)]
        day.live()
    return day.log


def make_old(path: Path) -> State:
    """Write a database of the first version, closed; return what is in it."""
    connection = sqlite3.connect(path)
    connection.execute(
        "CREATE TABLE metrics (id INTEGER PRIMARY KEY AUTOINCREMENT, timestamp_ms INTEGER NOT NULL, "
        "metric_name TEXT NOT NULL, metric_value REAL, device_id TEXT)"
    )
    rows = [(FIRST_MS - 1000 * (n // 10 + 1), f"old.{n % 10}", n / 4) for n in range(OLD_ROWS)]
    connection.executemany("INSERT INTO metrics (timestamp_ms, metric_name, metric_value) VALUES (?, ?, ?)", rows)
    connection.commit()
    connection.close()
    return {(name, at_ms): (value, None) for at_ms, name, value in rows}


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
    damage = checkup.find_damage(store, unclean=True)
    assert damage is None, f"a cut is taken for damage: {damage}"
    assert store.connection.execute("PRAGMA integrity_check").get == "ok"
    found = contents(store)
    store.abandon()
    expected, survived = after_commits(log, found)
    assert survived >= promised, f"{promised} commits were synced, {survived} are there"
    differ = {key for key in expected.keys() | found.keys() if expected.get(key) != found.get(key)}
    assert not differ, f"commit {survived}: {len(differ)} samples differ, such as {sorted(differ)[:3]}"
    return sum(done <= moment for done in log.done) - survived


def contents(store: Store) -> State:
    """Return all samples of a database."""
    rows: list[Any] = store.connection.execute(
        "SELECT metric_name, timestamp_ms, ifnull(metric_value, value_text), batch_id FROM metrics"
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
    folder = Path(tempfile.mkdtemp(prefix="bmp-"))
    try:
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
    finally:
        shutil.rmtree(folder, ignore_errors=True)
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
