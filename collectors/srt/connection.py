"""What the packets between encoder and srtla_send say of the SRT connection.

Pure: takes payloads, keeps counts. srtla_send passes on whatever reaches one of its ports, so that anybody can have
sent what seems to come from the receiver. Therefore nothing of it counts unless it is addressed to the number of the
encoder's socket (a random one of 30 bits, which libsrt checks too) and names packets that were really sent and are not
acknowledged yet; what is kept is of a fixed size. Source: draft-sharabayko-srt-01 sections 3 and 4.8, srtcore/core.cpp
(processCtrlAck, processCtrlLossReport).
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

from collectors.srt.filters import (
    ACK,
    DATA_SAMPLE,
    DROP_REQUEST,
    HANDSHAKE,
    NAK,
    RETRANSMITTED_BIT,
    SHUTDOWN,
    SRT_KEEPALIVE,
)

SEQUENCES = 1 << 31  # numbers wrap here
WINDOW = 1 << 15  # more than libsrt's largest flow window of 25,600 packets
SILENT_S = 3.0  # an ACK comes every 10 ms, a keepalive each second; belacoder itself gives up after 6 s
MEASURED_S = 5.0  # a collect
TICK_S = 0.02  # of belacoder's controller

_WORD = struct.Struct(">I")
_HEAD = struct.Struct(">IIII")  # type, type-specific, timestamp, socket number
_ACK = struct.Struct(">IIIIIII")  # last seq, RTT, variance, free buffer, packets/s, capacity, bytes/s
_HEADER_BYTES = 16
_FIRST_RTT = (100_000, 50_000)  # the defaults, before anything was measured
_HANDSHAKE = struct.Struct(">IHHIIIII")  # version, encryption, extension, first seq, MTU, window, type, socket number
_HANDSHAKE_BYTES = 48
_CONCLUSION = 0xFFFF_FFFF
_RESPONSE = 2  # SRT_CMD_HSRSP
_SLACK = DATA_SAMPLE + 1 + 64  # packets that may have been sent since the last sample
_COPIES = 32  # control packets remembered, to know the copies that come over the other links


class Measured(NamedTuple):
    """What the ACKs of an interval said; None where none came.

    Attributes:
        rtt_ms, jitter_ms: medians of the round trip and its variance.
        free_packets: room in the receiver's buffer at the last one.
    """

    rtt_ms: float | None = None
    jitter_ms: float | None = None
    free_packets: int | None = None


class Reading(NamedTuple):
    """What belacoder's controller has before it at one instant: round trip and unacknowledged packets."""

    at_s: float
    rtt_ms: float | None
    waiting: int


@dataclass
class Negotiated:
    """What only the handshake says; None where it was not seen.

    Attributes:
        latency_ms: in force, the larger of the two that were asked for.
        window_packets: the receiver's whole buffer.
    """

    latency_ms: int | None = None
    window_packets: int | None = None


