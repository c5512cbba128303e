"""Map a small file into memory: writing to it costs no system call, and what is written outlives a kill."""

from __future__ import annotations

import mmap
import os
from pathlib import Path


def open_or_none(path: Path, content: bytes) -> mmap.mmap | None:
    """Make a file of mode 0600 with this content, and map as many bytes of it.

    Its room is taken at once: a disk that is full later, under a map, would end the process with SIGBUS.

    Args:
        path: its folder is made too, where the one above is there.
        content: what is written, of the size that it keeps.

    Returns:
        The map, or None where the file cannot be made.
    """
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.pwrite(descriptor, content, 0)
            return mmap.mmap(descriptor, len(content))
        finally:
            os.close(descriptor)
    except (OSError, ValueError):  # no folder, or no room for all of it
        return None
