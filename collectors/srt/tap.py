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
from collectors.srt.columns import answer_columns
from collectors.srt.connection import SrtConnection
from collectors.srt.link import Link
from collectors.srt.ring import Counter, Packet, Ring, native
from collectors.srt.uplink import Uplink

LOOPBACK = "lo"
ACK_BYTES = 72  # of IP, a full acknowledgement of SRT
CONTROL_FRAMES, CONTROL_FRAME_BYTES = 512, 512  # about 30 a second, 300 where much is lost
ANSWER_FRAMES, ANSWER_FRAME_BYTES = 1024, 256  # likewise
START_FRAMES = 256
TROUBLE_PERCENT = 2
MOST_LINKS = 16  # srtla_rec takes 8 in a group, its forks 16; each has a ring of half a megabyte
SAMPLES = 60  # of the packets of a look: more often than belacoder's controller looks

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
        is_troubled: much was reported lost between the last two.

    Raises:
        OSError: no right to it.
    """

    def __init__(self, srt_port: int, srtla_port: int, addresses: Sequence[str]) -> None:
        self.ports = srt_port, srtla_port
        self.connection = SrtConnection()
        self.links: dict[str, Link] = {}
        self.missed = 0
        self.missed_now = self.is_troubled = False
        self._drained_s = math.inf
        self._uplinks: dict[int, Uplink] = {}  # by source address, as this machine reads its bytes
        self._loopback = socket.if_nametoindex(LOOPBACK)
        self._receiver: int | None = None  # its address, as this machine reads the bytes
        self._listens_to: tuple[str | None, int | None, bool] = None, None, True
        with ExitStack() as opened:
            self._rings = [
                opened.enter_context(closing(Ring(program, frame_bytes, frames)))
                for program, frame_bytes, frames in (
                    (filters.control(self._loopback, srt_port, srtla_port), CONTROL_FRAME_BYTES, CONTROL_FRAMES),
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
        self._control, self._answers = self._rings
        try:
            self.follow(addresses)
        except BaseException:
            self.close()
            raise

    def follow(self, addresses: Sequence[str]) -> None:
        """Begin with links that are new, forget those that are gone.

        Raises:
            OSError: the kernel has no memory for another ring.
        """
        addresses = addresses[:MOST_LINKS]
        for address in [address for address in self.links if address not in addresses]:
            del self.links[address]
            self._uplinks.pop(native(address)).close()
        for address in addresses:
            if address not in self.links:
                uplink = self._uplinks[native(address)] = Uplink(address, self.ports[1])
                self.links[address] = uplink.link

    def drain(self, now_s: float) -> None:
        """Take in what has come.

        Args:
            now_s: wall clock, seconds.
        """
        begun, before = self.connection.begun, self._counted()
        shows_data = self._take_sent()
        self._take_answers()
        for packet in self._control.packets():
            self.take(packet)
        self.connection.reach(math.inf)
        if self.connection.begun != begun:
            for link in self.links.values():
                link.packets.begin()
        missed = sum(ring.lost() for ring in (*self._rings, *(uplink.ring for uplink in self._uplinks.values())))
        self.missed_now = missed > 0
        if missed:
            self.missed += missed
            self.connection.miss(now_s)
            for link in self.links.values():
                link.miss()
        self._listen(shows_data=shows_data)
        sent, reported = (now - then for now, then in zip(self._counted(), before, strict=True))
        self.is_troubled = 100 * reported > TROUBLE_PERCENT * sent
        self._hear_acks(now_s)
        for link in self.links.values():
            link.packets.close_batch(now_s, self._in_doubt)

    def take(self, packet: Packet) -> None:
        """Take in one control packet."""
        at_s, interface, is_outgoing, length, data = packet
        source_port, target_port = _PORTS.unpack_from(data, 20)
        srt_port, srtla_port = self.ports
        if target_port == srtla_port and is_outgoing:
            source, self._receiver = _ADDRESSES.unpack_from(data, 12)
            if source in self._uplinks:
                self._uplinks[source].link.ask(at_s, data[_HEADERS:], interface)
        elif source_port == srtla_port and not is_outgoing:
            source, target = _ADDRESSES.unpack_from(data, 12)
            if target in self._uplinks and source == self._receiver:
                self._uplinks[target].link.answer(at_s, data[_HEADERS:], interface)
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
        for counter in (self._first, self._again):
            counter.read()
        return self._first.total, self._again.total

    def window(self) -> tuple[int, int]:
        """Return how many packets left over all links in the last seconds, and how many of them are lost."""
        windows = [link.packets.window() for link in self.links.values()]
        return sum(sent for sent, _ in windows), sum(lost for _, lost in windows)

    def received_bytes(self, address: str) -> int:
        """Return the bytes of SRT's acknowledgements that have come over a link since the start."""
        return self._uplinks[native(address)].acks * ACK_BYTES

    def receiver(self) -> str | None:
        """Return the receiver's address, None before anything was sent to it."""
        return None if self._receiver is None else socket.inet_ntoa(self._receiver.to_bytes(4, sys.byteorder))

    def overdue_at_s(self, after_s: float) -> float:
        """Return when the next link, or the connection, is silent for too long unless something comes."""
        times_s = self.connection.silent_at_s, *(link.down_at_s for link in self.links.values())
        return min((at_s for at_s in times_s if at_s > after_s), default=math.inf)

    def close(self) -> None:
        """Give up the sockets."""
        self.follow([])
        self._opened.close()

    def _take_sent(self) -> bool:
        """Take in the data packets that have left; return whether there were any."""
        found: list[tuple[float, int]] = []
        length = 0
        for uplink in self._uplinks.values():
            some, payload_bytes = uplink.take_sent(SAMPLES // len(self._uplinks) + 1)
            if some:
                found += some
                length, self._receiver = payload_bytes, uplink.receiver
        if found:
            self.connection.send(sorted(found), length)
        return bool(found)

    def _take_answers(self) -> None:
        for view in self._answers.blocks():
            answers, sources, targets = answer_columns(view, ANSWER_FRAME_BYTES)
            if set(sources) != {self._receiver}:
                continue  # until the kernel leaves out what is of strangers
            for target in self._uplinks.keys() & targets:
                self._uplinks[target].link.acknowledge(answers.which([one == target for one in targets]))

    def _counted(self) -> tuple[int, int]:
        """Return how many packets have left over the links, and how many were reported lost."""
        return sum(link.packets.sent for link in self.links.values()), self.connection.losses.reported

    def _listen(self, *, shows_data: bool) -> None:
        """Have the kernel leave out what is known to be of strangers, or to be seen on the links."""
        wanted = self.receiver(), self.connection.encoder, not shows_data
        if wanted != self._listens_to:
            receiver, encoder, samples = wanted
            self._control.filter(filters.control(self._loopback, *self.ports, receiver, encoder, samples=samples))
            self._answers.filter(filters.answers(self.ports[1], receiver))
            self._listens_to = wanted

    def _in_doubt(self, numbers: Sequence[int]) -> list[int]:
        """Return those of some packets that are lost unless a link's answer names them."""
        if not self.connection.losses.lost and self._again.total:
            return list(numbers)  # a receiver that reports no losses: what is missing is sent again nevertheless
        return self.connection.in_doubt(numbers)

    def _hear_acks(self, now_s: float) -> None:
        """Count SRT's acknowledgements, which go over all links: one that has none while others have is silent."""
        receiver = self.receiver()
        fresh = {address: uplink.count_acks(receiver) for address, uplink in self._uplinks.items()}
        at_s = now_s - (now_s - min(self._drained_s, now_s)) * 2 / 3  # when is not counted: soon after the last look
        self._drained_s = now_s
        for address, uplink in self._uplinks.items():
            if fresh[address]:
                uplink.link.hear(at_s)
            elif uplink.acks and any(fresh.values()):
                uplink.link.lack()
