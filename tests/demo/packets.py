"""The stream as packets on the loopback interface: what belacoder, srtla_send and the receiver would say to each other.

Reads: a `Scene`. Emits: IPv4 packets on `lo` without a valid header checksum: the SRT collector's tap sees them, then
    the kernel drops them. What a link loses is reported and sent again, as libsrt does.
Fails: PermissionError without CAP_NET_RAW.
"""

from __future__ import annotations

import errno
import heapq
import itertools
import random
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from collectors.srt.filters import KEEPALIVE
from collectors.srt.packet_fates import ACKED
from tests import srt_packets
from tests.demo.programs import PORT, RECEIVER_PORT
from tests.demo.scene import LATENCY_MS, TARGET_BPS, Link, Scene

ETH_P_IP = 0x0800
MOST_PLAYS = 100
ENCODER_PORT, SENDER_PORT = 40_000, 50_000
HERE, RECEIVER = "127.0.0.1", "198.51.100.7"  # RFC 5737: nobody's
PACKET_BYTES = 1360  # of IP
WINDOW = 8192  # packets, libsrt's default
ACK_S, KEEPALIVE_S = 0.01, 1.0
CONNECTS_S = 1.0  # after its start
UNHEARD_S = 30.0  # how long the first stream waits for somebody to look at packets
ETH_P_ALL = "0003"  # as /proc/net/packet prints it

_KEEPALIVE = KEEPALIVE.to_bytes(2, "big")
_HEADERS = struct.Struct(">BBHHHBBH4s4sHHHH")


class Flight(NamedTuple):
    """A data packet under way; `arrives` is False for one that will not."""

    due_s: float
    number: int
    address: str
    arrives: bool


def claim() -> socket.socket:
    """Return a socket that keeps the first free port from srtla_send's on, as that does.

    Raises:
        OSError: none is free.
    """
    kept = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for port in range(PORT, PORT + MOST_PLAYS):
        with suppress(OSError):
            kept.bind((HERE, port))
            return kept
    kept.close()
    raise OSError(errno.EADDRINUSE, f"no UDP port from {PORT} on is free")


def loopback() -> Callable[[bytes], object]:
    """Return what puts a packet on `lo`.

    Raises:
        PermissionError: CAP_NET_RAW is missing.
    """
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
    return lambda packet: opened.sendto(packet, ("lo", ETH_P_IP, 0, 0, bytes(6)))


def is_tapped() -> bool:
    """Return whether a program looks at all packets of this machine, as the SRT collector does."""
    rows = Path("/proc/net/packet").read_text(encoding="ascii").splitlines()[1:]
    return any(row.split()[3] == ETH_P_ALL for row in rows)


