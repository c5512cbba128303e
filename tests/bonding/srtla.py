"""SRTLA's sender and receiver with a network of its own for each link, which behave as the real ones do.

Written from the protocol as srtla_send.c, srtla_rec.c and common.h of BELABOX/srtla have it (commit 37862da): a link
that has heard nothing asks to join (REG2), is told that its group is unknown (NGP), registers one (REG1, REG2) and
joins it (REG2, REG3); a link that has heard nothing for four seconds asks to join again; one that was idle is
kept alive; packets go over the link with the largest window for what is in flight, which answers widen and loss reports
narrow. The receiver answers every ten data packets of a link, sends SRT's acknowledgements over all links, everything
else over the one it heard last, and forgets a link after ten seconds. irlserver's and CERALIVE's receivers send loss
reports over all links too, and fill their own answers up to 32 bytes: recorded in tests/fixtures/srtla, as the rest.
"""

from __future__ import annotations

import math
import struct
import time
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from tests.bonding.network import Address, Network, Socket

KEEPALIVE, ANSWER, REG1, REG2, REG3, NGP = 0x9000, 0x9100, 0x9200, 0x9201, 0x9202, 0x9211
SRT_ACK, SRT_NAK = 0x8002, 0x8003
GROUP_BYTES, FORK_ANSWER_BYTES = 256, 32
SRT_LEAST = 16  # bytes
SENDER_SILENT_S, RECEIVER_SILENT_S = 4, 10
REGISTRATION_S = 4
WINDOW_LEAST, WINDOW_FIRST, WINDOW_MOST, WINDOW_LOSS, WINDOW_GAIN = 1_000, 20_000, 60_000, 100, 29
LOGGED = 256  # packets


@dataclass
class Path:
    """One link's network.

    Attributes:
        address: source address of the link.
        delay_s: one way.
        loss: share of data packets that are lost.
        rate_bps: what it carries; the rest waits.
        spread_s: how much later than `delay_s` a packet may come, at random: they overtake each other.
        is_cut: nothing passes.
        translations: how often its public address has changed; set it to change it once more.
        data, lost: data packets put on it, and lost.
        trips_s: when each answer left, and how long that was after the last packet it names had come: the delay both
            ways, and what this thread was late.
    """

    address: str
    delay_s: float
    loss: float = 0.0
    rate_bps: float = math.inf
    spread_s: float = 0.0
    is_cut: bool = False
    translations: int = 0
    data: int = 0
    lost: int = 0
    trips_s: list[tuple[float, float]] = field(default_factory=list, repr=False)
    busy_until_s: float = field(default=0.0, repr=False)

    def loses(self, chance: float) -> bool:
        """Return whether a data packet is lost."""
        return chance < self.loss

    def crossing_s(self, length: int, now_s: float, chance: float) -> float:
        """Return how long a packet takes that is put on the path now."""
        self.busy_until_s = max(self.busy_until_s, now_s) + length * 8 / self.rate_bps
        return self.busy_until_s - now_s + self.delay_s + self.spread_s * chance


@dataclass
class _Link:
    """One of the sender's links, as its `conn_t`."""

    address: str
    socket: Socket | None = None
    received_s: float = -math.inf
    sent_s: float = -math.inf
    window: int = WINDOW_FIRST
    in_flight: int = 0
    has_received: bool = False
    log: deque[int] = field(default_factory=lambda: deque(maxlen=LOGGED))

    def score(self) -> int:
        """Return how much it may still be given."""
        return self.window // (self.in_flight + 1)


