"""A network in a thread, on the machine's own sockets: what is sent arrives later, or not.

Every packet is timed by the thread's own clock.
"""

from __future__ import annotations

import heapq
import queue
import random
import select
import selectors
import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence

from tests.bonding.network import Handler

_SO_TIMESTAMPNS = 35  # asm-generic/socket.h; Python has no name for it
_TIMESPEC = struct.Struct("@ll")


class KernelNetwork(threading.Thread):
    """Sockets whose packets are handled, and packets that are under way.

    Args:
        seed: of what is lost.

    Attributes:
        chance, arrived_s: as of every network; the kernel says when a packet had arrived.
    """

    def __init__(self, seed: int) -> None:
        super().__init__(daemon=True)
        self.chance = random.Random(seed)
        self.arrived_s = 0.0
        self._selector = selectors.DefaultSelector()
        self._late: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._is_over = False
        self._asked: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._timers: list[tuple[float, Callable[[], None]]] = []

    def bind(self, address: str, port: int, handle: Handler) -> socket.socket:
        """Open a socket and have its packets handled."""
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        made.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        made.setblocking(False)
        made.bind((address, port))
        self._selector.register(made, selectors.EVENT_READ, handle)
        return made

    def unbind(self, made: socket.socket) -> None:
        """Close a socket that `bind` has opened."""
        self._selector.unregister(made)
        made.close()

    def later(self, delay_s: float, step: Callable[[], None]) -> None:
        """Do something after a time."""
        self._count += 1
        heapq.heappush(self._late, (time.monotonic() + delay_s, self._count, step))

    def do(self, step: Callable[[], None]) -> None:
        """Do something between two packets, and wait until it is done."""
        done = threading.Event()
        self._asked.put(step)
        self._asked.put(done.set)
        assert done.wait(10)

    def wait(self, seconds: float, sockets: Sequence[socket.socket]) -> None:
        """Let time pass, or until one of some packet sockets is readable."""
        select.select(sockets, [], [], max(0.0, seconds))

    def run(self) -> None:
        """Work until `close`."""
        while not self._is_over:
            rest_s = self._late[0][0] - time.monotonic() if self._late else 0.05
            for key, _ in self._selector.select(max(0.0, min(rest_s, 0.02))):
                self._receive(key)
            while not self._asked.empty():
                self._asked.get()()
            while self._late and self._late[0][0] <= time.monotonic():
                heapq.heappop(self._late)[2]()

    def close(self) -> None:
        """End, and close the sockets."""
        self._is_over = True
        self.join()
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]
        self._selector.close()

    def _receive(self, key: selectors.SelectorKey) -> None:
        for _ in range(64):
            try:
                packet, notes, _, sender = key.fileobj.recvmsg(2048, 64)  # type: ignore[union-attr]
            except OSError:  # nothing left, nobody at the other end, or closed while it was handled
                return
            seconds, nanoseconds = _TIMESPEC.unpack(notes[0][2])
            self.arrived_s = seconds + nanoseconds / 1e9
            key.data(packet, sender)