class Connection:
    """One SRT connection as seen from its packets.

    Attributes:
        lost: packets named in loss reports since the start; one that is reported again counts again, as in libsrt.
        reported: the same, each packet once.
        dropped, acknowledged: packets, since the start.
        negotiated: what the handshake said.
        packet_bytes: payload of a data packet, from the last sample.
        acked: number of the first packet that the receiver waits for, None before it is known.
        readings: for the controller, the oldest first; taken by who follows it.
        encoder: number of the encoder's SRT socket, None before it is known.
        begun: connections that have begun before this one.
    """

    def __init__(self) -> None:
        self.lost = self.reported = self.dropped = self.acknowledged = self.begun = 0
        self.negotiated = Negotiated()
        self.packet_bytes: int | None = None
        self.acked: int | None = None
        self.encoder: int | None = None
        self.readings: deque[Reading] = deque(maxlen=1024)
        self.ended_s: float | None = None
        self._sent: int | None = None
        self._ack_number: int | None = None
        self._rtt_ms: float | None = None
        self._flags = bytearray(WINDOW)  # by number modulo WINDOW: reported lost
        self._acks: deque[tuple[float, tuple[int, ...]]] = deque(maxlen=1024)
        self._copies: deque[bytes] = deque(maxlen=_COPIES)
        self._heard_s: float | None = None
        self._unknown_until_s: float | None = None

    def take(self, at_s: float, payload: bytes, length: int, *, is_from_encoder: bool) -> None:
        """Take a packet in.

        Args:
            at_s: when it was, seconds.
            payload: the UDP payload as far as it was kept.
            length: how long it was, bytes.
            is_from_encoder: or else srtla_send has passed it on to the encoder.
        """
        if len(payload) < _HEADER_BYTES:
            return
        first, second, _, number = _HEAD.unpack_from(payload)
        kind = first >> 16
        if kind == ACK and second == self._ack_number:
            return  # srtla_rec sends each over every link
        if kind == HANDSHAKE:
            self._handshake(at_s, payload, number, is_from_encoder=is_from_encoder)
        elif is_from_encoder:
            self._from_encoder(at_s, first, second, payload, length)
        elif number == self.encoder or (self.encoder is None and self._is_plausible(kind, payload)):
            self.encoder = number
            self._to_encoder(at_s, kind, second, payload)

    def is_connected(self, now_s: float) -> bool | None:
        """Return whether the receiver is heard, None while that cannot be known."""
        if self._heard_s is not None and now_s - self._heard_s < SILENT_S:
            return True
        if self.ended_s is not None and self._heard_s is None:
            return False
        if self._unknown_until_s is None:
            self._unknown_until_s = now_s + SILENT_S
        return None if now_s < self._unknown_until_s else False

    def quiet_s(self, now_s: float) -> float | None:
        """Return for how long nothing has come while packets wait for an acknowledgement, None where none does."""
        return now_s - self._heard_s if self._heard_s is not None and self.waiting_packets() else None

    def miss(self, now_s: float) -> None:
        """Take in that packets were missed: what was heard last may be old, and what is counted has a hole."""
        self._unknown_until_s = now_s + SILENT_S
        self._acks.clear()
        self.readings.clear()

    def is_reported(self, number: int) -> bool:
        """Return whether the receiver has reported a packet lost, one of the last 30,000 sent."""
        return bool(self._flags[number % WINDOW])

    def is_acknowledged(self, number: int) -> bool | None:
        """Return whether the receiver has acknowledged a packet, None before it acknowledges anything."""
        return None if self.acked is None else _distance(number, self.acked) - 1 < SEQUENCES // 2

    def waiting_packets(self) -> int | None:
        """Return how many packets were sent and are not acknowledged yet, to a sample's precision of 16."""
        if self._sent is None or self.acked is None:
            return None
        distance = _distance(self.acked, self._sent) + 1
        return distance if distance < SEQUENCES // 2 else 0

    def measured(self, now_s: float, over_s: float = MEASURED_S) -> Measured:
        """Return what the ACKs of the last seconds said."""
        acks = [ack for at_s, ack in self._acks if now_s - at_s <= over_s]
        if not acks:
            return Measured()
        rtts = [ack[1:3] for ack in acks if ack[1:3] != _FIRST_RTT]
        if not rtts:
            return Measured(None, None, acks[-1][3])
        rtt_us, variance_us = median(rtt for rtt, _ in rtts), median(variance for _, variance in rtts)
        return Measured(round(rtt_us / 1000, 3), round(variance_us / 1000, 3), acks[-1][3])

    def begin(self) -> None:
        """Forget what belongs to the connection before: a new one begins with numbers of its own."""
        self.begun += 1
        self.acked = self._sent = self._ack_number = self._rtt_ms = self._heard_s = None
        self.encoder = None
        self.negotiated = Negotiated()
        self.ended_s = self._unknown_until_s = None
        self._flags = bytearray(WINDOW)
        self.readings.clear()

    def leave(self, at_s: float) -> None:
        """Forget a connection whose encoder is gone: what was heard before `at_s` was meant for another process."""
        if self._heard_s is not None and self._heard_s < at_s:
            self.begin()

    def _from_encoder(self, at_s: float, first: int, second: int, payload: bytes, length: int) -> None:
        kind = first >> 16
        if not first >> 31:
            self._data(at_s, first, second, length)
        elif kind == DROP_REQUEST and len(payload) >= _HEADER_BYTES + 8:
            low, high = struct.unpack_from(">II", payload, _HEADER_BYTES)
            self.dropped += min(_distance(low, high) + 1, WINDOW)
        elif kind == SHUTDOWN:
            self._end(at_s)

    def _to_encoder(self, at_s: float, kind: int, second: int, payload: bytes) -> None:
        if kind == ACK and len(payload) >= _HEADER_BYTES + _ACK.size:
            self._ack(at_s, second, payload)
        elif kind == NAK:
            self._nak(at_s, payload)
        elif kind == SRT_KEEPALIVE:
            self._hear(at_s)
        elif kind == SHUTDOWN:
            self._end(at_s)

    def _is_plausible(self, kind: int, payload: bytes) -> bool:
        """Return whether this is an ACK of what was really sent: so a connection is found that has begun before."""
        if kind != ACK or self._sent is None or len(payload) < _HEADER_BYTES + _ACK.size:
            return False
        acked = _WORD.unpack_from(payload, _HEADER_BYTES)[0]
        return _distance(acked, self._sent + _SLACK) < WINDOW

    def _hear(self, at_s: float) -> None:
        if self.ended_s is None:  # a late one over a slow link revives nothing
            self._heard_s = at_s

    def _end(self, at_s: float) -> None:
        self._heard_s = None
        self.ended_s = at_s

    def _data(self, at_s: float, number: int, second: int, length: int) -> None:
        if second & RETRANSMITTED_BIT:
            return
        if self._sent is not None:
            ahead = _distance(self._sent, number)
            if not 0 < ahead < SEQUENCES // 2:
                return
            self._clear(self._sent + 1 + _SLACK, min(ahead, WINDOW))
        self._sent = number
        self.packet_bytes = length - _HEADER_BYTES
        if self.acked is not None and (not self.readings or at_s - self.readings[-1].at_s >= TICK_S):
            self._read(at_s)

    def _clear(self, number: int, count: int) -> None:
        """Forget what was reported of the numbers that a round ago stood where new ones come."""
        begin = number % WINDOW
        end = begin + count
        self._flags[begin : min(end, WINDOW)] = bytes(min(end, WINDOW) - begin)
        if end > WINDOW:
            self._flags[: end - WINDOW] = bytes(end - WINDOW)

    def _ack(self, at_s: float, ack_number: int, payload: bytes) -> None:
        ack = _ACK.unpack_from(payload, _HEADER_BYTES)
        if self._sent is None or not self._is_new_ack(ack_number):
            return
        number = ack[0]
        if _distance(number, self._sent + _SLACK) >= WINDOW:
            return  # nothing that was sent
        self._ack_number = ack_number
        self._hear(at_s)
        if self.acked is not None:
            advance = _distance(self.acked, number)
            if advance >= SEQUENCES // 2:
                return
            self.acknowledged += advance
        self.acked = number
        if ack[1:3] != _FIRST_RTT:
            self._rtt_ms = ack[1] / 1000
        self._acks.append((at_s, ack))
        self._read(at_s)

    def _is_new_ack(self, ack_number: int) -> bool:
        """Return whether this ACK was not seen yet, and none after it: one over a slow link comes late."""
        if self._ack_number is None:
            return True
        return 0 < (ack_number - self._ack_number) % (1 << 32) < SEQUENCES

    def _read(self, at_s: float) -> None:
        waiting = self.waiting_packets()
        if waiting is not None:
            self.readings.append(Reading(at_s, self._rtt_ms, waiting))

    def _nak(self, at_s: float, payload: bytes) -> None:
        """Take in a loss report, once however many links it comes over, and of it what can have been lost."""
        head = payload[4:32]  # its time, and what it begins with
        if self._sent is None or head in self._copies:
            return
        self._copies.append(head)
        self._hear(at_s)
        left = WINDOW
        oldest = self.acked if self.acked is not None else self._sent - WINDOW // 2
        for low, high in _ranges(payload[_HEADER_BYTES:]):
            behind, count = _distance(low, self._sent + _SLACK), _distance(low, high) + 1
            if count > behind + 1 or behind >= WINDOW or count > left or _distance(oldest, low) >= WINDOW:
                continue
            left -= count
            self.lost += count
            self.reported += self._report(low % WINDOW, count)

    def _report(self, begin: int, count: int) -> int:
        """Flag packets as reported; return how many were not."""
        end = begin + count
        pieces = [(begin, min(end, WINDOW)), (0, max(0, end - WINDOW))]
        fresh = 0
        for low, high in pieces:
            if high > low:
                fresh += (high - low) - self._flags.count(1, low, high)
                self._flags[low:high] = b"\1" * (high - low)
        return fresh

    def _handshake(self, at_s: float, payload: bytes, number: int, *, is_from_encoder: bool) -> None:
        if len(payload) < _HEADER_BYTES + _HANDSHAKE_BYTES:
            return
        _, _, _, first, _, window, kind, own_number = _HANDSHAKE.unpack_from(payload, _HEADER_BYTES)
        if is_from_encoder:
            if own_number != self.encoder:
                self.begin()
                self.encoder = own_number
        elif number == self.encoder and kind == _CONCLUSION:
            self.ended_s, self._heard_s = None, at_s
            self.negotiated = Negotiated(_latency(payload), window or None)
            self._sent = (first - 1) % SEQUENCES if self._sent is None else self._sent


def _latency(payload: bytes) -> int | None:
    """Return the latency of a handshake's response, None where it has none."""
    at = _HEADER_BYTES + _HANDSHAKE_BYTES
    while len(payload) >= at + 4:
        kind, words = struct.unpack_from(">HH", payload, at)
        if kind == _RESPONSE and words >= 3 and len(payload) >= at + 16:
            return max(int(side) for side in struct.unpack_from(">HH", payload, at + 12))
        at += 4 + 4 * words
    return None


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