class Sender:
    """The device's end: SRT comes in on one port and leaves over the links.

    Args:
        network: handles its packets.
        srt_port: where it listens for the encoder.
        receiver: where it sends to.
        addresses: source addresses of its links; one that this machine does not have is tried again.
    """

    def __init__(self, network: Network, srt_port: int, receiver: Address, addresses: Iterable[str]) -> None:
        self._network, self._receiver = network, receiver
        self._srt = network.bind("127.0.0.1", srt_port, self._from_srt)
        self._client: Address | None = None
        self._group = bytes(network.chance.randrange(256) for _ in range(GROUP_BYTES))
        self._registering: _Link | None = None
        self._registering_until_s = 0.0
        self._active = 0
        self._links: dict[str, _Link] = {}
        self._is_over = False
        self.follow(addresses)
        self._keep_house()

    def follow(self, addresses: Iterable[str]) -> None:
        """Take a new list of addresses, as after SIGHUP."""
        wanted = list(addresses)
        for address in [address for address in self._links if address not in wanted]:
            gone = self._links.pop(address)
            if gone.socket is not None:
                self._network.unbind(gone.socket)
        for address in wanted:
            if address not in self._links:
                self._links[address] = _Link(address)
                self._open(self._links[address])

    def close(self) -> None:
        """End as a killed program does."""
        self._is_over = True
        self.follow([])
        self._network.unbind(self._srt)

    def _open(self, link: _Link) -> None:
        with suppress(OSError):
            link.socket = self._network.bind(link.address, 0, lambda packet, _: self._from_link(packet, link))

    def _from_srt(self, packet: bytes, sender: Address) -> None:
        self._client = sender
        now_s = time.monotonic()
        alive = [link for link in self._links.values() if now_s - link.received_s <= SENDER_SILENT_S]
        if not alive:
            return
        best = max(alive, key=_Link.score)
        best.sent_s = now_s
        if self._send(best, packet) and not packet[0] & 0x80:
            best.log.append(int.from_bytes(packet[:4], "big"))
            best.in_flight += 1

    def _send(self, link: _Link, packet: bytes) -> bool:
        try:
            if link.socket is not None:
                link.socket.sendto(packet, self._receiver)
        except OSError:
            link.received_s = -math.inf
            return False
        return link.socket is not None

    def _from_link(self, packet: bytes, link: _Link) -> None:
        kind, now_s = int.from_bytes(packet[:2], "big"), time.monotonic()
        if kind == NGP:
            if not self._active and self._registering is None and now_s > self._registering_until_s:
                self._send(link, struct.pack(">H", REG1) + self._group)
                self._registering, self._registering_until_s = link, now_s + REGISTRATION_S
            return
        if kind == REG2:
            if self._registering is link and packet[2 : 2 + GROUP_BYTES // 2] == self._group[: GROUP_BYTES // 2]:
                self._group = packet[2 : 2 + GROUP_BYTES]
                for each in self._links.values():
                    self._send(each, struct.pack(">H", REG2) + self._group)
                self._registering, self._registering_until_s = None, now_s + REGISTRATION_S
            return
        link.received_s, link.has_received = now_s, True
        if kind == REG3:
            self._active += 1
        elif kind == ANSWER:
            self._take_answer(packet)
        elif kind != KEEPALIVE:
            self._to_srt(kind, packet)

    def _to_srt(self, kind: int, packet: bytes) -> None:
        if kind == SRT_ACK and len(packet) >= 20:
            acked = int.from_bytes(packet[16:20], "big")
            for link in self._links.values():
                link.log = deque((number for number in link.log if number >= acked), LOGGED)
                link.in_flight = len(link.log)
        elif kind == SRT_NAK:
            for number in reported(packet):
                for link in [link for link in self._links.values() if number in link.log][:1]:
                    link.window = max(WINDOW_LEAST, link.window - WINDOW_LOSS)
        if self._client is not None:
            self._srt.sendto(packet, self._client)

    def _take_answer(self, packet: bytes) -> None:
        for (number,) in struct.iter_unpack(">I", packet[4:44]):
            for link in self._links.values():
                if number in link.log:
                    link.log.remove(number)
                    link.in_flight = max(0, link.in_flight - 1)
                    link.window += WINDOW_GAIN if link.in_flight * 1_000 > link.window else 0
                link.window = min(WINDOW_MOST, link.window + link.has_received)

    def _keep_house(self) -> None:
        """Ask, once a second, over the links that are silent or idle."""
        if self._is_over:
            return
        now_s = time.monotonic()
        self._active = 0
        if self._registering is not None and now_s > self._registering_until_s:
            self._registering = None
        for link in self._links.values():
            self._tend(link, now_s)
        self._network.later(1.0, self._keep_house)

    def _tend(self, link: _Link, now_s: float) -> None:
        if link.socket is None:
            self._open(link)
        elif now_s - link.received_s > SENDER_SILENT_S:
            if link.has_received:
                link.has_received, link.sent_s, link.window, link.in_flight = False, -math.inf, WINDOW_LEAST, 0
                link.log.clear()
            if self._registering is None:
                self._send(link, struct.pack(">H", REG2) + self._group)
            elif self._registering is link:
                self._send(link, struct.pack(">H", REG1) + self._group)
        else:
            self._active += 1
            if now_s - link.sent_s > 1:
                self._send(link, struct.pack(">H", KEEPALIVE))


@dataclass
class _Member:
    """One of the receiver's links: by its public address, as its `conn_t`."""

    sender: Address
    heard_s: float
    pending: list[int] = field(default_factory=list)


Public = tuple[str, int, int]  # a link's address and port, and how often they were translated to others


class Receiver:
    """The server's end, and the links' networks before it.

    Args:
        network: handles its packets.
        port: where it listens.
        srt: where SRT's receiver listens.
        paths: the networks by which it is reached.

    Attributes:
        is_deaf: it takes nothing and says nothing: it was killed.
        is_fork: it is irlserver's or CERALIVE's.
    """

    def __init__(self, network: Network, port: int, srt: Address, paths: list[Path]) -> None:
        self._network, self._srt = network, srt
        self._paths = {path.address: path for path in paths}
        self.is_deaf = self.is_fork = False
        self._members: dict[Public, _Member] = {}
        self._last: Public | None = None
        self._group = b""
        self._upstream: Socket | None = None
        self._listener = network.bind("127.0.0.1", port, self._arrives)

    def forget(self) -> None:
        """Begin without a memory, as after a restart."""
        self._members.clear()
        self._group, self._last = b"", None
        if self._upstream is not None:
            self._network.unbind(self._upstream)
            self._upstream = None

    def add(self, path: Path) -> None:
        """Let it be reached by one more network."""
        self._paths[path.address] = path

    def _arrives(self, packet: bytes, sender: Address) -> None:
        """Put a packet on its link's network."""
        path, arrived_s = self._paths[sender[0]], self._network.arrived_s
        public = *sender, path.translations
        if not packet[0] & 0x80:
            path.data += 1
            if path.is_cut or path.loses(self._network.chance.random()):
                path.lost += 1
                return
        if not path.is_cut:
            delay_s = path.crossing_s(len(packet) + 28, time.monotonic(), self._network.chance.random())
            self._network.later(delay_s, lambda: self._take(packet, public, sender, arrived_s))

    def _take(self, packet: bytes, public: Public, sender: Address, arrived_s: float) -> None:
        if self.is_deaf:
            return
        kind, now_s = int.from_bytes(packet[:2], "big"), time.monotonic()
        if kind == REG1:
            if public not in self._members:
                half = GROUP_BYTES // 2
                self.forget()  # a sender that was started again
                self._group = packet[2 : 2 + half] + bytes(self._network.chance.randrange(256) for _ in range(half))
                self._reply(struct.pack(">H", REG2) + self._group, public, sender)
        elif kind == REG2:
            if not self._group or packet[2:] != self._group:
                self._reply(self._filled(struct.pack(">H", NGP)), public, sender)
                return
            self._members.setdefault(public, _Member(sender, now_s)).sender = sender
            self._last = public
            self._reply(self._filled(struct.pack(">H", REG3)), public, sender)
        elif public in self._members:
            self._from_member(packet, public, now_s, arrived_s)

    def _from_member(self, packet: bytes, public: Public, now_s: float, arrived_s: float) -> None:
        member = self._members[public]
        member.heard_s = now_s
        if int.from_bytes(packet[:2], "big") == KEEPALIVE:
            self._reply(self._filled(packet), public, member.sender)
            return
        if len(packet) < SRT_LEAST:
            return
        self._last = public
        if not packet[0] & 0x80:
            member.pending.append(int.from_bytes(packet[:4], "big"))
            if len(member.pending) == 10:
                answer = struct.pack(">HH10I", ANSWER, 0, *member.pending)
                self._reply(answer, public, member.sender, arrived_s)
                member.pending.clear()
        if self._upstream is None:
            self._upstream = self._network.bind("127.0.0.1", 0, self._from_srt)
        with suppress(OSError):
            self._upstream.sendto(packet, self._srt)

    def _from_srt(self, packet: bytes, _sender: Address) -> None:
        now_s = time.monotonic()
        self._members = {
            public: member for public, member in self._members.items() if now_s - member.heard_s < RECEIVER_SILENT_S
        }
        kind = int.from_bytes(packet[:2], "big")
        if kind == SRT_ACK or (kind == SRT_NAK and self.is_fork):
            for public, member in self._members.items():
                self._reply(packet, public, member.sender)
        elif self._last in self._members:
            self._reply(packet, self._last, self._members[self._last].sender)

    def _filled(self, answer: bytes) -> bytes:
        return answer.ljust(FORK_ANSWER_BYTES, b"\0") if self.is_fork else answer

    def _reply(self, packet: bytes, public: Public, sender: Address, arrived_s: float | None = None) -> None:
        path = self._paths[public[0]]
        if not path.is_cut and not self.is_deaf:
            delay_s = path.delay_s + path.spread_s * self._network.chance.random()
            self._network.later(delay_s, lambda: self._send(packet, path, sender, public[2], arrived_s))

    def _send(self, packet: bytes, path: Path, sender: Address, translations: int, arrived_s: float | None) -> None:
        if path.is_cut or path.translations != translations:
            return  # nobody has that public address any more
        with suppress(OSError):
            self._listener.sendto(packet, sender)
        if arrived_s is not None:
            path.trips_s.append((now_s := time.time(), now_s - arrived_s))


def reported(packet: bytes) -> Iterable[int]:
    """Give the numbers of the packets that a loss report names."""
    words = iter(number for (number,) in struct.iter_unpack(">I", packet[16 : len(packet) // 4 * 4]))
    for word in words:
        if word >> 31:
            first = word & 0x7FFF_FFFF
            yield from range(first, min(next(words, 0) + 1, first + LOGGED))
        else:
            yield word
