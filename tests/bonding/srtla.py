"""SRTLA's sender and receiver with a network of its own for each link, written from the protocol's description.

Registration (REG1, REG2, REG3), keepalives on idle links, an answer to every ten data packets of a link, SRT's
acknowledgements over all links, everything else over the one used last.
"""

from __future__ import annotations

import struct
import time
from dataclasses import dataclass, field

from tests.bonding.network import Network

KEEPALIVE, ANSWER, REG1, REG2, REG3 = 0x9000, 0x9100, 0x9200, 0x9201, 0x9202
SRT_ACK = 0x8002
GROUP_BYTES = 256

Address = tuple[str, int]


@dataclass
class Path:
    """One link's network.

    Attributes:
        address: source address of the link.
        delay_s: one way.
        loss: share of data packets that are lost.
        weight: share of the packets it gets, relative to the others.
        is_cut: nothing passes.
        data, lost: data packets put on it, and lost.
        trips_s: when each answer left, and how long that was after the last packet it names had come: the delay both
            ways, and what this thread was late.
    """

    address: str
    delay_s: float
    loss: float
    weight: float = 1.0
    is_cut: bool = False
    data: int = 0
    lost: int = 0
    trips_s: list[tuple[float, float]] = field(default_factory=list, repr=False)
    credit: float = field(default=0.0, repr=False)


class Sender:
    """The device's end: SRT comes in on one port and leaves over the links."""

    def __init__(self, network: Network, srt_port: int, receiver: Address, paths: list[Path]) -> None:
        self._network, self._receiver, self._paths = network, receiver, paths
        self._srt = network.bind("127.0.0.1", srt_port, self._from_srt)
        self._client: Address | None = None
        self._used = dict.fromkeys((path.address for path in paths), 0.0)
        self._links = {
            path.address: network.bind(path.address, 0, lambda packet, _, at=path.address: self._from_link(packet, at))  # type: ignore[misc]
            for path in paths
        }
        self._group = bytes(network.chance.randrange(256) for _ in range(GROUP_BYTES))
        self._links[paths[0].address].sendto(struct.pack(">H", REG1) + self._group, receiver)
        self._tick()

    def _from_srt(self, packet: bytes, sender: Address) -> None:
        self._client = sender
        for path in self._paths:
            path.credit += path.weight
        best = max(self._paths, key=lambda path: path.credit)
        best.credit -= sum(path.weight for path in self._paths)
        self._used[best.address] = 1
        self._links[best.address].sendto(packet, self._receiver)

    def _from_link(self, packet: bytes, address: str) -> None:
        kind = int.from_bytes(packet[:2], "big")
        if kind == REG2:
            for link in self._links.values():
                link.sendto(packet, self._receiver)
        elif kind not in (KEEPALIVE, ANSWER, REG3) and self._client is not None:
            self._srt.sendto(packet, self._client)
        del address

    def _tick(self) -> None:
        """Ask the links over which nothing went in the last second."""
        for address, link in self._links.items():
            if not self._used[address]:
                link.sendto(struct.pack(">H", KEEPALIVE), self._receiver)
            self._used[address] = 0
        self._network.later(1.0, self._tick)


class Receiver:
    """The server's end, and the links' networks before it."""

    def __init__(self, network: Network, port: int, srt: Address, paths: list[Path]) -> None:
        self._network, self._srt = network, srt
        self._paths = {path.address: path for path in paths}
        self._links: dict[str, Address] = {}
        self._pending: dict[str, list[int]] = {path.address: [] for path in paths}
        self._last: str | None = None
        self._group = b""
        self._listener = network.bind("127.0.0.1", port, self._arrives)
        self._upstream = network.bind("127.0.0.1", 0, self._from_srt)

    def _arrives(self, packet: bytes, sender: Address) -> None:
        """Put a packet on its link's network."""
        path, arrived_s = self._paths[sender[0]], self._network.arrived_s
        self._links[sender[0]] = sender
        if not packet[0] & 0x80:
            path.data += 1
            if path.is_cut or self._network.chance.random() < path.loss:
                path.lost += 1
                return
        if not path.is_cut:
            self._network.later(path.delay_s, lambda: self._take(packet, path.address, arrived_s))

    def _take(self, packet: bytes, address: str, arrived_s: float) -> None:
        kind = int.from_bytes(packet[:2], "big")
        if kind == REG1:
            self._group = packet[2:]
            self._reply(struct.pack(">H", REG2) + self._group, address)
        elif kind == REG2 and packet[2:] == self._group:
            self._reply(struct.pack(">H", REG3), address)
        elif kind == KEEPALIVE:
            self._reply(packet, address)
        else:
            self._data(packet, address, arrived_s)

    def _data(self, packet: bytes, address: str, arrived_s: float) -> None:
        self._last = address
        self._upstream.sendto(packet, self._srt)
        if packet[0] & 0x80:
            return
        pending = self._pending[address]
        pending.append(int.from_bytes(packet[:4], "big"))
        if len(pending) == 10:
            self._reply(struct.pack(">HH10I", ANSWER, 0, *pending), address, arrived_s)
            pending.clear()

    def _from_srt(self, packet: bytes, _sender: Address) -> None:
        if int.from_bytes(packet[:2], "big") == SRT_ACK:
            for address in self._links:
                self._reply(packet, address)
        elif self._last is not None:
            self._reply(packet, self._last)

    def _reply(self, packet: bytes, address: str, arrived_s: float | None = None) -> None:
        path = self._paths[address]
        if not path.is_cut:
            self._network.later(path.delay_s, lambda: self._send(packet, path, arrived_s))

    def _send(self, packet: bytes, path: Path, arrived_s: float | None) -> None:
        self._listener.sendto(packet, self._links[path.address])
        if arrived_s is not None:
            path.trips_s.append((now_s := time.time(), now_s - arrived_s))