class Packets:
    """One stream after the other, each from its handshake on.

    Args:
        send: is given each packet.
        plays: as for `Programs`.
        is_heard: returns whether somebody looks at packets: a pipeline that has only just been started does not yet.
    """

    def __init__(
        self, send: Callable[[bytes], object], plays: int = 0, is_heard: Callable[[], bool] = lambda: True
    ) -> None:
        self._put = send
        self._is_heard = is_heard
        self._unheard_until_s: float | None = None
        self._port, self._receiver_port = PORT + plays, RECEIVER_PORT + plays
        self._chance = random.Random(1)
        self._run: int | None = None
        self._connects_s = self._acked_s = self._asked_s = self._owed = 0.0
        self._answers: list[tuple[float, str]] = []  # of keepalives: when they come back, over which link

    def play(self, scene: Scene, now_s: float, elapsed_s: float) -> None:
        """Send what belongs between the last call and this one."""
        run = scene.run if scene.encodes else None
        if run != self._run:
            self._run, self._connects_s = run, now_s + CONNECTS_S
        if not self._may_connect(now_s):
            self._connects_s = now_s + CONNECTS_S
        up = [link for link in scene.links if link.up]
        self._keep_alive(up if scene.streaming else [], now_s)
        if run is None or not up or now_s < self._connects_s:
            return
        if self._acked_s < self._connects_s:
            self._begin()
            self._acked_s = now_s
        self._owed += sum(link.bits_per_second for link in up) / 8 / PACKET_BYTES * elapsed_s
        for _ in range(int(self._owed)):
            self._data(next(self._numbers), up, now_s)
        self._owed %= 1
        self._arrive(up, now_s)
        while self._acked_s <= now_s - ACK_S:
            self._acked_s += ACK_S
            self._acknowledge(up)

    def _may_connect(self, now_s: float) -> bool:
        """Return whether the first handshake will be seen, or was waited for too long."""
        if self._unheard_until_s is None:
            self._unheard_until_s = now_s + UNHEARD_S
        if now_s < self._unheard_until_s and self._is_heard():
            self._unheard_until_s = 0.0
        return now_s >= self._unheard_until_s

    def _keep_alive(self, up: list[Link], now_s: float) -> None:
        """Ask over each link every second, and let the receiver answer a round trip later."""
        if now_s - self._asked_s >= KEEPALIVE_S:
            self._asked_s = now_s
            for link in up:
                self._send(link.ip, SENDER_PORT, RECEIVER, self._receiver_port, _KEEPALIVE)
                heapq.heappush(self._answers, (now_s + link.rtt_ms / 1000, link.ip))
        while self._answers and self._answers[0][0] <= now_s:
            self._send(RECEIVER, self._receiver_port, heapq.heappop(self._answers)[1], SENDER_PORT, _KEEPALIVE)

    def _begin(self) -> None:
        """Shake hands, with numbers of its own."""
        self._numbers = itertools.count(first := self._chance.randrange(1 << 20, 1 << 30))
        self._acks = itertools.count(1)
        self._waiting = {first}  # not arrived; with what is sent next, never empty
        self._flights: list[Flight] = []
        self._arrived: dict[str, list[int]] = {}
        self._owed = 0.0
        self._send(HERE, ENCODER_PORT, HERE, self._port, srt_packets.hello(first))
        self._to_encoder(srt_packets.handshake(LATENCY_MS, LATENCY_MS, WINDOW, first))

    def _data(self, number: int, up: list[Link], now_s: float, *, again: bool = False) -> None:
        """Send a data packet to srtla_send, and over one of the links."""
        link = self._chance.choices(up, [link.bits_per_second + 1 for link in up])[0]
        payload = srt_packets.data(number, again=again).ljust(PACKET_BYTES - 28, b"\0")
        self._send(HERE, ENCODER_PORT, HERE, self._port, payload)
        self._send(link.ip, SENDER_PORT, RECEIVER, self._receiver_port, payload)
        arrives = self._chance.random() >= link.loss_percent / 100
        heapq.heappush(self._flights, Flight(now_s + link.rtt_ms / 1000, number, link.ip, arrives))
        self._waiting |= {number, number + 1} if not again else set()

    def _arrive(self, up: list[Link], now_s: float) -> None:
        """Answer what the receiver has got by now, and ask for what it misses."""
        missed = []
        while self._flights and self._flights[0].due_s <= now_s:
            flight = heapq.heappop(self._flights)
            if not flight.arrives:
                missed.append(flight.number)
                continue
            self._waiting.discard(flight.number)
            arrived = self._arrived.setdefault(flight.address, [])
            arrived.append(flight.number)
            if len(arrived) == ACKED:
                answer = srt_packets.answer(arrived)
                self._send(RECEIVER, self._receiver_port, flight.address, SENDER_PORT, answer)
                arrived.clear()
        if missed:
            self._to_encoder(srt_packets.nak(*missed))
            for number in missed:
                self._data(number, up, now_s, again=True)

    def _acknowledge(self, up: list[Link]) -> None:
        """Send a full acknowledgement of all before the first that has not arrived."""
        rtt_us = 1000 * (max(link.rtt_ms for link in up) + 4)
        rate = sum(link.bits_per_second for link in up) // 8 // PACKET_BYTES
        held = min(WINDOW, rate * LATENCY_MS // 1000 + self._chance.randrange(20))
        rates = rate, int(2.5 * TARGET_BPS / 8 / PACKET_BYTES), rate * PACKET_BYTES
        number = next(self._acks)
        self._to_encoder(srt_packets.ack(min(self._waiting), rtt_us, rtt_us // 12, WINDOW - held, rates, number))

    def _to_encoder(self, payload: bytes) -> None:
        self._send(HERE, self._port, HERE, ENCODER_PORT, payload)

    def _send(self, source: str, source_port: int, target: str, target_port: int, payload: bytes) -> None:
        length = 28 + len(payload)
        ends = socket.inet_aton(source), socket.inet_aton(target)
        headers = _HEADERS.pack(0x45, 0, length, 0, 0, 64, 17, 0, *ends, source_port, target_port, length - 20, 0)
        self._put(headers + payload)
