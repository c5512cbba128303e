"""A lock file that only one process can hold; the kernel releases it when that process dies."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


class AlreadyRunning(Exception):  # noqa: N818 - it is a state, not a fault
    """Another process holds the lock."""


def hold(path: Path, what: str) -> int:
    """Take the lock for the life of this process.

    Args:
        path: the lock file; made if it is not there, left behind at the end.
        what: for the message, e.g. ``the database /x/metrics.db``.

    Returns:
        The descriptor that holds the lock; closing it gives the lock up.

    Raises:
        AlreadyRunning: with a message that says who holds it.
        OSError: the file cannot be made.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(descriptor)
        raise AlreadyRunning(f"{what} is in use by process {holder} (lock file {path})") from None
    try:
        os.pwrite(descriptor, f"{os.getpid():<10}\n".encode("ascii"), 0)
    except OSError:
        pass  # a full disk: the lock holds, it only does not say who has it
    return descriptor
