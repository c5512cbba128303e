"""Packet sockets that cost little: a ring that is read in one go, and counters that are never read.

Needs CAP_NET_RAW. Source: Documentation/networking/packet_mmap.rst, packet(7).
"""

from __future__ import annotations

import mmap
import socket
import struct
import sys
from collections.abc import Iterator
from typing import NamedTuple

from collectors.srt import bpf

ETH_P_ALL = 3
SOL_PACKET = 263
PACKET_RX_RING, PACKET_STATISTICS, PACKET_VERSION = 5, 6, 10
TPACKET_V2 = 1
OUTGOING = 4  # PACKET_OUTGOING
DATA_AT = 80  # where the IP header begins in a frame: TPACKET_ALIGN(TPACKET2_HDRLEN) + 16 for SOCK_DGRAM

_BLOCK_BYTES = 64 * 1024
_STATUS = struct.Struct("=I")
_FRAME = struct.Struct("=4xII4xII8x4xi2xB")  # of tpacket2_hdr: length, snapped, time; of sockaddr_ll: interface, type
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

    Args:
        program: the filter, as `bpf.assemble` returns it; it also says how many bytes are kept.
        frame_bytes: size of one packet's frame, a power of two; `DATA_AT` of them are the kernel's.
        frames: how many packets it holds.

    Attributes:
        socket: readable when a packet is there.

    Raises:
        OSError: the right to it is missing, or the kernel has no packet sockets.
    """

    def __init__(self, program: bytes, frame_bytes: int, frames: int) -> None:
        self.socket = _open(program)
        self._frame_bytes, self._frames = frame_bytes, frames
        self._next = 0
        try:
            self.socket.setsockopt(SOL_PACKET, PACKET_VERSION, TPACKET_V2)
            size = frames * frame_bytes
            request = struct.pack("IIII", _BLOCK_BYTES, size // _BLOCK_BYTES, frame_bytes, frames)
            self.socket.setsockopt(SOL_PACKET, PACKET_RX_RING, request)
            self._memory = mmap.mmap(self.socket.fileno(), size)
        except BaseException:
            self.socket.close()
            raise

    def blocks(self) -> Iterator[memoryview]:
        """Give the frames that have come since the last call, some at a time; a view ends with the next one."""
        size, left = self._frame_bytes, self._ready()
        while left:
            count = min(left, self._frames - self._next)
            begin, end = self._next * size, (self._next + count) * size
            with memoryview(self._memory) as whole, whole[begin:end] as view:
                yield view
                status = view.cast("I")[:: size // 4]
                status[:] = memoryview(bytes(4 * count)).cast("I")  # 0: the frames are the kernel's again
            self._next = (self._next + count) % self._frames
            left -= count

    def packets(self) -> Iterator[Packet]:
        """Give what has come since the last call, packet by packet."""
        for view in self.blocks():
            for at in range(0, len(view), self._frame_bytes):
                length, snapped, seconds, nanoseconds, interface, kind = _FRAME.unpack_from(view, at)
                data = view[at + DATA_AT : at + DATA_AT + snapped].tobytes()
                yield Packet(seconds + nanoseconds * 1e-9, interface, kind == OUTGOING, length, data)

    def lost(self) -> int:
        """Return how many packets found the ring full since the last call."""
        return _statistics(self.socket)[1]

    def filter(self, program: bytes) -> None:
        """Replace the filter; no packet is missed in between.

        Raises:
            OSError: the kernel does not accept it.
        """
        bpf.attach(self.socket, program)

    def close(self) -> None:
        """Give up the ring."""
        self._memory.close()
        self.socket.close()

    def _ready(self) -> int:
        """Return how many frames are filled: the kernel fills them one after the other, so a search by halves does."""
        low, high = 0, self._frames if self._memory[self._next * self._frame_bytes] else 0
        while low < high:
            middle = (low + high) // 2
            at = (self._next + middle) % self._frames * self._frame_bytes
            if _STATUS.unpack_from(self._memory, at)[0] & 1:  # TP_STATUS_USER
                low = middle + 1
            else:
                high = middle
        return low


class Counter:
    """How many packets a program matches; they are counted by the kernel and thrown away.

    Attributes:
        total: since the start, at the last `read`.

    Raises:
        OSError: as for `Ring`.
    """

    def __init__(self, program: bytes) -> None:
        self._socket = _open(program)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 0)  # the kernel's least
        self.total = 0

    def read(self) -> int:
        """Return how many there were since the last call."""
        fresh = _statistics(self._socket)[0]
        self.total += fresh
        return fresh

    def close(self) -> None:
        """Stop counting."""
        self._socket.close()


def native(address: str) -> int:
    """Return an IPv4 address as the number that its bytes are to this machine."""
    return int.from_bytes(socket.inet_aton(address), sys.byteorder)


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
