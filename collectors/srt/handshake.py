"""What an SRT handshake says: whose socket it is, the first number, the latency in force, the receiver's buffer. Pure.

Source: draft-sharabayko-srt-01 sections 3.2.1 and 4.3.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import NamedTuple

_AT = 16  # after the head of a control packet
_FIXED = struct.Struct(">IHHIIIII")  # version, encryption, extension, first seq, MTU, window, type, socket number
_FIXED_BYTES = 48
_CONCLUSION = 0xFFFF_FFFF
_RESPONSE = 2  # SRT_CMD_HSRSP


@dataclass
class Negotiated:
    """What only the handshake says; None where it was not seen.

    Attributes:
        latency_ms: in force, the larger of the two that were asked for.
        window_packets: the receiver's whole buffer.
    """

    latency_ms: int | None = None
    window_packets: int | None = None


class Handshake(NamedTuple):
    """One packet of it.

    Attributes:
        socket: number of the socket that sent it.
        first: number of the first data packet.
        is_conclusion: it ends the handshake.
        negotiated: by its extensions.
    """

    socket: int
    first: int
    is_conclusion: bool
    negotiated: Negotiated


def read(payload: bytes) -> Handshake | None:
    """Return what a handshake's payload says, None where it is too short for one."""
    if len(payload) < _AT + _FIXED_BYTES:
        return None
    _, _, _, first, _, window, kind, number = _FIXED.unpack_from(payload, _AT)
    return Handshake(number, first, kind == _CONCLUSION, Negotiated(_latency(payload), window or None))


def _latency(payload: bytes) -> int | None:
    """Return the latency of a response, None where it has none."""
    at = _AT + _FIXED_BYTES
    while len(payload) >= at + 4:
        kind, words = struct.unpack_from(">HH", payload, at)
        if kind == _RESPONSE and words >= 3 and len(payload) >= at + 16:
            return max(int(side) for side in struct.unpack_from(">HH", payload, at + 12))
        at += 4 + 4 * words
    return None
