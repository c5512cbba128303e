"""The tap: the SRT connection and its links, from packet headers alone.

Reads what `filters` lets through, with CAP_NET_RAW and nothing else. Emits `SrtConnection` and `Link` states. Fails
with OSError where the right is missing.
"""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Iterable, Sequence

from collectors.srt import filters
from collectors.srt.connection import SrtConnection
from collectors.srt.link import Link
from collectors.srt.ring import DATA_AT, Counter, Packet, Ring, native

LOOPBACK = "lo"
ACK_BYTES = 72  # of IP, a full acknowledgement of SRT
CONTROL_FRAMES, CONTROL_FRAME_BYTES = 1024, 512  # about 300 a second; the rings are read every half
HEADER_FRAMES, HEADER_FRAME_BYTES = 8192, 128  # 23 Mbit/s for four seconds
START_FRAMES = 256

_HEADERS = 28  # IPv4 without options, and UDP
_PORTS = struct.Struct(">HH")
_ADDRESSES = struct.Struct("=II")  # source and target, as this machine reads their bytes
# Of one frame of the ring of headers: length, time, interface, source and target address, first word of the payload.
_HEADER = struct.Struct(f"=4xI8xII12xi{DATA_AT + 12 - 40}xII8xI{HEADER_FRAME_BYTES - DATA_AT - 32}x")


class Starts:
    """What a stream begins with, whatever its ports: kept until the stream's programs are found.

    Attributes:
        socket: readable when a stream begins.

    Raises:
        OSError: no right to it.
    """

    def __init__(self) -> None:
        self._ring = Ring(filters.starts(socket.if_nametoindex(LOOPBACK)), CONTROL_FRAME_BYTES, START_FRAMES)
        self.socket = self._ring.socket

    def packets(self) -> list[Packet]:
        """Return what has come since the last call."""
        return list(self._ring.packets())

    def close(self) -> None:
        """Give up the socket."""
        self._ring.close()


