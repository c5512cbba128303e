"""A day of the buffer on the recorded disk: batches, marks, checkpoints, restarts, perhaps a migration first."""

from __future__ import annotations

import random
import sqlite3
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from buffer.storage import migrations
from buffer.storage.store import Store
from common.sample import Batch, Sample
from common.settings import Storage
from tests.chaos.disk import Recorder, recording

NAME = "metrics.db"
FIRST_MS = 1_760_000_000_000
INTERVALS = 40
OLD_ROWS = 800
OLD_SLICE = 100  # rows; a migration of eight slices

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
        rows = store.pending.rows(2, FIRST_MS * 2, self._chance.choice((10, 300)))
        keys = [(store.series.by_id(row.series_id).name, row.timestamp_ms) for row in rows]
        batch_id = f"batch {len(self.log.commits)}"
        if rows:
            self.log.commits.append(Commit({}, (keys, batch_id)))
            store.pending.mark_uploaded(2, rows, batch_id, 0)
            self.log.done.append(len(self._recorder.events))


def open_store(path: Path) -> Store:
    """Open a database as the buffer does."""
    return Store(replace(Storage(), path=path), "belabox-001")


def record(folder: Path, seed: int) -> Recording:
    """Record a day, every other one beginning with a database of the older version."""
    old = make_old(folder / NAME) if seed % 2 else {}
    before = {NAME: (folder / NAME).read_bytes()} if old else {}
    with recording() as recorder, mock.patch.object(migrations, "SLICE_ROWS", OLD_SLICE):
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
