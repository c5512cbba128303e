"""Packet sockets of a play: those that collectors/srt/ring.py opens, on packets that are handed over.

Reads: whole IPv4 packets. Emits: what a socket's filter keeps of them, in the kernel's layout; the filters themselves
are run, so that what they leave out is left out here too. Fails: as the kernel, which drops what is too short.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

from collectors.srt.bpf import (
    INTERFACE_INDEX,
    JUMP_EQUAL,
    JUMP_GREATER_EQUAL,
    JUMP_SET,
    LOAD_BYTE,
    LOAD_HALF,
    LOAD_WORD,
    PACKET_TYPE,
    RETURN,
)
from collectors.srt.ring import DATA_AT, OUTGOING, Packet

HOST = 0  # PACKET_HOST: it has come
WIDTHS = {LOAD_WORD: 4, LOAD_HALF: 2, LOAD_BYTE: 1}
INSTRUCTION = struct.Struct("HBBI")

Program = list[tuple[int, int, int, int]]


class Seen(NamedTuple):
    """A packet as an interface saw it.

    Attributes:
        at_s: when, wall clock.
        interface: its index.
        kind: which way it went.
        data: all of it.
        loaded: what instructions have loaded of it: most programs begin alike.
    """

    at_s: float
    interface: int
    kind: int
    data: bytes
    loaded: dict[int, int]


class Wire:
    """The interface `lo`, on which each packet is seen leaving and coming.

    Args:
        now_s: returns the wall clock.
    """

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._interface = socket.if_nametoindex("lo")
        self._sockets: list[PlayedRing | PlayedCounter] = []

    def send(self, packet: bytes) -> None:
        """Show a packet to every socket, twice."""
        for kind in (OUTGOING, HOST):
            seen = Seen(self._now_s(), self._interface, kind, packet, {})
            for one in self._sockets:
                one.offer(seen)

    def ring(self, program: bytes, frame_bytes: int, _frames: int) -> PlayedRing:
        """Stand in for `ring.Ring`."""
        made = PlayedRing(program, frame_bytes, self._sockets)
        self._sockets.append(made)
        return made

    def counter(self, program: bytes) -> PlayedCounter:
        """Stand in for `ring.Counter`."""
        made = PlayedCounter(program, self._sockets)
        self._sockets.append(made)
        return made


class PlayedRing:
    """Packets that a program picks."""

    def __init__(self, program: bytes, frame_bytes: int, sockets: list[PlayedRing | PlayedCounter]) -> None:
        self.socket = self
        self._program, self._frame_bytes, self._sockets = decoded(program), frame_bytes, sockets
        self._waiting: list[tuple[Seen, int]] = []

    @property
    def is_readable(self) -> bool:
        """Whether a packet is there."""
        return bool(self._waiting)

    def offer(self, seen: Seen) -> None:
        """Keep what the program keeps of a packet."""
        count = kept(self._program, seen)
        if count:
            self._waiting.append((seen, min(count, len(seen.data))))

    def packets(self) -> Iterator[Packet]:
        """Give what has come since the last call, packet by packet."""
        waiting, self._waiting = self._waiting, []
        for seen, count in waiting:
            yield Packet(seen.at_s, seen.interface, seen.kind == OUTGOING, len(seen.data), seen.data[:count])

    def blocks(self) -> Iterator[memoryview]:
        """Give it as frames of the kernel's."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        frames = bytearray(self._frame_bytes * len(waiting))
        for at, (seen, count) in enumerate(waiting):
            begin = at * self._frame_bytes
            struct.pack_into("=I8xII12xi", frames, begin + 4, len(seen.data), *time_of(seen.at_s), seen.interface)
            frames[begin + DATA_AT : begin + DATA_AT + count] = seen.data[:count]
        yield memoryview(frames)

    def lost(self) -> int:
        """Return that nothing was missed."""
        return 0

    def filter(self, program: bytes) -> None:
        """Replace the filter."""
        self._program = decoded(program)

    def close(self) -> None:
        """Take no more."""
        self._sockets.remove(self)


class PlayedCounter:
    """How many packets a program matches."""

    def __init__(self, program: bytes, sockets: list[PlayedRing | PlayedCounter]) -> None:
        self._program, self._sockets = decoded(program), sockets
        self._count = self.total = 0

    def offer(self, seen: Seen) -> None:
        """Count a packet that the program keeps."""
        self._count += kept(self._program, seen) > 0

    def read(self) -> int:
        """Return how many there were since the last call."""
        fresh, self.total = self._count - self.total, self._count
        return fresh

    def close(self) -> None:
        """Stop counting."""
        self._sockets.remove(self)


def time_of(at_s: float) -> tuple[int, int]:
    """Return seconds and nanoseconds."""
    return int(at_s), int(at_s % 1 * 1e9)


def decoded(program: bytes) -> Program:
    """Return the instructions of a program."""
    return list(INSTRUCTION.iter_unpack(program))


def kept(program: Program, seen: Seen) -> int:
    """Return how many bytes of a packet a program keeps, as the kernel's interpreter would."""
    at = value = 0
    loaded = seen.loaded
    while True:
        code, then, otherwise, operand = program[at]
        at += 1
        if code == JUMP_EQUAL:
            at += then if value == operand else otherwise
        elif code == JUMP_SET:
            at += then if value & operand else otherwise
        elif code == JUMP_GREATER_EQUAL:
            at += then if value >= operand else otherwise
        elif code == RETURN:
            return operand
        else:
            key = operand << 8 | code
            if key not in loaded:
                loaded[key] = load(code, operand, seen)
            value = loaded[key]
            if value < 0:
                return 0


def load(code: int, offset: int, seen: Seen) -> int:
    """Return bytes of the packet, or what the kernel knows besides; -1 where the packet is too short."""
    if offset == PACKET_TYPE:
        return seen.kind
    if offset == INTERFACE_INDEX:
        return seen.interface
    found = seen.data[offset : offset + WIDTHS[code]]
    return int.from_bytes(found, "big") if len(found) == WIDTHS[code] else -1
