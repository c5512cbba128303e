"""The server that a benchmark uploads to: one that is given, or a victoria-metrics that is started for it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.chaos.server import RealServer
from tests.harness import require


@contextmanager
def running(folder: Path, given: str) -> Iterator[str]:
    """Give the address of a server: that which is given, else of one in a folder, which ends with the block."""
    if given:
        yield given.rstrip("/")
        return
    server = RealServer(require("victoria-metrics"), folder)
    server.start()
    try:
        yield server.url
    finally:
        server.kill(signal.SIGTERM)
