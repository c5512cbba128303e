"""The buffer as a process: one lock, one store, ingest on one side and drain on the other.

Reads batches and requests, emits acks, feed and leases. Fails to start when another buffer holds the
database; pauses, reports and recovers by itself when the database refuses to be written.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

from buffer import schema
from buffer.drain import Drain
from buffer.ingest import Ingest
from buffer.store import Store
from common import lock
from common.process import Process
from common.sample import PRIORITIES

WAL_CHECK_S = 10.0  # at 50,000 samples/s the log grows by 60 MB in this time
MEASURE_S = 5.0


class Stage:
    """The steps of the buffer's process."""

    def __init__(self, process: Process, store: Store) -> None:
        self._process = process
        self._store = store
        self.ingest = Ingest(process, store)
        self.drain = Drain(process, store)
        self._checkpointed_s = time.monotonic()
        process.facts.update(kind="buffer", path=str(store.path))
        process.loop.every(MEASURE_S, self.measure)
        process.loop.every(WAL_CHECK_S, self.fold_wal, first_s=WAL_CHECK_S)
        process.on_close(self.close)

    def measure(self) -> None:
        """Put the sizes and the backlog into the heartbeat."""
        store, gauge = self._store, self._process.instruments.gauge
        sizes = {"database_size_bytes": store.database_bytes(), "wal_size_bytes": store.wal_bytes()}
        oldest = [ms for p in PRIORITIES if store.pending[p] and (ms := store.oldest_ms(p)) is not None]
        self._process.facts.update(
            sizes,
            pending=list(store.pending),
            oldest_pending_ms=min(oldest, default=None),
            free_bytes=free_bytes(store.path),
            paused=self.ingest.paused,
        )
        for name, value in sizes.items():
            gauge(f"storage.{name}", value)
        gauge("storage.metrics_pending_upload", sum(store.pending))
        self._process.instruments.total("storage.flash_bytes_written_total", written_bytes())

    def fold_wal(self) -> None:
        """Checkpoint when the interval is over or the log has grown too large."""
        settings = self._process.config.settings.storage
        due = time.monotonic() - self._checkpointed_s >= settings.wal_checkpoint_interval_s
        if due or self._store.wal_bytes() >= settings.wal_checkpoint_size_mb << 20:
            self._checkpoint()

    def close(self) -> None:
        """Commit, checkpoint and close."""
        self.ingest.close()
        self.drain.close()
        self._checkpoint()
        self._store.close()

    def _checkpoint(self) -> None:
        self._checkpointed_s = began_s = time.monotonic()
        result = self._store.checkpoint()
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


def build(options: argparse.Namespace) -> Process:
    """Build the buffer's process.

    Raises:
        AlreadyRunning: another buffer has the database.
    """
    process = Process("buffer", options)
    settings = process.config.settings
    path = settings.storage.path
    path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    lock.hold(path.with_name(path.name + ".lock"), f"the database {path}")
    store = Store(settings.storage, settings.device.id, lambda rows: process.log.info("migrating", rows_copied=rows))
    if store.migrated_from not in (0, schema.VERSION):
        process.log.info("migrated", path=str(path), schema_found=store.migrated_from)
    Stage(process, store)
    return process


def free_bytes(path: Path) -> int | None:
    """Return the space left on the database's file system."""
    try:
        status = os.statvfs(path.parent)
    except OSError:
        return None
    return status.f_bavail * status.f_frsize


def written_bytes() -> int | None:
    """Return how many bytes this process made the kernel write to storage, as /proc/self/io counts."""
    try:
        text = Path("/proc/self/io").read_text(encoding="ascii")
    except OSError:
        return None
    rows = dict(line.split(": ") for line in text.splitlines())
    return int(rows["write_bytes"])
