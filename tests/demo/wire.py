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
FLOW_AT, PORTS_END = 6, 24  # of IP without options: after what differs between packets
WIDTHS = {LOAD_WORD: 4, LOAD_HALF: 2, LOAD_BYTE: 1}
INSTRUCTION = struct.Struct("HBBI")
NOTHING = (RETURN, 0, 0, 0)

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
    loaded: dict[tuple[int, int], int]


class Wire:
    """The interface `lo`, on which each packet is seen leaving and coming.

    Args:
        now_s: returns the wall clock.
    """

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._interface = socket.if_nametoindex("lo")
        self._programs: dict[PlayedRing | PlayedCounter, Program] = {}
        self._flows: dict[tuple[int, int, bytes], list[tuple[PlayedRing | PlayedCounter, Program, int]]] = {}

    def send(self, packet: bytes) -> None:
        """Show a packet to every socket whose program may want it, twice."""
        for kind in (OUTGOING, HOST):
            seen = Seen(self._now_s(), self._interface, kind, packet, {})
            flow = kind, packet[0], packet[FLOW_AT:PORTS_END]
            if flow not in self._flows:
                begins = [(one, program, begin(program, seen)) for one, program in self._programs.items()]
                self._flows[flow] = [one for one in begins if one[1][one[2]] != NOTHING]
            for one, program, at in self._flows[flow]:
                _, count = run(program, seen, at)
                if count:
                    one.take(seen, min(count, len(packet)))

    def ring(self, program: bytes, frame_bytes: int, frames: int) -> PlayedRing:
        """Stand in for `ring.Ring`."""
        made = PlayedRing(self, frame_bytes, frames)
        self.attach(made, program)
        return made

    def counter(self, program: bytes) -> PlayedCounter:
        """Stand in for `ring.Counter`."""
        made = PlayedCounter(self)
        self.attach(made, program)
        return made

    def attach(self, one: PlayedRing | PlayedCounter, program: bytes) -> None:
        """Show a socket what a program keeps from now on."""
        self._programs[one] = list(INSTRUCTION.iter_unpack(program))
        self._flows.clear()

    def detach(self, one: PlayedRing | PlayedCounter) -> None:
        """Show a socket nothing more."""
        del self._programs[one]
        self._flows.clear()


def in_its_place(patch: Callable[[str, object], None], now_s: Callable[[], float], wall_s: Callable[[], float]) -> Wire:
    """Put a clock and the packets of a wire in the place of this machine's; return the wire.

    Args:
        patch: replaces an attribute of a module, as pytest's monkeypatch does.
        now_s: returns the monotonic clock.
        wall_s: returns the wall clock.
    """
    patch("time.monotonic", now_s)
    patch("time.time", wall_s)
    patch("time.time_ns", lambda: int(wall_s() * 1e9))
    wire = Wire(wall_s)
    for module in ("tap", "uplink"):
        patch(f"collectors.srt.{module}.Ring", wire.ring)
        patch(f"collectors.srt.{module}.Counter", wire.counter)
    patch("collectors.srt.srt.TAPS_ANY_ROOT", True)
    return wire


class PlayedRing:
    """Packets that a program picks."""

    def __init__(self, wire: Wire, frame_bytes: int, frames: int) -> None:
        self.socket = self
        self._wire, self._frame_bytes, self._frames = wire, frame_bytes, frames
        self._waiting: list[tuple[Seen, int]] = []
        self._lost = 0

    @property
    def is_readable(self) -> bool:
        """Whether a packet is there."""
        return bool(self._waiting)

    def take(self, seen: Seen, count: int) -> None:
        """Keep the first bytes of a packet; a full ring keeps no more."""
        if len(self._waiting) < self._frames:
            self._waiting.append((seen, count))
        else:
            self._lost += 1

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
        """Return how many packets found the ring full since the last call."""
        lost, self._lost = self._lost, 0
        return lost

    def filter(self, program: bytes) -> None:
        """Replace the filter."""
        self._wire.attach(self, program)

    def close(self) -> None:
        """Take no more."""
        self._wire.detach(self)


class PlayedCounter:
    """How many packets a program matches."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._count = self.total = 0

    def take(self, _seen: Seen, _count: int) -> None:
        """Count a packet."""
        self._count += 1

    def read(self) -> int:
        """Return how many there were since the last call."""
        fresh, self.total = self._count - self.total, self._count
        return fresh

    def close(self) -> None:
        """Stop counting."""
        self._wire.detach(self)


def time_of(at_s: float) -> tuple[int, int]:
    """Return seconds and nanoseconds."""
    return int(at_s), int(at_s % 1 * 1e9)


def begin(program: Program, seen: Seen) -> int:
    """Return the first instruction that does not do the same for all packets of a flow."""
    alike = seen._replace(data=seen.data[:PORTS_END], loaded={})
    at, _ = run(program, alike)
    return 0 if any(0 < offset < FLOW_AT for offset, _ in alike.loaded) else at


def run(program: Program, seen: Seen, at: int = 0) -> tuple[int, int]:
    """Run a program as the kernel's interpreter would; return its last instruction, and how many bytes it keeps."""
    value, loaded = 0, seen.loaded
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
            return at - 1, operand
        else:
            key = operand, code
            if key not in loaded:
                loaded[key] = load(code, operand, seen)
            value = loaded[key]
            if value < 0:
                return at - 1, 0


def load(code: int, offset: int, seen: Seen) -> int:
    """Return bytes of the packet, or what the kernel knows besides; -1 where the packet is too short."""
    if offset == PACKET_TYPE:
        return seen.kind
    if offset == INTERFACE_INDEX:
        return seen.interface
    found = seen.data[offset : offset + WIDTHS[code]]
    return int.from_bytes(found, "big") if len(found) == WIDTHS[code] else -1
