"""What the packets between encoder and srtla_send say of the SRT connection.

Pure: takes payloads, keeps counts. srtla_send passes on whatever reaches one of its ports, so that anybody can have
sent what seems to come from the receiver. Therefore nothing of it counts unless it is addressed to the number of the
encoder's socket (a random one of 30 bits, which libsrt checks too) and names packets that were really sent and are not
acknowledged yet; what is kept is of a fixed size. Source: draft-sharabayko-srt-01 sections 3 and 4.8, srtcore/core.cpp
(processCtrlAck, processCtrlLossReport).
"""

from __future__ import annotations

import math
import struct
from collections import deque
from collections.abc import Sequence
from itertools import takewhile
from statistics import median
from typing import NamedTuple

from collectors.srt import handshake
from collectors.srt.filters import (
    ACK,
    DATA_SAMPLE,
    DROP_REQUEST,
    HANDSHAKE,
    NAK,
    SHUTDOWN,
    SRT_KEEPALIVE,
)
from collectors.srt.handshake import Negotiated
from collectors.srt.loss_reports import SEQUENCES, WINDOW, LossReports, distance

SILENT_S = 3.0  # an ACK comes every 10 ms, a keepalive each second; belacoder itself gives up after 6 s
MEASURED_S = 5.0  # a collect
READING_S = 0.05  # between two readings for the controller where no acknowledgement comes

_WORD = struct.Struct(">I")
_HEAD = struct.Struct(">IIII")  # type, type-specific, timestamp, socket number
_ACK = struct.Struct(">IIIIIII")  # last seq, RTT, variance, free buffer, packets/s, capacity, bytes/s
_HEADER_BYTES = 16
_FIRST_RTT = (100_000, 50_000)  # the defaults, before anything was measured
_SLACK = DATA_SAMPLE + 1 + 240  # packets that may have been sent since the last one that is known of


class Measured(NamedTuple):
    """What the ACKs of an interval said; None where none came.

    Attributes:
        rtt_ms, jitter_ms: medians of the round trip and its variance.
        free_packets: room in the receiver's buffer at the last one.
    """

    rtt_ms: float | None = None
    jitter_ms: float | None = None
    free_packets: int | None = None


class ControllerInput(NamedTuple):
    """What belacoder's controller has before it at one instant: round trip and unacknowledged packets."""

    at_s: float
    rtt_ms: float | None
    waiting: int


