"""Decide which connections are served when more come than there are threads for; used by the HTTP server.

One address may hold `MAX_OF_ADDRESS` places, and `OWN` are for this device alone. Where none is free, the connection
that has waited longest for its request gives up its place: half requests keep nobody out, while answers and streams
under way, which take a login, are left alone. Whoever asks on this device gives up a place only to this device.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from typing import Any

MAX_CONNECTIONS = 32
MAX_OF_ADDRESS = 16  # a browser opens six; a proxy on another machine asks for many
OWN = 4


class Places:
    """The places, for use by several threads.

    Args:
        end: ends a connection that gives up its place.
    """

    def __init__(self, end: Callable[[Any], None]) -> None:
        self._end = end
        self._lock = threading.Lock()
        self._addresses: dict[Any, str] = {}
        self._waiting: dict[Any, None] = {}  # for a request; the one that has waited longest is first

    def take(self, connection: Any, address: str) -> bool:
        """Return whether a connection gets a place; another one may give up its own for it."""
        with self._lock:
            if is_here(address):
                has_place = self._make_room(self._addresses, MAX_CONNECTIONS)
            else:
                others = [one for one, where in self._addresses.items() if not is_here(where)]
                same = [one for one in others if self._addresses[one] == address]
                has_place = self._make_room(same, MAX_OF_ADDRESS)
                has_place = has_place and self._make_room(others, MAX_CONNECTIONS - OWN)
            if has_place:
                self._addresses[connection] = address
            return has_place

    def waits(self, connection: Any) -> None:
        """Note that a connection waits for a request."""
        with self._lock:
            if connection in self._addresses:
                self._waiting.setdefault(connection)

    def works(self, connection: Any) -> None:
        """Note that a request has come, and is answered."""
        with self._lock:
            self._waiting.pop(connection, None)

    def leave(self, connection: Any) -> None:
        """Give back a place."""
        with self._lock:
            self._addresses.pop(connection, None)
            self._waiting.pop(connection, None)

    def _make_room(self, among: Collection[Any], most: int) -> bool:
        """Return whether fewer than so many hold a place, after one that waits has given up its own if need be."""
        held = [one for one in among if one in self._addresses]
        if len(held) < most:
            return True
        longest = next((one for one in self._waiting if one in held), None)
        if longest is None:
            return False
        del self._waiting[longest], self._addresses[longest]
        self._end(longest)
        return True


def is_here(address: str) -> bool:
    """Return whether an address is this device's own."""
    return address.startswith(("127.", "::ffff:127.")) or address == "::1"
