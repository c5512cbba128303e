"""Payloads of SRT and SRTLA packets, composed from draft-sharabayko-srt-01 and srtla_rec.c."""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Iterable

from collectors.srt.columns import Answers, SentPackets
from collectors.srt.filters import ACK, HANDSHAKE, NAK, RETRANSMITTED_BIT, SRTLA_ACK

ENCODER, RECEIVER = 7, 9  # numbers of the two SRT sockets
INDUCTION, CONCLUSION = 1, 0xFFFF_FFFF


def control(kind: int, body: bytes = b"", second: int = 0, *, time_us: int = 0, to: int = ENCODER) -> bytes:
    """Return a control packet: its kind, what the second word holds, a timestamp, a socket, and what follows."""
    return struct.pack(">IIII", kind << 16, second, time_us, to) + body


def ack(
    last: int, rtt_us: int = 50_000, variance_us: int = 5_000, free: int = 8_000,
    rates: tuple[int, int, int] = (500, 4_000, 660_000), number: int = 0, to: int = ENCODER,
) -> bytes:  # fmt: skip
    """Return a full acknowledgement of all packets before `last`; rates are packets/s, capacity and bytes/s."""
    return control(ACK, struct.pack(">7I", last, rtt_us, variance_us, free, *rates), number, to=to)


def nak(*words: int, time_us: int = 0, to: int = ENCODER) -> bytes:
    """Return a loss report; a first word with the high bit begins a range."""
    return control(NAK, struct.pack(f">{len(words)}I", *words), time_us=time_us, to=to)


def data(number: int, *, again: bool = False) -> bytes:
    """Return the header of a data packet."""
    return struct.pack(">IIII", number, RETRANSMITTED_BIT if again else 0, 0, RECEIVER)


def hello(first: int = 1, *, number: int = ENCODER) -> bytes:
    """Return the encoder's handshake, which holds the number of its socket and of its first packet."""
    fixed = struct.pack(">IHHIIIII", 5, 0, 2, first, 1500, 8192, INDUCTION, number)
    return control(HANDSHAKE, fixed.ljust(48, b"\0"), to=0)


def handshake(receiver_ms: int, sender_ms: int, window: int, first: int = 1, *, number: int = ENCODER) -> bytes:
    """Return a conclusion with the response that holds the negotiated latency; data begins with number `first`."""
    fixed = struct.pack(">IHHIIIII", 5, 0, 5, first, 1500, window, CONCLUSION, RECEIVER)  # then a cookie and an address
    extension = struct.pack(">HHIIHH", 2, 3, 0x10500, 0xBF, receiver_ms, sender_ms)
    return control(HANDSHAKE, fixed.ljust(48, b"\0") + extension, to=number)


def answer(numbers: Iterable[int]) -> bytes:
    """Return the SRTLA receiver's answer to ten packets."""
    return struct.pack(">I10I", SRTLA_ACK << 16, *numbers)


def stamp(at_s: float) -> int:
    """Return a time as the kernel writes it."""
    return int.from_bytes(struct.pack("=II", int(at_s), int(at_s % 1 * 1e9)), sys.byteorder)


def left(at_s: float, payload: bytes, length: int, interface: int) -> SentPackets:
    """Return a data packet that has left over a link, by its payload and the length of all of it."""
    numbers = array("I", struct.unpack_from(">I", payload))
    return SentPackets(array("Q", [stamp(at_s)]), array("I", [interface]), numbers, array("I", [length]))


def answered(at_s: float, payload: bytes, interface: int) -> Answers:
    """Return an answer that has come over a link, by its payload."""
    named = struct.unpack_from(">10I", payload, 4)
    return Answers(array("Q", [stamp(at_s)]), array("I", [interface]), [named])
