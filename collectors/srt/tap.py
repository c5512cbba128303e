"""The tap: the SRT connection and its links, from packet headers alone.

Reads what `filters` lets through, with CAP_NET_RAW and nothing else. Emits `SrtConnection` and `Link` states. Fails
with OSError where the right is missing.
"""

from __future__ import annotations

import math
import socket
import struct
import sys
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, closing

from collectors.srt import filters
from collectors.srt.columns import Columns, seconds
from collectors.srt.connection import SrtConnection
from collectors.srt.link import Link
from collectors.srt.ring import Counter, Packet, Ring, native

LOOPBACK = "lo"
ACK_BYTES = 72  # of IP, a full acknowledgement of SRT
CONTROL_FRAMES, CONTROL_FRAME_BYTES = 512, 512  # about 30 a second, 300 where much is lost
HEADER_FRAMES, HEADER_FRAME_BYTES = 8192, 128  # 23 Mbit/s for four seconds
ANSWER_FRAMES, ANSWER_FRAME_BYTES = 1024, 256  # likewise
START_FRAMES = 256
SAMPLES = 40  # of the packets of a look: more often than belacoder's controller looks

_HEADERS = 28  # IPv4 without options, and UDP
_PORTS = struct.Struct(">HH")
_ADDRESSES = struct.Struct("=II")  # source and target, as this machine reads their bytes


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
        self._acks: dict[str, tuple[tuple[int, str], Counter]] = {}  # by link: its place, and SRT's acknowledgements
        self._received: dict[str, int] = {}
        self._loopback = socket.if_nametoindex(LOOPBACK)
        self._receiver: int | None = None  # its address, as this machine reads the bytes
        self._listens_to: tuple[str | None, int | None, bool] = None, None, True
        with ExitStack() as opened:
            self._rings = [
                opened.enter_context(closing(Ring(program, frame_bytes, frames)))
                for program, frame_bytes, frames in (
                    (filters.control(self._loopback, srt_port, srtla_port), CONTROL_FRAME_BYTES, CONTROL_FRAMES),
                    (filters.uplinks(srtla_port), HEADER_FRAME_BYTES, HEADER_FRAMES),
                    (filters.answers(srtla_port), ANSWER_FRAME_BYTES, ANSWER_FRAMES),
                )
            ]
            self._first, self._again = (
                opened.enter_context(
                    closing(Counter(filters.encoder_data(self._loopback, srt_port, retransmitted=again)))
                )
                for again in (False, True)
            )
            self._opened = opened.pop_all()
        self._control, self._headers, self._answers = self._rings
        self.follow(addresses)

    def follow(self, addresses: Sequence[str]) -> None:
        """Begin with links that are new, forget those that are gone."""
        for address in [address for address in self.links if address not in addresses]:
            del self._by_number[native(address)]
            del self.links[address]
            self._forget_acks(address)
        for address in addresses:
            if address not in self.links:
                self.links[address] = self._by_number[native(address)] = Link()

    def drain(self, now_s: float) -> None:
        """Take in what has come.

        Args:
            now_s: wall clock, seconds.
        """
        begun = self.connection.begun
        shows_data = self._take_sent()
        self._take_answers()
        for packet in self._control.packets():
            self.take(packet)
        self.connection.reach(math.inf)
        if self.connection.begun != begun:
            for link in self.links.values():
                link.packets.begin()
        missed = sum(ring.lost() for ring in self._rings)
        self.missed_now = missed > 0
        if missed:
            self.missed += missed
            self.connection.miss(now_s)
            for link in self.links.values():
                link.miss()
        self._listen(shows_data=shows_data)
        fresh = {address: self._count_acks(address, link) for address, link in self.links.items()}
        for address, link in self.links.items():
            if fresh[address]:
                link.hear(now_s)
            elif any(fresh.values()) and self._received.get(address):
                link.lack()
            link.packets.close_batch(now_s, self._is_lost)

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

    def window(self) -> tuple[int, int]:
        """Return how many packets left over all links in the last seconds, and how many of them are lost."""
        windows = [link.packets.window() for link in self.links.values()]
        return sum(sent for sent, _ in windows), sum(lost for _, lost in windows)

    def received_bytes(self, address: str) -> int:
        """Return the bytes of SRT's acknowledgements that have come over a link since the start."""
        return self._received.get(address, 0) * ACK_BYTES

    def is_reported(self, number: int) -> bool:
        """Return whether the receiver has reported a packet lost."""
        return self.connection.losses.has(number)

    def receiver(self) -> str | None:
        """Return the receiver's address, None before anything was sent to it."""
        return None if self._receiver is None else socket.inet_ntoa(self._receiver.to_bytes(4, sys.byteorder))

    @property
    def overdue_at_s(self) -> float:
        """When the first link, or the connection, is silent for too long unless something comes."""
        return min(self.connection.silent_at_s, *(link.down_at_s for link in self.links.values()), math.inf)

    def close(self) -> None:
        """Give up the sockets."""
        self.follow([])
        self._opened.close()

    def _take_sent(self) -> bool:
        """Take in the data packets that have left; return whether a link that is known carried any."""
        is_known = False
        for view in self._headers.blocks():
            columns = Columns(view, HEADER_FRAME_BYTES)
            packets, sources = columns.sent(), columns.sources
            for source in self._by_number.keys() & sources:
                self._by_number[source].send(packets, list(map(source.__eq__, sources)))
                self._receiver = columns.targets[sources.index(source)]
            step = 1 + len(sources) // SAMPLES
            picked = [at for at in range(len(sources) - 1, -1, -step) if sources[at] in self._by_number]
            if picked:
                is_known = True
                numbers = [(seconds(packets.stamps[at]), socket.ntohl(packets.numbers[at])) for at in reversed(picked)]
                self.connection.send(numbers, packets.lengths[-1] - _HEADERS)
        return is_known

    def _take_answers(self) -> None:
        for view in self._answers.blocks():
            columns = Columns(view, ANSWER_FRAME_BYTES)
            answers = columns.answers()
            if set(columns.sources) != {self._receiver}:
                continue  # until the kernel leaves out what is of strangers
            for target in self._by_number.keys() & columns.targets:
                self._by_number[target].acknowledge(answers.which(map(target.__eq__, columns.targets)))

    def _listen(self, *, shows_data: bool) -> None:
        """Have the kernel leave out what is known to be of strangers, or to be seen on the links."""
        wanted = self.receiver(), self.connection.encoder, not shows_data
        if wanted != self._listens_to:
            receiver, encoder, samples = wanted
            self._control.filter(filters.control(self._loopback, *self.ports, receiver, encoder, samples=samples))
            self._answers.filter(filters.answers(self.ports[1], receiver))
            self._listens_to = wanted

    def _is_lost(self, number: int) -> bool:
        """Return whether a packet that no link's answer names is lost: only its own answer may be."""
        connection = self.connection
        if connection.losses.has(number):
            return True
        if not connection.losses.lost and self._again.total:
            return True  # a receiver that reports no losses: what is missing is sent again nevertheless
        return connection.is_acknowledged(number) is False

    def _count_acks(self, address: str, link: Link) -> int:
        """Count SRT's acknowledgements over a link since the last look, on the interface that it is on."""
        receiver = self.receiver()
        if not link.interface or receiver is None:
            return 0
        place = link.interface, receiver
        known, counter = self._acks.get(address, (None, None))
        if counter is None or known != place:
            self._forget_acks(address)
            self._acks[address] = place, Counter(filters.srt_acks(address, self.ports[1], receiver, link.interface))
            return 0
        before = counter.total
        fresh = counter.read() - before
        self._received[address] = self._received.get(address, 0) + fresh
        return fresh

    def _forget_acks(self, address: str) -> None:
        if address in self._acks:
            self._acks.pop(address)[1].close()
