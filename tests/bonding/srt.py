"""SRT's two ends in live mode, and belacoder's controller on them: a model that keeps to the packets that matter.

Written from draft-sharabayko-srt-01 (handshake, ACK, ACKACK, NAK, drop of what is too late) and from what belacoder.c
does with it (commit 898d9ce): every 20 ms it looks at the round trip and at what is not acknowledged yet. Its decisions
are kept with the rule that made them: what a reader of the packets should find out.
"""

from __future__ import annotations

import struct
import time
from collections import deque
from typing import NamedTuple

from tests import srt_packets
from tests.bonding.network import Network

PAYLOAD_BYTES = 1316
ACK_S, TICK_S, NAK_S, KEEPALIVE_S = 0.01, 0.02, 0.3, 1.0
WINDOW = 8192
SEQUENCE_BEGIN = 1 << 20
HANDSHAKE, KEEPALIVE, ACK, NAK, SHUTDOWN, ACKACK, DROP = 0x8000, 0x8001, 0x8002, 0x8003, 0x8005, 0x8006, 0x8007

MINIMUM, FAST, SLOW = "to the minimum", "10 % at a time", "100 kbit/s at a time"


class Cut(NamedTuple):
    """A decision of the controller to lower the bitrate: when (wall clock), from, to, by which rule, and for what."""

    at_s: float
    before: int
    now: int
    rule: str
    by: str


