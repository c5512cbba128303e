"""The machine under measurement: its files below a root, so that a recorded tree can stand in for it.

Reads with `os.read`: a driver's EAGAIN comes out of Python's buffered readers as a TypeError, which
would cost a whole collector for one offline sensor. What is absent is None; what is there and cannot
be read is None too, and noted as a fault.
"""

from __future__ import annotations

import errno
import os
import time
from dataclasses import dataclass, field
from pathlib import Path

READ_BYTES = 64 * 1024
MAX_BYTES = 4 * 1024 * 1024  # no file of /proc or /sys that is read here comes near

# The device or the kernel's feature is not there (any more); everything else is a fault.
ABSENT = frozenset({errno.ENOENT, errno.ENODEV, errno.ENXIO, errno.ENOTDIR})


@dataclass
class Host:
    """Files below a root.

    Attributes:
        root: where /proc and /sys are looked for.
        now_s: monotonic time of the current collect, the same for all of its readings.
        absent: what was looked for and not found in this collect.
        faults: what was found and could not be read in this collect, with the reason.
    """

    root: Path = Path("/")
    now_s: float = 0.0
    absent: set[str] = field(default_factory=set)
    faults: dict[str, str] = field(default_factory=dict)

    def begin(self, now_s: float | None = None) -> None:
        """Begin a collect: the clock is read once, yesterday's faults are forgotten."""
        self.now_s = time.monotonic() if now_s is None else now_s
        self.absent = set()
        self.faults = {}

    def text(self, path: str) -> str | None:
        """Return a file's content, or None where it is absent or unreadable.

        Args:
            path: relative to the root, e.g. ``proc/meminfo``.
        """
        try:
            return read(os.path.join(self.root, path)).decode("utf-8", "replace")
        except OSError as error:
            self._unreadable(path, error)
            return None

    def integer(self, path: str) -> int | None:
        """Return the number a file holds, or None where it is absent, unreadable, empty or no number."""
        text = self.text(path)
        if text is None:
            return None
        try:
            return int(text)
        except ValueError:
            self.fault(path, f"not a number: {text.strip()[:40]!r}")
            return None

    def names(self, directory: str) -> list[str]:
        """Return what a directory holds, sorted; nothing where it is absent or unreadable."""
        try:
            return sorted(os.listdir(os.path.join(self.root, directory)))
        except OSError as error:
            self._unreadable(directory, error)
            return []

    def exists(self, path: str) -> bool:
        """Tell whether a path is there."""
        return os.path.exists(os.path.join(self.root, path))

    def file_system(self, mountpoint: str) -> os.statvfs_result | None:
        """Return the size and use of a mounted file system, or None where it cannot be asked."""
        try:
            return os.statvfs(os.path.join(self.root, mountpoint.lstrip("/")))
        except OSError as error:
            self._unreadable(mountpoint, error)
            return None

    def fault(self, path: str, reason: str) -> None:
        """Note something that is there and cannot be understood; it costs that item only."""
        self.faults[path] = reason

    def _unreadable(self, path: str, error: OSError) -> None:
        if error.errno in ABSENT:
            self.absent.add(path)
        else:
            self.fault(path, error.strerror or str(error))


def read(path: str) -> bytes:
    """Read a whole file without Python's buffering.

    Raises:
        OSError: with the driver's own errno, EAGAIN included.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        content = b""
        while len(content) < MAX_BYTES and (piece := os.read(descriptor, READ_BYTES)):
            content += piece
        return content
    finally:
        os.close(descriptor)
