"""Packet sockets that cost nothing per packet: a ring that is read in one go, and counters that are never read.

Needs CAP_NET_RAW. Source: Documentation/networking/packet_mmap.rst, packet(7).
"""

from __future__ import annotations

import mmap
import socket
import struct
from collections.abc import Iterator
from typing import NamedTuple

from collectors.srt import bpf

ETH_P_ALL = 3
SOL_PACKET = 263
PACKET_RX_RING, PACKET_STATISTICS, PACKET_VERSION = 5, 6, 10
TPACKET_V2 = 1
FRAME_BYTES = 512
FRAMES = 2048  # at 300 packets a second seven seconds; it is read every half
BLOCK_BYTES = 64 * 1024

_HEADER = struct.Struct("=IIIHHII")  # tpacket2_hdr: status, length, snapped, mac, net, seconds, nanoseconds
_ADDRESS = struct.Struct("=iHB")  # in sockaddr_ll, after family and protocol: interface, hardware, packet type
_ADDRESS_AT = 36  # TPACKET_ALIGN(sizeof(tpacket2_hdr)) + 4
_STATISTICS = struct.Struct("=II")


class Packet(NamedTuple):
    """What was kept of one packet.

    Attributes:
        at_s: when the kernel saw it, seconds; of the wall clock, so only differences mean something.
        interface: index of the interface.
        is_outgoing: it leaves this machine.
        length: of the whole IP packet, bytes.
        data: its beginning, the IP header first.
    """

    at_s: float
    interface: int
    is_outgoing: bool
    length: int
    data: bytes


class Ring:
    """The packets that a program picks, of all interfaces.

    Raises:
        OSError: the right to it is missing, or the kernel has no packet sockets.
    """

    def __init__(self, program: bytes) -> None:
        self._socket = _open(program)
        try:
            self._socket.setsockopt(SOL_PACKET, PACKET_VERSION, TPACKET_V2)
            size = FRAMES * FRAME_BYTES
            request = struct.pack("IIII", BLOCK_BYTES, size // BLOCK_BYTES, FRAME_BYTES, FRAMES)
            self._socket.setsockopt(SOL_PACKET, PACKET_RX_RING, request)
            self._memory = mmap.mmap(self._socket.fileno(), size)
        except BaseException:
            self._socket.close()
            raise
        self._next = 0

    def packets(self) -> Iterator[Packet]:
        """Give what has come since the last call, and give its room back."""
        memory = self._memory
        for _ in range(FRAMES):
            at = self._next * FRAME_BYTES
            status, length, snapped, _, net, seconds, nanoseconds = _HEADER.unpack_from(memory, at)
            if not status & 1:  # TP_STATUS_USER
                return
            interface, _, kind = _ADDRESS.unpack_from(memory, at + _ADDRESS_AT)
            data = memory[at + net : at + net + snapped]
            yield Packet(seconds + nanoseconds * 1e-9, interface, kind == 4, length, data)
            struct.pack_into("=I", memory, at, 0)
            self._next = (self._next + 1) % FRAMES

    def lost(self) -> int:
        """Return how many packets found the ring full since the last call."""
        return _statistics(self._socket)[1]

    def close(self) -> None:
        """Give up the ring."""
        self._memory.close()
        self._socket.close()


class Counter:
    """How many packets a program matches; they are counted by the kernel and thrown away.

    Raises:
        OSError: as for `Ring`.
    """

    def __init__(self, program: bytes) -> None:
        self._socket = _open(program)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 0)  # the kernel's least
        self.total = 0

    def read(self) -> int:
        """Return how many there were since the start."""
        self.total += _statistics(self._socket)[0]
        return self.total

    def close(self) -> None:
        """Stop counting."""
        self._socket.close()


def _open(program: bytes) -> socket.socket:
    """Open a socket with a program; what came in between is not counted, and a ring begins empty."""
    kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
    opened = socket.socket(socket.AF_PACKET, kind, socket.htons(ETH_P_ALL))
    try:
        bpf.attach(opened, program)
        _statistics(opened)
    except BaseException:
        opened.close()
        raise
    return opened


def _statistics(opened: socket.socket) -> tuple[int, int]:
    """Return packets, lost ones included, and lost packets since the last call: reading clears them."""
    packets, lost = _STATISTICS.unpack(opened.getsockopt(SOL_PACKET, PACKET_STATISTICS, _STATISTICS.size))
    return packets, lost
