"""The picture to whoever watches, as server-sent events: one a second, encoded once for all of them.

Fails: beyond `MAX_WATCHERS` a browser is told to come back later; one that does not read is dropped by the
connection's own time limit, and keeps nobody waiting.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

MAX_WATCHERS = 20  # of the 32 connections: probes and scrapers always find one
STILL_HERE_S = 15.0


class Live:
    """The stream of pictures.

    Args:
        make: encodes the picture of now; called on a watcher's thread.
    """

    def __init__(self, make: Callable[[], bytes]) -> None:
        self._make = make
        self._changed = threading.Condition()
        self._version = 0
        self._made = (-1, b"")
        self._closed = False
        self._watchers = 0

    def tick(self) -> None:
        """Announce a new picture to all viewers."""
        with self._changed:
            self._version += 1
            self._changed.notify_all()

    def close(self) -> None:
        """End every stream."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def current(self) -> bytes:
        """Return the picture as JSON, made once for each tick."""
        with self._changed:
            if self._made[0] != self._version:
                self._made = (self._version, self._make())
            return self._made[1]

    def watch(self) -> Iterator[bytes] | None:
        """Return the stream for one more watcher, None where there are too many."""
        with self._changed:
            if self._watchers >= MAX_WATCHERS:
                return None
        return self._pieces()

    def _pieces(self) -> Iterator[bytes]:
        with self._changed:
            self._watchers += 1
        try:
            seen = -1
            while not self._closed:
                if seen != self._version:
                    seen = self._version
                    yield b"data: " + self.current() + b"\n\n"
                else:
                    yield from self._wait(seen)
        finally:
            with self._changed:
                self._watchers -= 1

    def _wait(self, seen: int) -> Iterator[bytes]:
        with self._changed:
            changed = self._changed.wait_for(lambda: self._closed or seen != self._version, STILL_HERE_S)
        if not changed:
            yield b": still here\n\n"
