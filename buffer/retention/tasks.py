"""Run the tasks of retention between two turns of ingest: size cap, archive, downsampling, one slice at a time.

Each task is a step that returns True for "more now". After a slice the next one waits for a multiple of the time it
took: ingest waits for one slice at most, and retention uses only a small share of a core.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import cycle
from typing import Protocol

from buffer import free_space
from buffer.pace import Pace
from buffer.retention.archive import Archiver, Space
from buffer.retention.archive_folder import ArchiveFolder
from buffer.retention.context import Context
from buffer.retention.retention import RetentionRound
from buffer.retention.size_cap import SizeCap
from buffer.settled_clock import SettledClock
from buffer.storage import errors
from buffer.storage.store import Store
from common import clock, settings
from common.service import Service

IDLE_S = 1.0  # each of the three tasks is asked once in 3 s whether it has something to do
LEAST_REST_S = 0.005  # so that the loop polls its sockets
# A WAL checkpoint takes as long as there is to copy. Retention touches most pages once: copying its own early writes
# no page twice, and keeps the next checkpoint as short as it would be without it.
CHECKPOINT_BYTES = 4 << 20  # 10 ms here, 200 ms on a slow SD card
CHECKPOINT_REST = 3.0
RETRY_S = 60.0  # after a failure: a full disk, a card that does not answer


class Task(Protocol):
    """What retention consists of."""

    name: str
    rest: float  # times the length of a slice, until the next
    pace: Pace

    def step(self, now_ms: int) -> bool:
        """Do one slice; return True for "more now"."""


class RetentionTasks:
    """The tasks on the buffer's loop.

    Args:
        service: whose loop, counters and log these are.
        store: the database.
        is_busy: tells that rows of a damaged database are on their way into this one; archive and retention wait.
    """

    def __init__(self, service: Service, store: Store, is_busy: Callable[[], bool] = lambda: False) -> None:
        self._service = service
        self._store = store
        self._is_busy = is_busy
        self._clock = SettledClock(store.samples.newest_ms())
        for name in ("size_cap", "archive", "retention"):
            service.instruments.count("storage.upkeep_failures_total", 0, task=name)
        self._generation = 0  # of the store that the tasks were made for
        self._task: Task | None = None
        self._turns: Iterator[Task] = iter(())
        self._has_more: dict[str, bool] = {}
        self._again_s: dict[str, float] = {}  # after a failure
        self._uncopied_bytes = 0  # of retention's own; those of ingest wait for the hourly checkpoint
        self._timer = service.loop.every(IDLE_S, self.turn)

    def turn(self) -> None:
        """Do one slice of the next task, then rest."""
        began_s = time.perf_counter()
        try:
            rest = self._checkpoint() if self._uncopied_bytes >= CHECKPOINT_BYTES else self._slice()
        except (errors.Error, OSError) as error:
            self._fail(error)
            return
        except UnicodeDecodeError as error:  # SQLite does not look into text; what was written there was UTF-8
            self._fail(errors.CorruptError(f"a damaged text: {error}"))
            return
        if any(self._has_more.values()):
            self._timer.postpone(time.monotonic() + max(LEAST_REST_S, rest * (time.perf_counter() - began_s)))

    def _slice(self) -> float:
        """Do one slice of the next task; return how long to rest, in multiples of the time it took."""
        if self._store.generation != self._generation:
            self._task = None
            if time.monotonic() < self._again_s.get("start", 0.0):
                return 0.0
            self._begin()
        self._task = task = next(self._turns)
        if self._waits(task.name):
            self._has_more[task.name] = False
            return 0.0
        written_bytes, began_s = self._store.written_bytes(), time.perf_counter()
        self._has_more[task.name] = task.step(clock.wall_ms())
        took_s = time.perf_counter() - began_s
        if self._has_more[task.name]:
            task.pace.took(took_s)
            self._service.instruments.observe("storage.upkeep_slice_seconds", took_s, task=task.name)
        self._uncopied_bytes += self._store.written_bytes() - written_bytes
        return task.rest

    def _waits(self, name: str) -> bool:
        if time.monotonic() < self._again_s.get(name, 0.0):
            return True
        if name == SizeCap.name:
            return False
        if name == RetentionRound.name and self._has_more.get(Archiver.name):
            return True  # what is archived should be there in full
        return self._is_busy() or not self._clock.is_settled()

    def _begin(self) -> None:
        """Make the tasks: once, and again when another database has taken the place of a damaged one."""
        service, store = self._service, self._store

        def config() -> settings.Storage:
            return service.config.settings.storage

        instruments, log = service.instruments, service.log
        folder = ArchiveFolder(store.path.parent / "archive")
        context = Context(store, folder, config, instruments, log)
        size_cap = SizeCap(context, service.event)
        space = Space(lambda: free_space.free_bytes(store.path), size_cap.used_bytes)
        archive = Archiver(context, space)
        retention = RetentionRound(
            store,
            lambda: config().retention,
            instruments,
            lambda: service.config.settings.remote.audit.enabled,
        )
        tasks: tuple[Task, ...] = (size_cap, archive, retention)
        self._turns = cycle(tasks)
        self._has_more.clear()
        self._generation = store.generation

    def _checkpoint(self) -> float:
        self._uncopied_bytes, began_s = 0, time.perf_counter()
        self._store.checkpoint_passively()
        took_s = time.perf_counter() - began_s
        self._service.instruments.observe("storage.upkeep_slice_seconds", took_s, task="checkpoint")
        return CHECKPOINT_REST

    def _fail(self, error: errors.Error | OSError) -> None:
        name = self._task.name if self._task else "start"
        self._has_more[name] = False
        if isinstance(error, errors.Error):
            self._store.notice(error)
        self._service.instruments.count("storage.upkeep_failures_total", task=name)
        self._service.log.throttled_warning(
            f"retention {name}", "a retention task failed; it is tried again later",
            task=name, error=str(error), error_type=type(error).__name__,
        )  # fmt: skip
        self._again_s[name] = time.monotonic() + RETRY_S
