"""The buffer as a process: one lock, one store, ingest on one side and drain on the other.

Reads batches and requests, emits acks, feed and leases. Fails to start when another buffer holds the
database; pauses, reports and recovers by itself when the database refuses to be opened or written, and
replaces it when it turns out to be damaged.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import apsw

from buffer import room, schema
from buffer.damage.rescue import Rescue
from buffer.drain import Drain
from buffer.ingest import Ingest
from buffer.opening import Opening
from buffer.store import Store
from buffer.upkeep.upkeep import Upkeep
from common import clock
from common.sample import PRIORITIES
from common.service import Service

WAL_CHECK_S = 10.0  # at 50,000 samples/s the log grows by 60 MB in this time
MEASURE_S = 5.0
FOLD_FULL_S = 60.0  # on a full disk: folding in may free more than it takes, but an attempt costs flash


class Stage:
    """The steps of the buffer's process."""

    def __init__(self, process: Service, store: Store) -> None:
        self._process = process
        self._store = store
        self._close_sessions()
        self.ingest = Ingest(process, store)
        self.drain = Drain(process, store)
        self.rescue = Rescue(process, store, self._replaced)
        self.upkeep = Upkeep(process, store, lambda: self.rescue.busy)
        self._checkpointed_s = time.monotonic()
        self._folded = True
        process.loop.every(MEASURE_S, self.measure)
        process.loop.every(WAL_CHECK_S, self.fold_wal, first_s=WAL_CHECK_S)
        process.on_close(self.close)

    def _close_sessions(self) -> None:
        try:
            closed = self._store.sessions.close_left_open(clock.boot_id())
        except apsw.Error as error:  # a full disk: they are found again at the next start
            self._store.notice(error)
            return
        if closed:
            self._process.log.warning("closed sessions that were left open", count=closed)

    def measure(self) -> None:
        """Put the sizes and the backlog into the heartbeat."""
        store, gauge = self._store, self._process.instruments.gauge
        sizes = {"database_size_bytes": store.database_bytes(), "wal_size_bytes": store.wal_bytes()}
        free_bytes = room.free_bytes(store.path)
        if self.ingest.paused is None:
            self.ingest.reserve.keep(free_bytes)
        self._process.facts.update(
            sizes,
            pending=list(store.pending.counts),
            oldest_pending_ms=self._oldest_ms(),
            free_bytes=free_bytes,
            paused=self.ingest.paused,
        )
        for name, value in sizes.items():
            gauge(f"storage.{name}", value)
        gauge("storage.metrics_pending_upload", sum(store.pending.counts))
        self._process.instruments.total("storage.flash_bytes_written_total", written_bytes())

    def fold_wal(self) -> None:
        """Checkpoint when the interval is over or the log has grown too large."""
        settings, wal_bytes = self._process.config.settings.storage, self._store.wal_bytes()
        since_s = time.monotonic() - self._checkpointed_s
        if self.ingest.paused is not None or not self._folded:
            due = wal_bytes > 0 and since_s >= FOLD_FULL_S
        else:
            free_bytes = room.free_bytes(self._store.path) or 0  # the database grows by what is in the log
            due = wal_bytes >= min(settings.wal_checkpoint_size_mb << 20, settings.max_size // 8, free_bytes)
        if due or since_s >= settings.wal_checkpoint_interval_s:
            self._checkpoint()

    def close(self) -> None:
        """Commit, checkpoint and close."""
        self.ingest.close()
        self.drain.close()
        self.rescue.close()
        if self._checkpoint():
            self._store.close()
        else:
            self._store.abandon()  # the next start looks at it

    def _replaced(self) -> None:
        """Begin anew with a fresh database: what refers to rows of the old one is void."""
        self.drain.answer({"op": "hello"})
        self.ingest.commit()

    def _oldest_ms(self) -> int | None:
        try:
            found = [self._store.pending.oldest_ms(p) for p in PRIORITIES if self._store.pending.counts[p]]
        except apsw.Error as error:
            self._store.notice(error)
            return None
        return min((ms for ms in found if ms is not None), default=None)

    def _checkpoint(self) -> bool:
        """Fold the log in; False where the database refuses: the log keeps everything, the next one tries again."""
        self._checkpointed_s = began_s = time.monotonic()
        try:
            result = self._store.checkpoint()
        except apsw.Error as error:
            self._store.notice(error)
            self._process.failed(error, error_code=getattr(error, "extendedresult", None))
            self._folded = False
            return False
        self._folded = True
        duration_ms = round((time.monotonic() - began_s) * 1000, 2)
        reclaimed = result.old_bytes - result.new_bytes
        self._process.instruments.gauge("storage.wal_checkpoint_duration_ms", duration_ms)
        self._process.instruments.gauge("storage.wal_bytes_reclaimed", reclaimed)
        self._process.log.info(
            "WAL checkpoint",
            duration_ms=duration_ms,
            busy=result.busy,
            log_frames=result.log_frames,
            frames_checkpointed=result.checkpointed_frames,
            bytes_reclaimed=reclaimed,
        )
        return True


def build(options: argparse.Namespace) -> Service:
    """Build the buffer's process.

    Raises:
        AlreadyRunning: another buffer has the database.
        ConfigError: there cannot be a database at that path.
    """
    process = Service("buffer", options)
    process.publishes()

    def opened(store: Store) -> None:
        if store.migrated_from not in (0, schema.VERSION):
            process.log.info("migrated", path=str(store.path), schema_found=store.migrated_from)
        Stage(process, store)

    Opening(process, opened)
    return process


def written_bytes() -> int | None:
    """Return how many bytes this process made the kernel write to storage, as /proc/self/io counts."""
    try:
        text = Path("/proc/self/io").read_text(encoding="ascii")
    except OSError:
        return None
    rows = dict(line.split(": ") for line in text.splitlines())
    return int(rows["write_bytes"])