class SrtConnection:
    """One SRT connection as seen from its packets.

    Attributes:
        losses: what the receiver has reported lost.
        dropped, acknowledged: packets, since the start.
        negotiated: what the handshake said.
        packet_bytes: payload of a data packet, of the last one that was seen.
        acked: number of the first packet that the receiver waits for, None before it is known.
        readings: for the controller, the oldest first; taken by who follows it.
        encoder: number of the encoder's SRT socket, None before it is known.
        begun: connections that have begun before this one.
    """

    def __init__(self) -> None:
        self.dropped = self.acknowledged = self.begun = 0
        self.losses = LossReports()
        self.negotiated = Negotiated()
        self.packet_bytes: int | None = None
        self.acked: int | None = None
        self.encoder: int | None = None
        self.readings: deque[ControllerInput] = deque(maxlen=1024)
        self.ended_s: float | None = None
        self._sent: int | None = None
        self._newest: int | None = None
        self._leaving: deque[tuple[float, int]] = deque(maxlen=1024)
        self._ack_number: int | None = None
        self._rtt_ms: float | None = None
        self._acks: deque[tuple[float, tuple[int, ...]]] = deque(maxlen=1024)
        self._heard_s: float | None = None
        self._unknown_until_s: float | None = None

    def send(self, sent: Sequence[tuple[float, int]], length: int) -> None:
        """Take in when some of the data packets left, the oldest first; each counts from its time on.

        Args:
            sent: times, seconds, and numbers.
            length: of a packet's UDP payload, bytes.
        """
        self._leaving.extend(sent)
        self.packet_bytes = length - _HEADER_BYTES
        newest, known = sent[-1][1], self._newest
        ahead = distance(known, newest) if known is not None else 1
        if 0 < ahead < SEQUENCES // 2:
            self._newest = newest
            if known is not None:
                self.losses.forget(known + 1 + _SLACK, min(ahead, WINDOW))

    def reach(self, at_s: float) -> None:
        """Go on to a time: what has left until then is sent."""
        leaving = self._leaving
        while leaving and leaving[0][0] <= at_s:
            left_s, number = leaving.popleft()
            if self._sent is None or 0 < distance(self._sent, number) < SEQUENCES // 2:
                self._sent = number
                if not self.readings or left_s - self.readings[-1].at_s >= READING_S:
                    self._read(left_s)

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
        self.reach(at_s)
        first, second, _, number = _HEAD.unpack_from(payload)
        kind = first >> 16
        if kind == ACK and second == self._ack_number:
            return  # srtla_rec sends each over every link
        if kind == HANDSHAKE:
            self._handshake(at_s, payload, number, is_from_encoder=is_from_encoder)
        elif is_from_encoder:
            self._from_encoder(at_s, first, payload, length)
        elif number == self.encoder or (self.encoder is None and self._is_plausible(kind, payload)):
            self.encoder = number
            self._to_encoder(at_s, kind, second, payload)

    def is_connected(self, now_s: float) -> bool | None:
        """Return whether the receiver is heard, None while that cannot be known."""
        if self._heard_s is not None and now_s - self._heard_s < SILENT_S:
            return True
        if self.ended_s is not None and self._heard_s is None:
            return False
        if self._unknown_until_s is None and self._heard_s is None:
            self._unknown_until_s = now_s + SILENT_S
        return None if now_s < (self._unknown_until_s or 0.0) else False

    @property
    def silent_at_s(self) -> float:
        """When it is lost unless something comes, infinity where nothing was heard."""
        return math.inf if self._heard_s is None else self._heard_s + SILENT_S

    def quiet_s(self, now_s: float) -> float | None:
        """Return for how long nothing has come while packets wait for an acknowledgement, None where none does."""
        return now_s - self._heard_s if self._heard_s is not None and self.waiting_packets() else None

    def miss(self, now_s: float) -> None:
        """Take in that packets were missed: what was heard last may be old, and what is counted has a hole."""
        self._unknown_until_s = now_s + SILENT_S
        self._acks.clear()
        self.readings.clear()

    def in_doubt(self, numbers: Sequence[int]) -> list[int]:
        """Return those of some packets that were reported lost, or that come after what is acknowledged."""
        acked, losses = self.acked, self.losses
        if acked is None or not numbers or 0 < distance(max(numbers), acked) < SEQUENCES // 2:
            return losses.among(numbers)
        return [number for number in numbers if losses.has(number) or distance(acked, number) < SEQUENCES // 2]

    def waiting_packets(self) -> int | None:
        """Return how many packets were sent and are not acknowledged yet, to a precision of about 16."""
        if self._sent is None or self.acked is None:
            return None
        waiting = distance(self.acked, self._sent) + 1
        return waiting if waiting < SEQUENCES // 2 else 0

    def measured(self, now_s: float, over_s: float = MEASURED_S) -> Measured:
        """Return what the ACKs of the last seconds said."""
        acks = [ack for _, ack in takewhile(lambda one: now_s - one[0] <= over_s, reversed(self._acks))]
        if not acks:
            return Measured()
        rtts = [ack[1:3] for ack in acks if ack[1:3] != _FIRST_RTT]
        if not rtts:
            return Measured(None, None, acks[0][3])
        rtt_us, variance_us = median(rtt for rtt, _ in rtts), median(variance for _, variance in rtts)
        return Measured(round(rtt_us / 1000, 3), round(variance_us / 1000, 3), acks[0][3])

    def begin(self) -> None:
        """Forget what belongs to the connection before: a new one begins with numbers of its own."""
        self.begun += 1
        self.acked = self._sent = self._newest = self._ack_number = self._rtt_ms = self._heard_s = None
        self.encoder = None
        self.negotiated = Negotiated()
        self.ended_s = self._unknown_until_s = None
        self.losses.begin()
        self.readings.clear()

    def leave(self, at_s: float) -> None:
        """Forget a connection whose encoder is gone: what was heard before `at_s` was meant for another process."""
        if self._heard_s is not None and self._heard_s < at_s:
            self.begin()

    def _from_encoder(self, at_s: float, first: int, payload: bytes, length: int) -> None:
        kind = first >> 16
        if not first >> 31:
            self.send([(at_s, first)], length)
            self.reach(at_s)
        elif kind == DROP_REQUEST and len(payload) >= _HEADER_BYTES + 8:
            low, high = struct.unpack_from(">II", payload, _HEADER_BYTES)
            self.dropped += min(distance(low, high) + 1, WINDOW)
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
        return distance(acked, self._sent + _SLACK) < WINDOW

    def _hear(self, at_s: float) -> None:
        if self.ended_s is None:  # a late one over a slow link revives nothing
            self._heard_s = at_s

    def _end(self, at_s: float) -> None:
        self._heard_s = None
        self.ended_s = at_s

    def _ack(self, at_s: float, ack_number: int, payload: bytes) -> None:
        ack = _ACK.unpack_from(payload, _HEADER_BYTES)
        if self._sent is None or not self._is_new_ack(ack_number):
            return
        number = ack[0]
        if distance(number, self._sent + _SLACK) >= WINDOW:
            return  # nothing that was sent
        self._ack_number = ack_number
        self._hear(at_s)
        if self.acked is not None:
            advance = distance(self.acked, number)
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
            self.readings.append(ControllerInput(at_s, self._rtt_ms, waiting))

    def _nak(self, at_s: float, payload: bytes) -> None:
        """Take in a loss report, once however many links it comes over."""
        if self._sent is None or self.losses.is_copy(payload):
            return
        self._hear(at_s)
        oldest = self.acked if self.acked is not None else self._sent - WINDOW // 2
        self.losses.take(payload, oldest, self._sent + _SLACK)

    def _handshake(self, at_s: float, payload: bytes, number: int, *, is_from_encoder: bool) -> None:
        shaken = handshake.read(payload)
        if shaken is None:
            return
        if is_from_encoder:
            if shaken.socket != self.encoder:
                self.begin()
                self.encoder = shaken.socket
        elif number == self.encoder and shaken.is_conclusion:
            self.ended_s, self._heard_s = None, at_s
            self.negotiated = shaken.negotiated
            self._sent = (shaken.first - 1) % SEQUENCES if self._sent is None else self._sent
