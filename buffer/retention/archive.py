"""Every 12 hours of samples and events as two compressed files, in the folder `archive` beside the database.

Reads a finished span slice by slice; writes it to a database of its own, compresses that, then renames.
A kill loses a slice or the compression at most. It waits while the file system is nearly
full or the size cap is near. Fails with errors.Error or OSError; the next attempt takes up what is there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import NamedTuple

from buffer.pace import Pace
from buffer.retention.compressed import CompressedFile
from buffer.retention.context import Context
from buffer.storage import errors
from buffer.storage.archive_file import remove
from common import clock

# A producer sends again for 80 s and the buffer commits after 60 s at most: after this a span is complete.
GRACE_MS = 600_000
CHECK_MS = 60_000
ARCHIVED = "archived_until_ms"
DISCARD_BYTES = 16 << 20  # at once; a file system takes 60 ms to free 200 MB
BYTES_PER_ROW = 64  # what is compressed in the time of one row; measured: 20 MB/s
NEARLY_FULL = 0.9  # of max_size: what is written now would be the first to be given up
METRICS, EVENTS = "metrics-{}.db.gz", "events-{}.log.gz"


def next_span(now_ms: int, interval_ms: int, archived_ms: int | None, oldest_ms: int | None) -> tuple[int, int] | None:
    """Return start and end of the span to be archived next, None while none is finished.

    Args:
        now_ms: wall clock, Unix milliseconds.
        interval_ms: length of a span; spans begin at multiples of it.
        archived_ms: end of the last one archived, or None.
        oldest_ms: oldest sample that is not archived yet, or None.
    """
    if oldest_ms is None:
        return None
    start_ms = max(oldest_ms - oldest_ms % interval_ms, archived_ms or 0)
    end_ms = start_ms - start_ms % interval_ms + interval_ms
    return (start_ms, end_ms) if end_ms + GRACE_MS <= now_ms else None


class Space(NamedTuple):
    """How much room there is.

    Attributes:
        free_bytes: returns the space left on the file system, None where it is not known.
        used_bytes: returns what `storage.max_size` limits.
    """

    free_bytes: Callable[[], int | None]
    used_bytes: Callable[[], int]


class Archiver:
    """Write what is finished, delete what is too old.

    Args:
        context: the database, and where the files go.
        space: how much room there is.

    Attributes:
        pace: how many rows a slice may take.
    """

    name = "archive"
    rest = 3.0  # a quarter of a core

    def __init__(self, context: Context, space: Space) -> None:
        self._store, self._folder, self._config, self._instruments, self._log = context
        self._space = space
        self._writing: Generator[None, None, None] | None = None
        self._checked_ms = -CHECK_MS
        self.pace = Pace()

    def step(self, now_ms: int) -> bool:
        """Do one slice of a file that is due; return True for "more now"."""
        if self._is_disk_full() and (self._writing is not None or self._is_time(now_ms)):
            self._abandon()
            self._make_room()
            return False
        if self._writing is None:
            if not self._is_time(now_ms):
                return False
            self._delete_old(now_ms)
            self._writing = self._begin(now_ms)
            return self._writing is not None
        try:
            next(self._writing)
        except StopIteration:
            self._writing = None
            self._checked_ms = -CHECK_MS  # the next span may be due too
        except (errors.Error, OSError):
            self._writing = None
            raise
        return True

    def _abandon(self) -> None:
        if self._writing is not None:
            self._writing.close()
        self._writing = None

    def _is_time(self, now_ms: int) -> bool:
        """Return whether it is time to look for due spans: once a minute."""
        if 0 <= now_ms - self._checked_ms < CHECK_MS:
            return False
        self._checked_ms = now_ms
        return True

    def _is_disk_full(self, share: float = 0.5) -> bool:
        """Tell whether less than a share of what `min_free` says is left."""
        free = self._space.free_bytes()
        return free is not None and free < share * self._config().archive.min_free

    def _span(self, now_ms: int) -> tuple[int, int] | None:
        interval_ms = int(self._config().archive.interval_s * 1000)
        archived_ms = self._store.progress.get(ARCHIVED)
        if archived_ms is not None and archived_ms > now_ms + interval_ms:
            archived_ms = None  # written while the clock was far ahead
        since_ms = max(archived_ms or 0, now_ms - int(self._config().archive.keep_s * 1000))
        return next_span(now_ms, interval_ms, archived_ms, self._store.samples.first_ms(since_ms))

    def _begin(self, now_ms: int) -> Generator[None, None, None] | None:
        """Return the writing of the span that is due, None if none is or there is no room."""
        config = self._config()
        span = self._span(now_ms) if config.archive.enabled else None
        if span is None:
            return None
        if self._is_disk_full(1.0) or self._space.used_bytes() > NEARLY_FULL * config.max_size:
            self._log.throttled_warning(
                "archive", "no archive is written: too little free space", path=str(self._folder.path)
            )
            return None
        return self._write(*span)

    def _write(self, start_ms: int, end_ms: int) -> Generator[None, None, None]:
        metrics, events = self._folder.file(METRICS, start_ms), self._folder.file(EVENTS, start_ms)
        metrics.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        unfinished = metrics.with_suffix(".tmp")
        if not metrics.exists():
            yield from self._write_events(events, start_ms, end_ms)
            yield from self._write_database(unfinished, start_ms, end_ms)
            yield from self._compress(unfinished, metrics)
            self._instruments.count("storage.archives_written_total")
            self._log.info("archived", path=str(metrics), size_bytes=metrics.stat().st_size)
            yield
        yield from _discard(unfinished)
        with self._store.transaction():
            self._store.progress.set(ARCHIVED, end_ms)

    def _write_events(self, path: Path, start_ms: int, end_ms: int) -> Iterator[None]:
        names = ("timestamp_ms", "kind", "severity", "source", "text", "session_id")
        after = start_ms, -1
        with CompressedFile(path) as file:
            while rows := self._store.events.slice(after, end_ms, self.pace.rows):
                lines = (dict(zip(names, row[1:], strict=True)) for row in rows)
                text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
                file.write(text.encode("utf-8", "backslashreplace"))
                after = rows[-1][1], rows[-1][0]
                yield
            file.finish()

    def _write_database(self, path: Path, start_ms: int, end_ms: int) -> Iterator[None]:
        file = self._store.archive_file(path, clock.boot_id(), start_ms)
        try:
            while rows := self._store.samples.read(file.after, end_ms, self.pace.rows):
                file.add(rows)
                yield
        finally:
            file.close()

    def _compress(self, database: Path, final: Path) -> Iterator[None]:
        with CompressedFile(final) as file, database.open("rb", buffering=0) as stream:
            while content := stream.read(self.pace.rows * BYTES_PER_ROW):
                file.write(content)
                yield
            file.finish()

    def _delete_old(self, now_ms: int) -> None:
        oldest_ms = now_ms - int(self._config().archive.keep_s * 1000)
        for file in self._folder.files():
            if file.start_ms < oldest_ms:
                self._folder.drop(file)

    def _make_room(self) -> None:
        """Delete unfinished files, then the oldest: new samples are worth more than copies of old ones."""
        for file in sorted(self._folder.files(), key=lambda file: file.is_finished):
            if not self._is_disk_full():
                return
            self._folder.drop(file)
            self._instruments.count("storage.shed_total", tier="archive")


def _discard(path: Path) -> Iterator[None]:
    """Delete an unfinished file, a piece at a time."""
    size = path.stat().st_size if path.exists() else 0
    while size > DISCARD_BYTES:
        size -= DISCARD_BYTES
        os.truncate(path, size)
        yield
    remove(path)
