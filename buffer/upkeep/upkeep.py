"""The upkeep of the database between two turns of ingest: size cap, archive, retention, one slice at a time.

Each task is a step that returns True for "more now". After a slice the loop is left alone for a multiple of
the time it took: ingest waits for one slice at most, and upkeep leaves most of a core alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import cycle
from typing import Protocol

import apsw

from buffer import room
from buffer.slices import Pace
from buffer.store import Store
from buffer.upkeep.archive import Archive, Space
from buffer.upkeep.retention import Retention
from buffer.upkeep.sacrifice import Sacrifice
from buffer.upkeep.shelf import Shelf
from common import clock, settings
from common.service import Service

IDLE_S = 1.0  # each of the three tasks is asked once in 3 s whether it has something to do
LEAST_REST_S = 0.005  # so that the loop polls its sockets
# A checkpoint takes as long as there is to fold in. Upkeep touches most pages once: folding its own in early writes
# no page twice, and keeps the next checkpoint as short as it would be without it.
FOLD_PAGES = 1024  # 4 MiB: 10 ms here, 200 ms on a slow SD card
FOLD_REST = 3.0
RETRY_S = 60.0  # after a failure: a full disk, a card that does not answer
# A board's clock is wrong after boot until NTP answers, and a clock far ahead would age everything at once.
SETTLE_S = 300.0


class Task(Protocol):
    """What upkeep consists of."""

    name: str
    rest: float  # times the length of a slice, until the next
    pace: Pace

    def step(self, now_ms: int) -> bool:
        """Do one slice; return True for "more now"."""


class Upkeep:
    """The tasks on the buffer's loop.

    Args:
        process: whose loop, counters and log these are.
        store: the database.
        is_busy: tells that rows of a damaged database are on their way into this one; archive and retention wait.
    """

    def __init__(self, process: Service, store: Store, is_busy: Callable[[], bool] = lambda: False) -> None:
        self._process = process
        self._store = store
        self._is_busy = is_busy
        self._settled_s = time.monotonic() + SETTLE_S
        for name in ("size_cap", "archive", "retention"):
            process.instruments.count("storage.upkeep_failures_total", 0, task=name)
        self._connection: apsw.Connection | None = None
        self._task: Task | None = None
        self._turns: Iterator[Task] = iter(())
        self._has_more: dict[str, bool] = {}
        self._again_s: dict[str, float] = {}  # after a failure
        self._unfolded_pages = 0  # of upkeep's own; those of ingest wait for the hourly checkpoint
        self._timer = process.loop.every(IDLE_S, self.turn)

    def turn(self) -> None:
        """Do one slice of the next task, then rest."""
        began_s = time.perf_counter()
        try:
            rest = self._fold() if self._unfolded_pages >= FOLD_PAGES else self._slice()
        except (apsw.Error, OSError) as error:
            self._fail(error)
            return
        except UnicodeDecodeError as error:  # SQLite does not look into text; what was written there was UTF-8
            self._fail(apsw.CorruptError(f"a damaged text: {error}"))
            return
        if any(self._has_more.values()):
            self._timer.postpone(time.monotonic() + max(LEAST_REST_S, rest * (time.perf_counter() - began_s)))

    def _slice(self) -> float:
        """Do one slice of the next task; return how long to rest, in multiples of the time it took."""
        if self._store.connection is not self._connection:
            self._task = None
            if time.monotonic() < self._again_s.get("start", 0.0):
                return 0.0
            self._begin()
        self._task = task = next(self._turns)
        if self._waits(task.name):
            self._has_more[task.name] = False
            return 0.0
        written_pages, began_s = self._written_pages(), time.perf_counter()
        self._has_more[task.name] = task.step(clock.wall_ms())
        took_s = time.perf_counter() - began_s
        if self._has_more[task.name]:
            task.pace.took(took_s)
            self._process.instruments.observe("storage.upkeep_slice_seconds", took_s, task=task.name)
        self._unfolded_pages += self._written_pages() - written_pages
        return task.rest

    def _waits(self, name: str) -> bool:
        if time.monotonic() < self._again_s.get(name, 0.0):
            return True
        if name == Sacrifice.name:
            return False
        if name == Retention.name and self._has_more.get(Archive.name):
            return True  # what is archived should be there in full
        return self._is_busy() or time.monotonic() < self._settled_s

    def _begin(self) -> None:
        """Make the tasks, anew when another database has taken the place of a damaged one."""
        process, store = self._process, self._store

        def config() -> settings.Storage:
            return process.config.settings.storage

        instruments, log = process.instruments, process.log
        shelf = Shelf(store.path.parent / "archive")
        sacrifice = Sacrifice(store, shelf, config, instruments, log, process.event)
        space = Space(lambda: room.free_bytes(store.path), sacrifice.used_bytes)
        archive = Archive(store.connection, shelf, config, instruments, log, space)
        retention = Retention(
            store.connection,
            lambda: config().retention,
            instruments,
            lambda: process.config.settings.remote.audit.enabled,
        )
        tasks: tuple[Task, ...] = (sacrifice, archive, retention)
        self._turns = cycle(tasks)
        self._has_more.clear()
        self._connection = store.connection

    def _fold(self) -> float:
        self._unfolded_pages, began_s = 0, time.perf_counter()
        self._store.connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)  # waits for nobody
        took_s = time.perf_counter() - began_s
        self._process.instruments.observe("storage.upkeep_slice_seconds", took_s, task="checkpoint")
        return FOLD_REST

    def _written_pages(self) -> int:
        """Return how many pages the connection has written since it was opened."""
        return self._store.connection.status(apsw.SQLITE_DBSTATUS_CACHE_WRITE)[0]

    def _fail(self, error: apsw.Error | OSError) -> None:
        name = self._task.name if self._task else "start"
        self._has_more[name] = False
        if isinstance(error, apsw.Error):
            self._store.notice(error)
        self._process.instruments.count("storage.upkeep_failures_total", task=name)
        self._process.log.throttled_warning(
            f"upkeep {name}", "upkeep failed, tried again later",
            task=name, error=str(error), error_type=type(error).__name__,
        )  # fmt: skip
        self._again_s[name] = time.monotonic() + RETRY_S
