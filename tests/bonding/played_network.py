"""A network by a clock of its own, without sockets, threads or the machine's time: the same wherever it runs.

Reads: what its programs send. Emits: each packet to the packet sockets that the SRT source opens, and to the program
that is bound to its target. Fails: a packet to a port that nobody is bound to is lost without a word.
"""

from __future__ import annotations

import heapq
import itertools
import random
import socket
import struct
from collections.abc import Callable, Sequence

from tests.bonding.network import Address, Handler
from tests.demo.wire import PlayedRing, in_its_place

BEGAN_S, WALL_S = 1_000.0, 1_795_000_000.0
CROSSING_S = 50e-6  # from one program to another on one machine
FIRST_PORT = 40_000

_HEADERS = struct.Struct(">BBHHHBBH4s4sHHHH")


class PlayedNetwork:
    """A network whose time passes in `wait` alone.

    Args:
        seed: of what is lost.
        patch: replaces an attribute of a module, as pytest's monkeypatch does.

    Attributes:
        now_s: its clock, monotonic.
        ahead_s: how much the wall clock is ahead of that; it may be set.
        chance, arrived_s: as of every network.
    """

    def __init__(self, seed: int, patch: Callable[[str, object], None]) -> None:
        self.now_s, self.ahead_s, self.arrived_s = BEGAN_S, WALL_S, 0.0
        self.chance = random.Random(seed)
        self._wire = in_its_place(patch, lambda: self.now_s, lambda: self.ahead_s + self.now_s)
        self._late: list[tuple[float, int, Callable[[], None]]] = []
        self._count, self._ports = itertools.count(), itertools.count(FIRST_PORT)
        self._bound: dict[Address, PlayedSocket] = {}

    def bind(self, address: str, port: int, handle: Handler) -> PlayedSocket:
        """Open a socket and have its packets handled."""
        place = address, port or next(self._ports)
        made = self._bound[place] = PlayedSocket(self, place, handle)
        return made

    def unbind(self, made: PlayedSocket) -> None:
        """Close a socket that `bind` has opened."""
        self._bound.pop(made.place, None)

    def later(self, delay_s: float, step: Callable[[], None]) -> None:
        """Do something after a time."""
        heapq.heappush(self._late, (self.now_s + delay_s, next(self._count), step))

    def do(self, step: Callable[[], None]) -> None:
        """Do something now."""
        step()

    def wait(self, seconds: float, sockets: Sequence[PlayedRing]) -> None:
        """Let time pass, or until one of some packet sockets is readable."""
        until_s = self.now_s + seconds
        while self._late and self._late[0][0] <= until_s:
            self.now_s, _, step = heapq.heappop(self._late)
            step()
            if any(one.is_readable for one in sockets):
                return
        self.now_s = until_s

    def start(self) -> None:
        """Begin."""

    def close(self) -> None:
        """End."""
        self._late.clear()

    def carry(self, packet: bytes, source: Address, target: Address) -> None:
        """Show a packet to the packet sockets, and have it handled by who is bound to its target."""
        self._wire.send(_with_headers(packet, source, target))
        self.later(CROSSING_S, lambda: self._arrive(packet, source, target))

    def _arrive(self, packet: bytes, source: Address, target: Address) -> None:
        bound = self._bound.get(target)
        if bound is not None:
            self.arrived_s = self.ahead_s + self.now_s
            bound.handle(packet, source)


class PlayedSocket:
    """One end of a played network.

    Attributes:
        place: the address that it is bound to.
        handle: takes what comes.
    """

    def __init__(self, network: PlayedNetwork, place: Address, handle: Handler) -> None:
        self._network, self.place, self.handle = network, place, handle

    def sendto(self, packet: bytes, target: Address, /) -> int:
        """Send a packet."""
        self._network.carry(packet, self.place, target)
        return len(packet)

    def close(self) -> None:
        """Take nothing more."""
        self._network.unbind(self)


def _with_headers(payload: bytes, source: Address, target: Address) -> bytes:
    """Return a whole IPv4 packet; nobody looks at its checksums."""
    addresses = socket.inet_aton(source[0]), socket.inet_aton(target[0])
    length = 28 + len(payload)
    return _HEADERS.pack(0x45, 0, length, 0, 0, 64, 17, 0, *addresses, source[1], target[1], length - 20, 0) + payload