class Controller:
    """belacoder's, as in its update_bitrate().

    Attributes:
        bitrate: as it is set now, bits per second.
        cuts: every decision to lower it.
    """

    def __init__(self, least: int, most: int, latency_ms: int) -> None:
        self.least, self.most, self.latency_ms = least, most, latency_ms
        self.bitrate = least
        self.cuts: list[Cut] = []
        self._bs_mean = self._bs_jitter = self._rtt_mean = self._rtt_delta = self._rtt_jitter = self._throughput = 0.0
        self._rtt_least, self._bs_before, self._rtt_before = 200.0, 0, 300
        self._raises_at_ms = self._lowers_at_ms = 0

    def tick(self, now_s: float, rtt: int, bs: int, sent_bps: float) -> None:
        """Decide, every 20 ms: round trip in ms, packets not acknowledged, and what is sent."""
        self._bs_mean = 0.99 * self._bs_mean + 0.01 * bs
        self._bs_jitter = max(0.99 * self._bs_jitter, bs - self._bs_before)
        self._bs_before = bs
        self._rtt_mean = 0.99 * self._rtt_mean + 0.01 * rtt if self._rtt_mean else rtt
        delta, self._rtt_before = rtt - self._rtt_before, rtt
        self._rtt_delta = 0.8 * self._rtt_delta + 0.2 * delta
        self._rtt_least *= 1.001
        if rtt not in {100, 0} and rtt < self._rtt_least and self._rtt_delta < 1:
            self._rtt_least = rtt
        self._rtt_jitter = max(0.99 * self._rtt_jitter, delta)
        self._throughput = 0.97 * self._throughput + 0.03 * sent_bps / 1024
        self._decide(round(now_s * 1000), rtt, bs)

    def _decide(self, now_ms: int, rtt: int, bs: int) -> None:
        third = int(4 * (self._bs_mean + self._bs_jitter))
        second = int(max(50, self._bs_mean + max(3 * self._bs_jitter, self._bs_mean)))
        second = min(second, int(self._throughput / 8 * (self.latency_ms / 2) / PAYLOAD_BYTES))
        first = int(max(50, self._bs_mean + 2.5 * self._bs_jitter))
        usual = int(self._rtt_mean + max(4 * self._rtt_jitter, 0.15 * self._rtt_mean))
        calm = int(self._rtt_least + max(1, 2 * self._rtt_jitter))
        if self.bitrate > self.least and (rtt >= self.latency_ms // 3 or bs > third):
            self._lower(now_ms, self.least, 200, MINIMUM, "rtt" if rtt >= self.latency_ms // 3 else "buffer")
        elif now_ms > self._lowers_at_ms and (rtt > self.latency_ms // 5 or bs > second):
            step = 100_000 + self.bitrate // 10
            self._lower(now_ms, self.bitrate - step, 250, FAST, "rtt" if rtt > self.latency_ms // 5 else "buffer")
        elif now_ms > self._lowers_at_ms and (rtt > usual or bs > first):
            self._lower(now_ms, self.bitrate - 100_000, 200, SLOW, "rtt" if rtt > usual else "buffer")
        elif now_ms > self._raises_at_ms and rtt < calm and self._rtt_delta < 0.01:
            self.bitrate = min(self.most, self.bitrate + 30_000 + self.bitrate // 30)
            self._raises_at_ms = now_ms + 500

    def _lower(self, now_ms: int, bitrate: int, wait_ms: int, rule: str, by: str) -> None:
        self._lowers_at_ms = now_ms + wait_ms
        before, self.bitrate = self.bitrate, max(self.least, bitrate)
        if self.bitrate < before:
            self.cuts.append(Cut(time.time(), before, self.bitrate, rule, by))


class Encoder:
    """The end that sends: it connects, sends at the controller's bitrate, and sends again what is reported lost.

    Args:
        network: handles its packets.
        port: where srtla_send listens.
        controller: decides the bitrate.
        number: of its SRT socket.

    Attributes:
        is_stalled: its source gives nothing; the connection stays.
    """

    def __init__(self, network: Network, port: int, controller: Controller, number: int = srt_packets.ENCODER) -> None:
        self._network, self._target, self.controller, self._number = network, ("127.0.0.1", port), controller, number
        self._socket = network.bind("127.0.0.1", 0, lambda packet, _: self._take(packet))
        self._unacked: dict[int, float] = {}
        self._next = SEQUENCE_BEGIN
        self._again: deque[int] = deque()
        self._owed = 0.0
        self._rtt_ms = 100
        self._sent_bytes = 0.0
        self._looked_s = self._said_s = time.monotonic()
        self.is_connected = self.is_stalled = self._is_over = False
        self._connect()

    def close(self, *, says: bool = True) -> None:
        """End, with a goodbye or without one."""
        if says:
            self._send(srt_packets.control(SHUTDOWN, to=srt_packets.RECEIVER))
        self._is_over = True
        self._network.unbind(self._socket)

    def _connect(self) -> None:
        if not self.is_connected and not self._is_over:
            self._send(srt_packets.hello(self._next, number=self._number))
            self._network.later(0.25, self._connect)

    def _take(self, packet: bytes) -> None:
        kind = int.from_bytes(packet[:2], "big")
        if kind == HANDSHAKE and not self.is_connected:
            self.is_connected = True
            self._looked_s = time.monotonic()
            self._tick()
        elif kind == ACK:
            acked, rtt_us = struct.unpack_from(">II", packet, 16)
            self._rtt_ms = rtt_us // 1000
            self._unacked = {number: at_s for number, at_s in self._unacked.items() if number >= acked}
            self._send(srt_packets.control(ACKACK, second=int.from_bytes(packet[4:8], "big"), to=srt_packets.RECEIVER))
        elif kind == NAK:
            words = [number for (number,) in struct.iter_unpack(">I", packet[16:])]
            self._again.extend(number for number in words if number in self._unacked)

    def _tick(self) -> None:
        if self._is_over:
            return
        now_s = time.monotonic()
        elapsed_s, self._looked_s = now_s - self._looked_s, now_s
        before = self._sent_bytes
        while self._again:
            self._data(self._again.popleft(), again=True)
        if not self.is_stalled:
            self._owed += self.controller.bitrate * elapsed_s / 8 / PAYLOAD_BYTES
        while self._owed >= 1:
            self._owed -= 1
            self._data(self._next)
            self._unacked[self._next] = now_s
            self._next += 1
        self._drop(now_s)
        if now_s - self._said_s > KEEPALIVE_S:
            self._send(srt_packets.control(KEEPALIVE, to=srt_packets.RECEIVER))
        rate = (self._sent_bytes - before) * 8 / elapsed_s if elapsed_s > 0 else 0.0
        self.controller.tick(now_s, self._rtt_ms, len(self._unacked), rate)
        self._network.later(TICK_S, self._tick)

    def _drop(self, now_s: float) -> None:
        """Give up what is later than the latency and a little more."""
        limit_s = now_s - max(1.0, 1.25 * self.controller.latency_ms / 1000)
        late = [number for number, at_s in self._unacked.items() if at_s < limit_s]
        if late:
            self._unacked = {number: at_s for number, at_s in self._unacked.items() if at_s >= limit_s}
            self._send(srt_packets.control(DROP, struct.pack(">II", late[0], late[-1]), to=srt_packets.RECEIVER))

    def _data(self, number: int, *, again: bool = False) -> None:
        self._sent_bytes += PAYLOAD_BYTES
        self._send(srt_packets.data(number, again=again) + bytes(PAYLOAD_BYTES))

    def _send(self, packet: bytes) -> None:
        self._said_s = time.monotonic()
        try:
            self._socket.sendto(packet, self._target)
        except OSError:
            pass  # nobody listens there (yet)


class Decoder:
    """The end that receives: it acknowledges every 10 ms, and reports at once what is missing, and again.

    Attributes:
        reported: packets named in its loss reports, each time.
        acks: how many acknowledgements it has sent.
    """

    def __init__(self, network: Network, port: int, latency_ms: int) -> None:
        self._network, self._latency_ms = network, latency_ms
        self._socket = network.bind("127.0.0.1", port, self._take)
        self._client: tuple[str, int] | None = None
        self._encoder = self.reported = self.acks = 0
        self._begin(0)
        self._acknowledge()

    def _begin(self, first: int) -> None:
        self._expected = self._newest = first
        self._missing: dict[int, float] = {}
        self._acks: dict[int, float] = {}
        self._ack_number = 0
        self._acked = first
        self._rtt_us, self._variance_us = 100_000, 50_000
        self._said_s = 0.0

    def _take(self, packet: bytes, sender: tuple[str, int]) -> None:
        self._client = sender
        kind, now_s = int.from_bytes(packet[:2], "big"), time.monotonic()
        if kind == HANDSHAKE:
            first, own = struct.unpack_from(">I", packet, 24)[0], struct.unpack_from(">I", packet, 40)[0]
            if own != self._encoder:
                self._encoder = own
                self._begin(first)
            self._send(srt_packets.handshake(self._latency_ms, 0, WINDOW, first, number=own))
        elif kind == ACKACK:
            asked_s = self._acks.pop(int.from_bytes(packet[4:8], "big"), None)
            if asked_s is not None:
                self._measure(int(1e6 * (now_s - asked_s)))
        elif kind == DROP:
            _, last = struct.unpack_from(">II", packet, 16)
            self._missing = {number: at_s for number, at_s in self._missing.items() if number > last}
        elif kind == SHUTDOWN:
            self._encoder = 0
        elif not packet[0] & 0x80:
            self._data(int.from_bytes(packet[:4], "big"), now_s)

    def _measure(self, rtt_us: int) -> None:
        if self._rtt_us == 100_000:
            self._rtt_us, self._variance_us = rtt_us, rtt_us // 2
        self._variance_us += (abs(rtt_us - self._rtt_us) - self._variance_us) // 4
        self._rtt_us += (rtt_us - self._rtt_us) // 8

    def _data(self, number: int, now_s: float) -> None:
        if number >= self._newest:
            fresh = list(range(self._newest, number))
            self._newest = number + 1
            self._missing |= dict.fromkeys(fresh, now_s)
            self._report(fresh)
        self._missing.pop(number, None)

    def _report(self, numbers: list[int]) -> None:
        self.reported += len(numbers)
        time_us = int(time.monotonic() * 1e6) % (1 << 32)
        for at in range(0, len(numbers), 90):
            self._send(srt_packets.nak(*numbers[at : at + 90], time_us=time_us + at, to=self._encoder))

    def _acknowledge(self) -> None:
        now_s = time.monotonic()
        if self._encoder:
            late = [number for number, at_s in self._missing.items() if now_s - at_s > self._latency_ms / 1000]
            for number in late:
                del self._missing[number]
            due = [number for number, at_s in self._missing.items() if now_s - at_s > NAK_S]
            if due:
                self._report(due[:90])
                self._missing |= dict.fromkeys(due[:90], now_s)
            self._ack(now_s)
        self._network.later(ACK_S, self._acknowledge)

    def _ack(self, now_s: float) -> None:
        expected = min(self._missing, default=self._newest)
        if expected > self._acked:
            self._acked = expected
            self.acks += 1
            self._ack_number += 1
            self._acks[self._ack_number] = now_s
            while len(self._acks) > 1000:
                del self._acks[next(iter(self._acks))]
            held = min(WINDOW, self._newest - expected + 200)
            rates = 500, 4_000, 660_000
            ack = srt_packets.ack(
                expected, self._rtt_us, self._variance_us, WINDOW - held, rates, self._ack_number, to=self._encoder
            )
            self._send(ack)
        elif now_s - self._said_s > KEEPALIVE_S:
            self._send(srt_packets.control(KEEPALIVE, to=self._encoder))

    def _send(self, packet: bytes) -> None:
        self._said_s = time.monotonic()
        if self._client is not None:
            self._socket.sendto(packet, self._client)
