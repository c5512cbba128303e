"""What a sample takes on the disk: in the file, and in all that is written until it is there and uploaded.

Reads: /proc/self/io while the buffer's store takes what `load` composes, commit by commit, synced each time as in the
    buffer, marked each minute, folded in as configured; the time between two commits is left out.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from buffer.storage.store import Store
from common import clock
from common.sample import Batch
from common.settings import Storage
from tests.bench import load, usage
from tests.bench.figures import Figure
from tests.bench.flat import FlatStore

COMMIT_MS, MARK_MS = 5_000, 60_000  # storage.commit_interval, and an upload each minute
MOST = 25_000  # samples of a mark
MINUTES = {100: 60, 10_000: 12, 100_000: 3}  # by samples a minute: enough for the log to be folded in
ROUNDS = 40  # of each series, where the number of series matters


class Written(NamedTuple):
    """What goes to the disk for a sample, bytes.

    Attributes:
        entering: commits and their syncs.
        marking: each minute's marks, and what they sync.
        folding: the log into the file, at the end.
        commits: a minute.
    """

    entering: float
    marking: float
    folding: float
    commits: float

    @property
    def total(self) -> float:
        """Return all of it."""
        return self.entering + self.marking + self.folding

    def __str__(self) -> str:
        """Say what it is made of."""
        parts = f"{self.entering:,.0f} entering, {self.marking:,.0f} marking, {self.folding:,.0f} folding the log"
        return f"{parts}; {self.commits:.0f} commits/min"


def figures(folder: Path, rates: Sequence[int], series: Sequence[int]) -> Iterator[Figure]:
    """Measure sizes, writes at rates in samples a minute, and the cost of a sample with numbers of series."""
    flat = {per_minute: _flat(folder, per_minute, MINUTES[per_minute]) for per_minute in rates}
    yield _pending(folder, flat[10_000][0])
    yield _uploaded(folder)
    for per_minute in rates:
        written = _written(folder, per_minute, MINUTES[per_minute])
        what, budget = f"flash writes at {per_minute:,} samples/min", "250" if per_minute == 10_000 else ""
        beside = f"{written}; MILESTONE-2's schema: {flat[per_minute][1]:,.0f}"
        yield Figure(what, written.total, "bytes/sample", budget, beside)
    for number in series:
        yield _grown(folder, number)


def _pending(folder: Path, flat: float) -> Figure:
    """Return the size of a sample in a file of which nothing was uploaded, as after an outage."""
    store = _open(folder / "size.db")
    end_ms = clock.wall_ms()
    total = _enter(store, end_ms - 20 * MARK_MS, end_ms, 10_000, synced=False)
    store.checkpoint()
    size = store.database_bytes() / total
    store.close()
    return Figure("database, pending", size, "bytes/sample", "60", f"MILESTONE-2's: {flat:.0f}")


def _uploaded(folder: Path) -> Figure:
    """Return the size of a sample in a file whose samples were marked as they came, as on a good day."""
    store = _open(folder / "uploaded.db")
    end_ms, total = clock.wall_ms(), 0
    for start_ms in range(end_ms - 20 * MARK_MS, end_ms, MARK_MS):
        total += _enter(store, start_ms, start_ms + MARK_MS, 10_000, synced=False)
        _mark(store)
    store.checkpoint()
    size = store.database_bytes() / total
    store.close()
    return Figure("database, uploaded", size, "bytes/sample", "45")


def _written(folder: Path, per_minute: int, minutes: int) -> Written:
    """Return what is written for a sample, marks and the folding of the log included."""
    store = _open(folder / f"written-{per_minute}.db")
    end_ms, total, marking, commits = clock.wall_ms(), 0, 0, 0
    began = usage.written_bytes()
    for start_ms in range(end_ms - minutes * MARK_MS, end_ms, MARK_MS):
        total += _enter(store, start_ms, start_ms + MARK_MS, per_minute)
        commits += sum(1 for _ in _commits(start_ms, start_ms + MARK_MS, per_minute))
        entered = usage.written_bytes()
        _mark(store)
        store.sync()
        marking += usage.written_bytes() - entered
    marked = usage.written_bytes()
    store.checkpoint()
    os.sync()
    store.close()
    folding = usage.written_bytes() - marked
    return Written((marked - began - marking) / total, marking / total, folding / total, commits / minutes)


def _flat(folder: Path, per_minute: int, minutes: int) -> tuple[float, float]:
    """Return the size and the writes of a sample in the flat schema, at the same pace."""
    store = FlatStore(folder / f"flat-{per_minute}-{minutes}.db")
    end_ms, before, total = clock.wall_ms(), usage.written_bytes(), 0
    for start_ms in range(end_ms - minutes * MARK_MS, end_ms, MARK_MS):
        for batches in _commits(start_ms, start_ms + MARK_MS, per_minute):
            store.write(batches)
            total += sum(len(batch.samples) for batch in batches)
        store.mark()
    size = store.size()
    written = usage.written_bytes() - before
    store.close()
    return size / total, written / total


def _grown(folder: Path, series: int) -> Figure:
    """Return the cost of a sample where there are so many series."""
    store = _open(folder / f"series-{series}.db")
    end_ms = clock.wall_ms()
    span_ms = ROUNDS * load.INTERVAL_MS
    commits = list(_commits(end_ms - span_ms, end_ms, series * 60_000 // load.INTERVAL_MS))
    began_s = time.perf_counter()
    total = sum(store.write(batches).inserted for batches in commits)
    seconds = time.perf_counter() - began_s
    store.checkpoint()
    size = f"{store.database_bytes() / total:.0f} bytes/sample"
    store.close()
    return Figure(f"{series:,} series: to COMMIT", 1e6 * seconds / total, "us/sample", "", size)


def _open(path: Path) -> Store:
    return Store(replace(Storage(), path=path), "bench")


def _enter(store: Store, start_ms: int, end_ms: int, per_minute: int, *, synced: bool = True) -> int:
    """Write a span of time; return its samples."""
    total = 0
    for batches in _commits(start_ms, end_ms, per_minute):
        total += store.write(batches).inserted
        if synced:
            store.sync()
    return total


def _commits(start_ms: int, end_ms: int, per_minute: int) -> Iterator[list[Batch]]:
    batches = load.batches(start_ms, end_ms, per_minute)
    for _, group in groupby(batches, key=lambda batch: batch.timestamp_ms // COMMIT_MS):
        yield list(group)


def _mark(store: Store) -> None:
    for priority in range(4):
        while rows := store.pending.rows(priority, clock.wall_ms() + MARK_MS, MOST):
            store.pending.mark_uploaded(priority, rows, "bench", 0)
