"""The tap: the SRT connection and its links, from packet headers alone; a part of the SRT collector.

Reads what `srt_filters` lets through, with CAP_NET_RAW and nothing else. Emits `Flow` and `Link` states. Fails with
OSError where the right is missing.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence

from collectors.srt import srt_filters
from collectors.srt.packet_ring import Counter, Packet, Ring
from collectors.srt.srt_flow import Flow
from collectors.srt.srtla_link import Link

LOOPBACK = "lo"
_HEADERS = 28  # IPv4 without options, and UDP


class Tap:
    """Sockets on one stream.

    Args:
        srt_port: where srtla_send listens.
        srtla_port: the receiver's.
        addresses: source address of each link.

    Attributes:
        ports: as given.
        flow: the SRT connection.
        links: by source address.
        lost: packets the tap itself missed since the start.

    Raises:
        OSError: no right to it.
    """

    def __init__(self, srt_port: int, srtla_port: int, addresses: Sequence[str]) -> None:
        self.ports = srt_port, srtla_port
        self.flow = Flow()
        self.links: dict[str, Link] = {}
        self.lost = 0
        self._counters: dict[str, Counter] = {}
        loopback = socket.if_nametoindex(LOOPBACK)
        self._ring = Ring(srt_filters.stream(loopback, srt_port, srtla_port))
        try:
            self._first = Counter(srt_filters.data(loopback, srt_port, retransmitted=False))
            self._again = Counter(srt_filters.data(loopback, srt_port, retransmitted=True))
        except OSError:
            self._ring.close()
            raise
        self.follow(addresses)

    def follow(self, addresses: Sequence[str]) -> None:
        """Begin with links that are new, forget those that are gone."""
        for address in [address for address in self.links if address not in addresses]:
            del self.links[address]
            self._counters.pop(address).close()
        for address in addresses:
            if address not in self.links:
                self._counters[address] = Counter(srt_filters.uplink(address, self.ports[1]))
                self.links[address] = Link()

    def drain(self) -> None:
        """Take in what has come."""
        for packet in self._ring.packets():
            self._take(packet)
        self.lost += self._ring.lost()

    def sent(self) -> tuple[int, int]:
        """Return how many packets the encoder has sent since the start: first time, and again."""
        return self._first.read(), self._again.read()

    def sent_over(self, address: str) -> int:
        """Return how many data packets have left over a link since the start."""
        return self._counters[address].read()

    def close(self) -> None:
        """Give up the sockets."""
        for counter in (self._first, self._again, *self._counters.values()):
            counter.close()
        self._ring.close()

    def _take(self, packet: Packet) -> None:
        source_port, target_port = (int.from_bytes(packet.data[at : at + 2], "big") for at in (20, 22))
        payload, length = packet.data[_HEADERS:], packet.length - _HEADERS
        srt_port, srtla_port = self.ports
        if target_port == srtla_port and packet.is_outgoing:
            link = self.links.get(socket.inet_ntoa(packet.data[12:16]))
            if link is not None:
                link.take_out(packet.at_s, payload, length, packet.interface)
        elif source_port == srtla_port:
            link = self.links.get(socket.inet_ntoa(packet.data[16:20]))
            if link is not None:
                link.take_in(packet.at_s, payload)
        elif srt_port in (source_port, target_port):
            self.flow.take(packet.at_s, payload, length)
