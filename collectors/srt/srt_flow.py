"""What the packets between belacoder and srtla_send say of the SRT connection; a part of the SRT collector.

Pure: takes payloads, keeps counts. Source: draft-sharabayko-srt-01 sections 3 and 4.8, srtcore/core.cpp.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from statistics import median
from typing import NamedTuple

from collectors.srt.srt_filters import ACK, DROP_REQUEST, HANDSHAKE, NAK, RETRANSMITTED_BIT, SHUTDOWN

SEQUENCES = 1 << 31  # numbers wrap here
MAX_RANGE = 30_000  # more at once is damage, not loss: libsrt's largest window is 25,600 packets
SILENT_S = 3.0  # an ACK comes every 10 ms; belacoder itself gives up after 6 s

_WORD = struct.Struct(">I")
_ACK = struct.Struct(">IIIIIII")  # last seq, RTT, variance, free buffer, packets/s, capacity, bytes/s
_HEADER_BYTES = 16
_FIRST_RTT = (100_000, 50_000)  # the defaults, before anything was measured
_HANDSHAKE_RESPONSE = 2  # SRT_CMD_HSRSP
_HANDSHAKE_BYTES = 48
_WINDOW_AT = _HEADER_BYTES + 16  # maximum flow window size


class Measured(NamedTuple):
    """What the ACKs of an interval said; None where none came.

    Attributes:
        rtt_ms, jitter_ms: medians of the round trip and its variance.
        free_packets: room in the receiver's buffer at the last one.
        capacity_packets: the receiver's estimate of the link, packets per second.
    """

    rtt_ms: float | None = None
    jitter_ms: float | None = None
    free_packets: int | None = None
    capacity_packets: int | None = None


class Flow:
    """One SRT connection as seen from its packets.

    Attributes:
        lost: packets named in loss reports since the start; one that is reported again counts again, as in libsrt.
        missed: the same, each packet once.
        dropped, acknowledged: packets, since the start.
        latency_ms: negotiated, None before a handshake was seen.
        window_packets: the receiver's whole buffer, None likewise.
        packet_bytes: payload of a data packet, from the last sample.
    """

    def __init__(self) -> None:
        self.lost = self.missed = self.dropped = self.acknowledged = 0
        self.latency_ms: int | None = None
        self.window_packets: int | None = None
        self.packet_bytes: int | None = None
        self._acked: int | None = None
        self._sent: int | None = None
        self._missing: set[int] = set()
        self._acks: list[tuple[int, ...]] = []
        self._heard_s: float | None = None

    def take(self, at_s: float, payload: bytes, length: int) -> None:
        """Take a packet in.

        Args:
            at_s: when it was, seconds.
            payload: the UDP payload as far as it was kept.
            length: how long it was, bytes.
        """
        if len(payload) < 8:
            return
        first, second = _WORD.unpack_from(payload)[0], _WORD.unpack_from(payload, 4)[0]
        kind = first >> 16
        if not first >> 31:
            self._data(first, second, length)
        elif kind == ACK and len(payload) >= _HEADER_BYTES + _ACK.size:
            self._ack(at_s, payload)
        elif kind == NAK:
            self._nak(payload)
        elif kind == HANDSHAKE:
            self._handshake(payload)
        elif kind == DROP_REQUEST and len(payload) >= _HEADER_BYTES + 8:
            first, last = struct.unpack_from(">II", payload, _HEADER_BYTES)
            self.dropped += min(_distance(first, last) + 1, MAX_RANGE)
        elif kind == SHUTDOWN:
            self._heard_s = None

    def connected(self, now_s: float) -> bool:
        """Tell whether the receiver acknowledges."""
        return self._heard_s is not None and now_s - self._heard_s < SILENT_S

    def in_flight_bytes(self) -> int | None:
        """Return what was sent and not acknowledged yet, to a sample's precision of 16 packets."""
        if self._sent is None or self._acked is None or self.packet_bytes is None:
            return None
        distance = _distance(self._acked, self._sent)
        return distance * self.packet_bytes if distance < SEQUENCES // 2 else 0

    def measured(self) -> Measured:
        """Return what the ACKs since the last call said."""
        acks, self._acks = self._acks, []
        if not acks:
            return Measured()
        _, _, _, free, _, capacity, _ = acks[-1]
        rtts = [ack[1:3] for ack in acks if ack[1:3] != _FIRST_RTT]
        if not rtts:
            return Measured(None, None, free, capacity)
        rtt_us, variance_us = median(rtt for rtt, _ in rtts), median(variance for _, variance in rtts)
        return Measured(round(rtt_us / 1000, 3), round(variance_us / 1000, 3), free, capacity)

    def _data(self, number: int, second: int, length: int) -> None:
        if not second & RETRANSMITTED_BIT:
            self._sent = number
            self.packet_bytes = length - _HEADER_BYTES

    def _ack(self, at_s: float, payload: bytes) -> None:
        ack = _ACK.unpack_from(payload, _HEADER_BYTES)
        self._heard_s = at_s
        number = ack[0] % SEQUENCES
        advance = 0 if self._acked is None else _distance(self._acked, number)
        if self._acked is not None and advance >= SEQUENCES // 2:
            return  # srtla_rec sends each ACK over every link: an old one over the slowest
        self.acknowledged += advance if advance <= MAX_RANGE else 0
        self._acked = number
        self._missing = {seq for seq in self._missing if _distance(number, seq) < SEQUENCES // 2}
        self._acks.append(ack)

    def _nak(self, payload: bytes) -> None:
        for first, last in _ranges(payload[_HEADER_BYTES:]):
            count = _distance(first, last) + 1
            if count > MAX_RANGE:
                continue
            named = {(first + step) % SEQUENCES for step in range(count)} - self._missing
            self.lost += count
            self.missed += len(named)
            self._missing |= named

    def begin(self) -> None:
        """Forget what belongs to the connection before: a new one begins with a number of its own."""
        self._acked = self._sent = None
        self._missing.clear()

    def _handshake(self, payload: bytes) -> None:
        self.begin()
        at = _HEADER_BYTES + _HANDSHAKE_BYTES
        if len(payload) >= _WINDOW_AT + 4:
            self.window_packets = _WORD.unpack_from(payload, _WINDOW_AT)[0] or None
        while len(payload) >= at + 4:
            kind, words = struct.unpack_from(">HH", payload, at)
            if kind == _HANDSHAKE_RESPONSE and words >= 3 and len(payload) >= at + 16:
                receiver, sender = struct.unpack_from(">HH", payload, at + 12)
                self.latency_ms = max(receiver, sender)
            at += 4 + 4 * words


def _ranges(words: bytes) -> Iterator[tuple[int, int]]:
    """Give first and last of each range of a loss list."""
    numbers = iter(number for (number,) in _WORD.iter_unpack(words[: len(words) // 4 * 4]))
    for number in numbers:
        if number >> 31:
            last = next(numbers, None)
            if last is not None:
                yield number % SEQUENCES, last % SEQUENCES
        else:
            yield number, number


def _distance(first: int, last: int) -> int:
    return (last - first) % SEQUENCES
