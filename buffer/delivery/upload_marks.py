"""Accepted chunks that are not in the database yet: they are written with the next commit.

A transaction for each chunk would write the same pages again and again; in one commit with the samples of an interval
they are written once. Until then chunks are kept in memory and in the file `marks` of the run directory (a tmpfs), from
which a killed buffer reads them again. After a power cut the chunks of one commit interval are sent once more, which
changes nothing at the server.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

from buffer.storage.pending import PendingSample, UploadMark
from buffer.storage.store import Store

# Waiting. More than that fill their pages by themselves: a backfill gains nothing by waiting, and every lease has to
# look at what waits.
MOST_SAMPLES = 2_000


class UploadMarks:
    """The marks that wait.

    Args:
        store: where they go.
        run_dir: where the file is.

    Raises:
        OSError: the file cannot be opened.
    """

    def __init__(self, store: Store, run_dir: Path) -> None:
        self._store = store
        self._waiting: list[UploadMark] = []
        self._samples = 0
        self._fd = os.open(run_dir / "marks", os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def __iter__(self) -> Iterator[UploadMark]:
        return iter(self._waiting)

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def rows(self) -> Iterator[tuple[int, PendingSample]]:
        """Yield priority and row of each sample that waits for its mark."""
        return ((mark.priority, row) for mark in self._waiting for row in mark.rows)

    def add(self, mark: UploadMark) -> None:
        """Add a mark; write all once too many wait.

        Raises:
            errors.Error: the database refuses; the mark is not taken.
        """
        if self._samples + len(mark.rows) > MOST_SAMPLES:
            self._store.write((), (*self._waiting, mark))
            self.clear()
            return
        self._append(mark)
        self._waiting.append(mark)
        self._samples += len(mark.rows)

    def write(self) -> None:
        """Write all waiting marks.

        Raises:
            errors.Error: the database refuses; they wait on.
        """
        if self._waiting:
            self._store.write((), self._waiting)
            self.clear()

    def clear(self) -> None:
        """Drop all waiting marks: they are written, or belong to a replaced database."""
        self._waiting.clear()
        self._samples = 0
        try:
            os.ftruncate(self._fd, 0)
        except OSError:
            pass  # what is marked twice is marked once

    def recover(self) -> int:
        """Write the marks that a killed process left; return how many samples they mark.

        Raises:
            errors.Error: the database refuses; the file stays.
        """
        self._waiting = list(self._read())
        found = sum(len(mark.rows) for mark in self._waiting)
        self.write()
        return found

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    def _append(self, mark: UploadMark) -> None:
        rows = [row[:3] for row in mark.rows]
        line = json.dumps([mark.priority, rows, mark.batch_id, mark.chunk_index, mark.uploaded_ms]) + "\n"
        try:
            os.write(self._fd, line.encode())
        except OSError:
            pass  # no room: a kill would cost the mark, and the chunk is sent once more

    def _read(self) -> Iterator[UploadMark]:
        content = os.pread(self._fd, os.fstat(self._fd).st_size, 0)
        for line in content.splitlines():
            try:
                priority, rows, *rest = json.loads(line)
                yield UploadMark(priority, [PendingSample(row[0], row[1], row[2], 0.0) for row in rows], *rest)
            except (ValueError, TypeError):
                return  # cut by the kill
