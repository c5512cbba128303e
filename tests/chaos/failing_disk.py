"""A disk whose reads, writes or syncs fail with EIO while a test wants it, as of a card that is about to die."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import apsw

READ, WRITE, SYNC = "read", "write", "sync"


class _File(apsw.VFSFile):
    def __init__(self, disk: FailingDisk, name: Any, flags: list[int]) -> None:
        self._disk = disk
        super().__init__("unix", name, flags)

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802 - apsw's name
        self._disk.check(READ)
        return super().xRead(amount, offset)

    def xWrite(self, data: Any, offset: int) -> None:  # noqa: N802
        self._disk.check(WRITE)
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802
        self._disk.check(SYNC)
        super().xSync(flags)


class FailingDisk(apsw.VFS):
    """SQLite's way to the disk.

    Attributes:
        failing: what fails at the moment.
        failed: how often something did.
    """

    def __init__(self) -> None:
        self.failing: set[str] = set()
        self.failed = 0
        super().__init__("failing", "unix", makedefault=True)

    def check(self, what: str) -> None:
        """Fail, if that is to fail.

        Raises:
            apsw.IOError: it is.
        """
        if what in self.failing:
            self.failed += 1
            raise apsw.IOError(f"{what}: {os.strerror(errno.EIO)}")

    def fdatasync(self, _descriptor: int) -> None:
        """Take the place of `os.fdatasync`.

        Raises:
            OSError: syncs fail.
        """
        if SYNC in self.failing:
            self.failed += 1
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:  # noqa: D102, N802
        return _File(self, name, flags)


@contextmanager
def failing_disk() -> Iterator[FailingDisk]:
    """Have every database that is opened in this block on such a disk."""
    disk = FailingDisk()
    try:
        with mock.patch.object(os, "fdatasync", disk.fdatasync):
            yield disk
    finally:
        disk.unregister()
