"""A compressed file, written slice by slice under a temporary name and there as a whole or not at all."""

from __future__ import annotations

import os
import zlib
from pathlib import Path

from common import atomic_file

LEVEL = 6  # 1 would save half of 20 s of CPU a day and cost a third more flash, every day
_GZIP = 16 + zlib.MAX_WBITS  # zlib's code for a gzip header


class CompressedFile:
    """One file; as a context it lets go of what was not finished.

    Args:
        path: its final name.

    Raises:
        OSError: it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._unfinished = path.with_name(path.name + ".tmp")
        self._compressor = zlib.compressobj(LEVEL, zlib.DEFLATED, _GZIP)
        self._fd = os.open(self._unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)

    def write(self, content: bytes) -> None:
        """Append content."""
        self._append(self._compressor.compress(content))

    def finish(self) -> None:
        """Put the file in its place, safe against a power cut."""
        self._append(self._compressor.flush())
        os.fsync(self._fd)
        self._close()
        self._unfinished.rename(self._path)
        atomic_file.sync_directory(self._path.parent)

    def __enter__(self) -> CompressedFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def _append(self, compressed: bytes) -> None:
        view = memoryview(compressed)
        while view:
            view = view[os.write(self._fd, view) :]
        # Starts writeback and does not wait for it (mm/fadvise.c): the fsync at the end finds little to do.
        os.posix_fadvise(self._fd, 0, 0, os.POSIX_FADV_DONTNEED)

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1
