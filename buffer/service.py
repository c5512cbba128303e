"""The buffer process: open the database, receive batches, lease pending samples to the shipper, close.

Reads batches and requests, emits acks, feed and leases. Fails to start when another buffer holds the database. While
the database cannot be opened or written, the process runs, reports it and tries again; producers keep their batches. A
database that is found to be damaged is replaced.
"""

from __future__ import annotations

import argparse
import errno
import math
from pathlib import Path

from buffer import free_space, run_directory
from buffer.delivery.drain import Drain
from buffer.delivery.upload_marks import UploadMarks
from buffer.ingest import Ingest
from buffer.recovery import checkup
from buffer.recovery.rescue import Rescue
from buffer.retention.tasks import RetentionTasks
from buffer.storage import errors, migrations
from buffer.storage.store import Store
from buffer.wal_checkpoints import WalCheckpoints
from common import clock, lock
from common.config import ConfigError
from common.sample import PRIORITIES
from common.service import Service
from common.status import BufferStatus

RETRY_S = 1.0
MEASURE_S = 5.0

# What may pass by itself or by somebody's doing; anything else is a path that cannot be right.
_PASSING = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EIO}


def build(options: argparse.Namespace) -> Service:
    """Build the buffer's process.

    Raises:
        AlreadyRunning: another buffer has the database.
        ConfigError: there cannot be a database at that path.
    """
    service = Service("buffer", options)
    service.publishes()
    Buffer(service)
    return service


class Buffer:
    """The life of the buffer: `open` until it succeeds, the steps of its parts on the loop, `close`.

    Args:
        service: whose loop, log, metrics and status these are.

    Attributes:
        store, marks, ingest, drain, rescue, retention, checkpoints: its parts, once the database is open.

    Raises:
        AlreadyRunning: another buffer has the database.
        ConfigError: there cannot be a database at that path.
    """

    store: Store
    marks: UploadMarks
    ingest: Ingest
    drain: Drain
    rescue: Rescue
    retention: RetentionTasks
    checkpoints: WalCheckpoints

    def __init__(self, service: Service) -> None:
        self._service = service
        self._path = service.config.settings.storage.path
        self._locked = False
        self._is_open = False
        self.status = BufferStatus()
        service.status = self.status
        service.on_close(self.close)
        if not self.open():
            self._timer = service.loop.every(RETRY_S, self._retry, first_s=RETRY_S)

    def open(self) -> bool:
        """Open the database and begin to work; False where its place cannot be used at the moment."""
        try:
            self._lock()
            self.store = checkup.open_store(self._service)
        except OSError as error:
            if error.errno not in _PASSING:
                raise ConfigError([f"storage.path: {error.strerror}, got {str(self._path)!r}"]) from error
            return self._wait(error)
        except migrations.NewerSchemaError as error:
            return self._wait(error)
        except errors.Error as error:
            if self._path.is_dir():
                raise ConfigError([f"storage.path: {error}, got {str(self._path)!r}"]) from error
            return self._wait(error)
        self._begin()
        return True

    def close(self) -> None:
        """Commit, checkpoint and close."""
        if not self._is_open:
            return
        self.ingest.close()
        self.drain.close()
        self._write_marks()
        self.marks.close()
        self.rescue.close()
        if self.checkpoints.checkpoint():
            self.store.close()
        else:
            self.store.abandon()  # the next start looks at it

    def measure(self) -> None:
        """Put the sizes and the backlog into the heartbeat."""
        store, status, instruments = self.store, self.status, self._service.instruments
        try:
            status.database_size_bytes, status.wal_size_bytes = store.database_bytes(), store.wal_bytes()
        except OSError as error:  # not allowed into the folder any more; what is open stays open
            self._service.failed(error)
            return
        status.free_bytes = free_space.free_bytes(store.path)
        for name in (*self.ingest.bind_again(), *self.drain.bind_again()):
            self._service.log.warning("the file of a socket was deleted, it is made again", file=name)
        status.unspooled = run_directory.trouble(self._service.run_dir)
        status.pending, status.oldest_pending_ms = list(store.pending.counts), self._oldest_ms()
        if self.ingest.paused is None:
            self.ingest.reserve.keep(status.free_bytes)
        instruments.gauge("storage.database_size_bytes", status.database_size_bytes)
        instruments.gauge("storage.wal_size_bytes", status.wal_size_bytes)
        instruments.gauge("storage.metrics_pending_upload", sum(store.pending.counts))
        instruments.total("storage.flash_bytes_written_total", written_bytes())

    def _begin(self) -> None:
        """Build the parts, each after those it depends on."""
        service, store = self._service, self.store
        self.status.paused = None
        if store.migrated_from not in (0, migrations.VERSION):
            service.log.info("migrated", path=str(store.path), schema_found=store.migrated_from)
        if store.undated:
            service.instruments.count("storage.quarantined_total", store.undated)
            service.log.warning("samples of an earlier boot without a date are in quarantine", count=store.undated)
        self._close_sessions()
        self.marks = UploadMarks(store, service.run_dir)
        self._recover_marks()
        self.ingest = Ingest(service, store, self.marks, self.status)
        self.drain = Drain(service, store, self.marks, self.status)
        self.rescue = Rescue(service, store, self.status, self._replaced)
        self.retention = RetentionTasks(service, store, lambda: self.rescue.busy)
        self.checkpoints = WalCheckpoints(service, store, self.status, lambda: self.ingest.paused is not None)
        service.loop.every(MEASURE_S, self.measure)
        self._is_open = True

    def _replaced(self) -> None:
        """Continue with a fresh database; drop everything that refers to rows of the old one."""
        self.marks.clear()
        self.drain.answer({"op": "hello"})
        self.ingest.commit()

    def _lock(self) -> None:
        """Lock the database for the life of this process."""
        if not self._locked:
            self._path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            lock.hold(self._path.with_name(self._path.name + ".lock"), f"the database {self._path}")
            self._locked = True

    def _retry(self) -> None:
        if self.open():
            self._timer.postpone(math.inf)
            self._service.worked()
            self._service.log.info("the database is open", path=str(self._path))

    def _wait(self, error: Exception) -> bool:
        self._service.failed(error, path=str(self._path))
        self.status.paused = str(error)
        return False

    def _write_marks(self) -> None:
        """Write the waiting upload marks; where that fails, the next process writes them."""
        try:
            self.marks.write()
        except errors.Error as error:
            self._service.failed(error)

    def _recover_marks(self) -> None:
        try:
            recovered = self.marks.recover()
        except errors.Error as error:  # a full disk: they wait for the next commit
            self.store.notice(error)
            return
        if recovered:
            self._service.log.info("marked what the server accepted before the buffer was killed", count=recovered)

    def _close_sessions(self) -> None:
        try:
            closed = self.store.sessions.close_left_open(clock.boot_id())
        except errors.Error as error:  # a full disk: they are found again at the next start
            self.store.notice(error)
            return
        if closed:
            self._service.log.warning("closed sessions that were left open", count=closed)

    def _oldest_ms(self) -> int | None:
        pending = self.store.pending
        try:
            found = [pending.oldest_ms(priority) for priority in PRIORITIES if pending.counts[priority]]
        except errors.Error as error:
            self.store.notice(error)
            return None
        return min((ms for ms in found if ms is not None), default=None)


def written_bytes() -> int | None:
    """Return how many bytes this process made the kernel write to storage, as /proc/self/io counts."""
    try:
        text = Path("/proc/self/io").read_text(encoding="ascii")
    except OSError:
        return None
    rows = dict(line.split(": ") for line in text.splitlines())
    return int(rows["write_bytes"])
