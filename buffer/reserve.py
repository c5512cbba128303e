"""Disk space reserved for critical samples: a file beside the database that is deleted when the disk is full.

Created while there is enough free space, deleted for the first critical sample that finds the disk full, created again
when there is space again.
"""

from __future__ import annotations

import os
from pathlib import Path


class Reserve:
    """The file `<database>.reserve`.

    Args:
        database: beside which it is.
        size_bytes: how large it shall be; 0 for none.
    """

    def __init__(self, database: Path, size_bytes: int) -> None:
        self._path = database.with_name(f"{database.name}.reserve")
        self.size_bytes = size_bytes

    @property
    def held(self) -> bool:
        """Return whether the reserve file exists."""
        return self._bytes() > 0

    def keep(self, free_bytes: int | None) -> None:
        """Create or resize the reserve file, unless that would take most of the free space.

        Args:
            free_bytes: space left on the file system, or None where it is not known.
        """
        if self._bytes() == self.size_bytes or (free_bytes is not None and free_bytes < 2 * self.size_bytes):
            return
        if not self.size_bytes:
            self.release()
            return
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.ftruncate(descriptor, 0)
                os.posix_fallocate(descriptor, 0, self.size_bytes)  # takes the blocks, writes none of them
            finally:
                os.close(descriptor)
        except OSError:
            self.release()  # half a reserve is in the way of everything else

    def release(self) -> bool:
        """Delete the reserve file; return whether there was one."""
        if not self.held:
            return False
        try:
            self._path.unlink()
        except OSError:
            return False
        return True

    def _bytes(self) -> int:
        try:
            return self._path.stat().st_size
        except OSError:
            return 0
