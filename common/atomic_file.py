"""Replace a small file as a whole: a reader, or the next start after a kill, finds the old content or the new one."""

from __future__ import annotations

import os
from pathlib import Path


def write(file: Path, text: str, *, durable: bool = False) -> None:
    """Write a file of mode 0600 beside the one of that name, then rename it.

    Args:
        file: what is replaced; its folder is there.
        text: the new content.
        durable: after a power loss too it is the old one or the new one; costs two syncs.

    Raises:
        OSError: it cannot be written; the old file is as it was.
    """
    fresh = file.with_name(f"{file.name}.new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        if durable:
            os.fsync(descriptor)
    fresh.replace(file)
    if durable:
        sync_directory(file.parent)


def sync_directory(directory: Path) -> None:
    """Have the names of a folder's files on the disk.

    Raises:
        OSError: they are not.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
