"""WAL checkpoints: copy the write-ahead log into the database hourly, when it has grown, and at the end.

Emits duration and result as metrics and a log line. After a failed checkpoint everything is still in the log, and the
checkpoint is tried again. A reader that stays (a `sqlite3` prompt with a transaction open) keeps the log from being
emptied: it is named in `/health` and by an event until it ends.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from buffer import free_space, lock_holders
from buffer.storage import errors
from buffer.storage.store import Store
from common.events import Event
from common.service import Service
from common.status import BufferStatus

CHECK_S = 10.0  # at 50,000 samples/s the log grows by 60 MB in this time
RETRY_S = 60.0  # on a full disk: a checkpoint may free more than it takes, but an attempt costs flash
HELD_TIMES = 3  # in a row: a page's query takes part of a second


class WalCheckpoints:
    """The WAL checkpoints of a database.

    Args:
        service: whose loop, configuration, metrics and log these are.
        store: the database.
        status: says who keeps the log from being emptied.
        is_paused: tells whether the database takes no writes at the moment.
    """

    def __init__(self, service: Service, store: Store, status: BufferStatus, is_paused: Callable[[], bool]) -> None:
        self._service, self._store, self._status = service, store, status
        self._is_paused = is_paused
        self._last_s = time.monotonic()
        self._failed = False
        self._held_times = 0
        service.loop.every(CHECK_S, self.step, first_s=CHECK_S)

    def step(self) -> None:
        """Checkpoint when the interval is over or the log has grown too large."""
        since_s = time.monotonic() - self._last_s
        try:
            is_due = self._is_due(since_s)
        except OSError as error:
            self._service.failed(error)
            return
        if is_due or since_s >= self._service.config.settings.storage.wal_checkpoint_interval_s:
            self.checkpoint()

    def checkpoint(self) -> bool:
        """Copy the log into the database; False where the database refuses."""
        self._last_s = began_s = time.monotonic()
        try:
            result = self._store.checkpoint()
        except errors.Error as error:
            self._store.notice(error)
            self._service.failed(error, error_code=errors.code(error))
            self._failed = True
            return False
        except OSError as error:  # not allowed into the folder any more
            self._service.failed(error)
            self._failed = True
            return False
        self._failed = False
        self._look_who_holds_it(busy=bool(result.busy))
        duration_ms = round((time.monotonic() - began_s) * 1000, 2)
        reclaimed = result.old_bytes - result.new_bytes
        self._service.instruments.gauge("storage.wal_checkpoint_duration_ms", duration_ms)
        self._service.instruments.gauge("storage.wal_bytes_reclaimed", reclaimed)
        self._service.log.info(
            "WAL checkpoint",
            duration_ms=duration_ms,
            busy=result.busy,
            log_frames=result.log_frames,
            frames_checkpointed=result.checkpointed_frames,
            bytes_reclaimed=reclaimed,
        )
        return True

    def _look_who_holds_it(self, *, busy: bool) -> None:
        """Report a reader that stays, and its end."""
        self._held_times = self._held_times + 1 if busy else 0
        if self._held_times >= HELD_TIMES:
            readers, was_held = lock_holders.readers(self._store.path), self._status.held_by
            self._status.held_by = (
                f"{readers} keeps a read transaction open: the write-ahead log cannot be emptied and grows, "
                f"{self._store.wal_bytes() >> 20} MB by now"
            )
            if was_held is None:
                self._service.event(Event("database_held", self._status.held_by))
        elif not busy and self._status.held_by is not None:
            self._status.held_by = None
            self._service.event(Event("database_free", "the write-ahead log can be emptied again"))

    def _is_due(self, since_s: float) -> bool:
        settings, wal_bytes = self._service.config.settings.storage, self._store.wal_bytes()
        if self._is_paused() or self._failed or self._held_times >= HELD_TIMES:
            return wal_bytes > 0 and since_s >= RETRY_S
        if self._held_times:
            return True
        free_bytes = free_space.free_bytes(self._store.path) or 0  # the database grows by what is in the log
        return wal_bytes >= min(settings.wal_checkpoint_size_mb << 20, settings.max_size // 8, free_bytes)
