"""What both networks of the tests have in common, and a path between two programs on one.

`KernelNetwork` has sockets and the machine's clock: real programs and the real packet sockets see its packets.
`PlayedNetwork` has neither: what happens on it is the same on any machine.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, Protocol

Address = tuple[str, int]
Handler = Callable[[bytes, Address], None]


class Socket(Protocol):
    """One end of a network."""

    def sendto(self, packet: bytes, target: Address, /) -> int:
        """Send a packet."""

    def close(self) -> None:
        """Take nothing more."""


class Network(Protocol):
    """Sockets whose packets are handled, and packets that are under way.

    Attributes:
        chance: of what is lost.
        arrived_s: when the packet that is handled now had arrived: a busy machine may have it wait for a while.
    """

    chance: random.Random
    arrived_s: float

    def bind(self, address: str, port: int, handle: Handler) -> Socket:
        """Open a socket and have its packets handled."""

    def unbind(self, made: Any) -> None:
        """Close a socket that `bind` has opened."""

    def later(self, delay_s: float, step: Callable[[], None]) -> None:
        """Do something after a time."""

    def do(self, step: Callable[[], None]) -> None:
        """Do something between two packets, and wait until it is done."""

    def wait(self, seconds: float, sockets: Sequence[Any]) -> None:
        """Let time pass, or until one of some packet sockets is readable."""

    def start(self) -> None:
        """Begin."""

    def close(self) -> None:
        """End, and close the sockets."""


class Relay:
    """A path with a delay each way and a loss, between who sends to it and a target.

    Attributes:
        sent, lost: packets towards the target.
    """

    def __init__(self, network: Network, port: int, target: Address, delay_s: float, loss: float) -> None:
        self._network, self._delay_s, self._loss = network, delay_s, loss
        self.sent = self.lost = 0
        self._client: Address | None = None
        self._target = target
        self._near = network.bind("127.0.0.1", port, self._forward)
        self._far = network.bind("127.0.0.1", 0, self._back)

    def _forward(self, packet: bytes, sender: Address) -> None:
        self._client = sender
        self.sent += 1
        is_data = not packet[0] & 0x80
        if is_data and self._network.chance.random() < self._loss:
            self.lost += 1
        else:
            self._network.later(self._delay_s, lambda: self._send(self._far, packet, self._target))

    def _back(self, packet: bytes, _sender: Address) -> None:
        self._network.later(self._delay_s, lambda: self._client and self._send(self._near, packet, self._client))

    @staticmethod
    def _send(source: Socket, packet: bytes, target: Address) -> None:
        try:
            source.sendto(packet, target)
        except OSError:
            pass  # the other end is not there: a network says nothing either
