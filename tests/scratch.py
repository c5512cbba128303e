"""A folder that is gone afterwards."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MEMORY = Path("/dev/shm")  # a tmpfs, as /run is on a device


@contextmanager
def scratch(place: Path = Path("/tmp")) -> Iterator[Path]:
    """Give a folder with a short path: a Unix socket's name holds 107 bytes."""
    folder = Path(tempfile.mkdtemp(prefix="bm-", dir=place))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
