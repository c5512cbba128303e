"""One link's sockets: the data packets that leave over it, and SRT's acknowledgements that come.

Needs CAP_NET_RAW. Each link has a ring of its own, so that its packets come as columns that need no sorting.
"""

from __future__ import annotations

import math
import struct

from collectors.srt import filters
from collectors.srt.columns import SentPackets, seconds, sent_packets
from collectors.srt.link import Link
from collectors.srt.ring import DATA_AT, Counter, Ring

HEADER_FRAMES, HEADER_FRAME_BYTES = 4096, 128  # 23 Mbit/s over one link for two seconds

_HEADERS = 28  # IPv4 without options, and UDP
_TARGET = struct.Struct("=16xI")


class Uplink:
    """One link of a tap.

    Args:
        address: its source address.
        srtla_port: the receiver's.

    Attributes:
        link: what is known of it.
        ring: its data packets.
        receiver: where the last one went to, as this machine reads the address' bytes; None before there was one.
        acks: SRT's acknowledgements that have come over it since the start.

    Raises:
        OSError: as for `Ring`.
    """

    def __init__(self, address: str, srtla_port: int) -> None:
        self.link = Link()
        self.ring = Ring(filters.uplink(address, srtla_port), HEADER_FRAME_BYTES, HEADER_FRAMES)
        self.receiver: int | None = None
        self.acks = 0
        self._address, self._port = address, srtla_port
        self._place: tuple[int, str] | None = None
        self._counter: Counter | None = None

    def take_sent(self, samples: int) -> tuple[list[tuple[float, int]], int]:
        """Take in the data packets that have left; return when some of them did, with their numbers, and a length.

        Args:
            samples: how many to return, about; the last one is among them.
        """
        found: list[tuple[float, int]] = []
        payload_bytes = 0
        for view in self.ring.blocks():
            packets = sent_packets(view, HEADER_FRAME_BYTES)
            self.link.send(packets)
            self.receiver = _TARGET.unpack_from(view, len(view) - HEADER_FRAME_BYTES + DATA_AT)[0]
            payload_bytes = packets.lengths[-1] - _HEADERS
            found += _some(packets, samples)
        return found, payload_bytes

    def count_acks(self, receiver: str | None) -> int:
        """Return how many acknowledgements have come since the last call, on the interface that the link is on."""
        if not self.link.interface or receiver is None:
            return 0
        place = self.link.interface, receiver
        if self._counter is None or place != self._place:
            self._stop_counting()
            self._place = place
            self._counter = Counter(filters.srt_acks(self._address, self._port, receiver, self.link.interface))
            return 0
        fresh = self._counter.read()
        self.acks += fresh
        return fresh

    def close(self) -> None:
        """Give up the sockets."""
        self.ring.close()
        self._stop_counting()

    def _stop_counting(self) -> None:
        if self._counter is not None:
            self._counter.close()
            self._counter = None


def _some(packets: SentPackets, count: int) -> list[tuple[float, int]]:
    """Return when some packets left, and their numbers, the oldest first, the last one among them."""
    picked = range(len(packets.numbers) - 1, -1, -math.ceil(len(packets.numbers) / count))
    return [(seconds(packets.stamps[at]), packets.numbers[at]) for at in reversed(picked)]