class Tap:
    """Sockets on one stream.

    Args:
        srt_port: where srtla_send listens.
        srtla_port: the receiver's.
        addresses: source address of each link.

    Attributes:
        ports: as given.
        connection: the SRT connection.
        links: by source address.
        missed: packets the tap itself missed since the start.
        missed_now: and whether it did at the last `drain`: then nothing can be said that is counted.

    Raises:
        OSError: no right to it.
    """

    def __init__(self, srt_port: int, srtla_port: int, addresses: Sequence[str]) -> None:
        self.ports = srt_port, srtla_port
        self.connection = SrtConnection()
        self.links: dict[str, Link] = {}
        self.missed = 0
        self.missed_now = False
        self._by_number: dict[int, Link] = {}
        self._answers: dict[str, Counter] = {}
        self._answered: dict[str, tuple[int, str]] = {}
        self._received: dict[str, int] = {}
        self._loopback = socket.if_nametoindex(LOOPBACK)
        self._receiver: int | None = None  # its address, as this machine reads the bytes
        self._listens_to: tuple[str | None, int | None] = None, None
        self._control = Ring(filters.control(self._loopback, srt_port, srtla_port), CONTROL_FRAME_BYTES, CONTROL_FRAMES)
        opened: list[Ring | Counter] = [self._control]
        try:
            self._headers = Ring(filters.uplinks(srtla_port), HEADER_FRAME_BYTES, HEADER_FRAMES)
            opened.append(self._headers)
            self._first = Counter(filters.encoder_data(self._loopback, srt_port, retransmitted=False))
            opened.append(self._first)
            self._again = Counter(filters.encoder_data(self._loopback, srt_port, retransmitted=True))
        except OSError:
            for one in opened:
                one.close()
            raise
        self.follow(addresses)

    def follow(self, addresses: Sequence[str]) -> None:
        """Begin with links that are new, forget those that are gone."""
        for address in [address for address in self.links if address not in addresses]:
            del self._by_number[native(address)]
            del self.links[address]
            self._forget_answers(address)
        for address in addresses:
            if address not in self.links:
                self.links[address] = self._by_number[native(address)] = Link()

    def drain(self, now_s: float) -> None:
        """Take in what has come.

        Args:
            now_s: wall clock, seconds.
        """
        begun = self.connection.begun
        self._take_headers()
        for packet in self._control.packets():
            self.take(packet)
        if self.connection.begun != begun:
            for link in self.links.values():
                link.packets.begin()
        missed = self._control.lost() + self._headers.lost()
        self.missed_now = missed > 0
        if missed:
            self.missed += missed
            self.connection.miss(now_s)
            for link in self.links.values():
                link.miss()
        self._listen()
        for address, link in self.links.items():
            self._count_answers(address, link, now_s)
            link.close_batch(now_s, self._is_lost)

    def take(self, packet: Packet) -> None:
        """Take in one control packet."""
        at_s, interface, is_outgoing, length, data = packet
        source_port, target_port = _PORTS.unpack_from(data, 20)
        srt_port, srtla_port = self.ports
        if target_port == srtla_port and is_outgoing:
            source, self._receiver = _ADDRESSES.unpack_from(data, 12)
            link = self._by_number.get(source)
            if link is not None:
                link.ask(at_s, data[_HEADERS:], interface)
        elif source_port == srtla_port and not is_outgoing:
            source, target = _ADDRESSES.unpack_from(data, 12)
            link = self._by_number.get(target)
            if link is not None and source == self._receiver:
                link.answer(at_s, data[_HEADERS:], interface)
        elif interface == self._loopback:
            is_from_encoder = target_port == srt_port
            if is_from_encoder or source_port == srt_port:
                self.connection.take(at_s, data[_HEADERS:], length - _HEADERS, is_from_encoder=is_from_encoder)

    def replay(self, packets: Iterable[Packet]) -> None:
        """Take in what came before the tap was there."""
        for packet in packets:
            self.take(packet)

    def sent(self) -> tuple[int, int]:
        """Return how many packets the encoder has sent since the start: first time, and again."""
        return self._first.read(), self._again.read()

    def received_bytes(self, address: str) -> int:
        """Return the bytes of SRT's acknowledgements that have come over a link since the start."""
        return self._received.get(address, 0) * ACK_BYTES

    def is_reported(self, number: int) -> bool:
        """Return whether the receiver has reported a packet lost."""
        return self.connection.losses.has(number)

    def receiver(self) -> str | None:
        """Return the receiver's address, None before anything was sent to it."""
        return None if self._receiver is None else socket.inet_ntoa(self._receiver.to_bytes(4, sys.byteorder))

    def close(self) -> None:
        """Give up the sockets."""
        for counter in (self._first, self._again, *self._answers.values()):
            counter.close()
        for ring in (self._control, self._headers):
            ring.close()

    def _take_headers(self) -> None:
        links = self._by_number
        receiver = None
        for view in self._headers.blocks():
            for length, seconds, nanoseconds, interface, source, target, number in _HEADER.iter_unpack(view):
                link = links.get(source)
                if link is not None:
                    link.send(seconds + nanoseconds * 1e-9, number, length, interface)
                    receiver = target
        if receiver is not None:
            self._receiver = receiver

    def _listen(self) -> None:
        """Have the kernel leave out what is known to be of strangers."""
        wanted = self.receiver(), self.connection.encoder
        if wanted != self._listens_to:
            self._control.filter(filters.control(self._loopback, *self.ports, *wanted))
            self._listens_to = wanted

    def _is_lost(self, number: int) -> bool:
        """Return whether a packet that no link's answer names is lost: only its own answer may be."""
        connection = self.connection
        if connection.losses.has(number):
            return True
        if not connection.losses.lost and self._again.total:
            return True  # a receiver that reports no losses: what is missing is sent again nevertheless
        return connection.is_acknowledged(number) is False

    def _count_answers(self, address: str, link: Link, now_s: float) -> None:
        """Count SRT's acknowledgements over a link, on the interface that it is on: they are a sign of life too."""
        receiver = self.receiver()
        if not link.interface or receiver is None:
            return
        place = link.interface, receiver
        if self._answered.get(address) != place:
            self._forget_answers(address)
            self._answers[address] = Counter(filters.srt_acks(address, self.ports[1], receiver, link.interface))
            self._answered[address] = place
            return
        counter = self._answers[address]
        before = counter.total
        fresh = counter.read() - before
        if fresh:
            self._received[address] = self._received.get(address, 0) + fresh
            link.hear(now_s)

    def _forget_answers(self, address: str) -> None:
        self._answered.pop(address, None)
        counter = self._answers.pop(address, None)
        if counter is not None:
            counter.close()
