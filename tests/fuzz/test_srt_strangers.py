"""Many packets of strangers beside a real SRT stream: they change neither its figures nor the memory.

Three hundred thousand in `make test`, millions in `make fuzz`.

srtla_send passes on what anybody sends to one of its ports. A stranger does not know the number of the encoder's
socket, one of 30 random bits; the filter in the kernel, which keeps most of it out, is not in the way here.
"""

from __future__ import annotations

import itertools
import random
import resource
from pathlib import Path

from collectors.srt.connection import SrtConnection
from collectors.srt.filters import ACK, DROP_REQUEST, NAK, SHUTDOWN, SRT_KEEPALIVE
from tests import srt_packets
from tests.fuzz.rounds import SEED, rounds

ROUNDS, PACKETS, KINDS = 30, 10_000, 3_000
MOST_KB = 2_048
RANGE = 1 << 31


def stranger(chance: random.Random) -> bytes:
    """Return a packet that a receiver could have sent, to another socket; or one with a bit changed, or noise."""
    to = chance.randrange(1 << 30) | 1 << 30  # never the encoder's
    if chance.random() < 0.2:
        return chance.randbytes(8) + to.to_bytes(4, "big") * 2 + chance.randbytes(chance.randrange(380))
    words = [RANGE | chance.randrange(RANGE) if at % 2 == 0 else chance.randrange(RANGE) for at in range(94)]
    packet = bytearray(
        chance.choice(
            [
                srt_packets.ack(chance.randrange(RANGE), number=chance.randrange(1 << 32), to=to),
                srt_packets.nak(*words[: chance.randrange(1, 94)], to=to),
                srt_packets.nak(*[RANGE | 1, RANGE - 1] * 47, to=to),
                srt_packets.handshake(1, 1, 1, number=to),
                *(
                    srt_packets.control(kind, bytes(16), to=to)
                    for kind in (SHUTDOWN, SRT_KEEPALIVE, DROP_REQUEST, ACK, NAK)
                ),
            ]
        )
    )
    if chance.random() < 0.3:
        packet[chance.randrange(12)] ^= 1 << chance.randrange(8)  # not of the socket's number
    return bytes(packet)


def real(seen: SrtConnection, second: float) -> None:
    """Have the stream go on for a tenth of a second: fifty packets, one of them lost, and an acknowledgement."""
    first = 1 + round(second * 500)
    for number in range(first, first + 50):
        seen.take(second, srt_packets.data(number), 1_332, is_from_encoder=True)
    seen.take(second, srt_packets.nak(first + 7, time_us=first), 400, is_from_encoder=False)
    acknowledged = srt_packets.ack(first + 40, 40_000 + first % 7, number=first)
    seen.take(second, acknowledged, 400, is_from_encoder=False)


def begun() -> SrtConnection:
    """Return a connection that has shaken hands."""
    seen = SrtConnection()
    seen.take(0.0, srt_packets.hello(1), 64, is_from_encoder=True)
    seen.take(0.0, srt_packets.handshake(2_000, 1_500, 8_192, 1), 96, is_from_encoder=False)
    return seen


def figures(seen: SrtConnection, now_s: float) -> tuple[object, ...]:
    """Return all that is said of a connection."""
    counts = seen.losses.lost, seen.losses.reported, seen.dropped, seen.acknowledged, seen.waiting_packets()
    return *counts, seen.measured(now_s), seen.is_connected(now_s), seen.negotiated, seen.begun, len(seen.readings)


def resident_kb() -> int:
    """Return the memory that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() // 1024


def test_strangers_change_nothing() -> None:
    """Random, altered and large lies between the packets of a stream; a twin hears the stream alone."""
    chance = random.Random(SEED)
    lies = itertools.cycle([stranger(chance) for _ in range(KINDS)])
    seen, twin, before_kb, now_s = begun(), begun(), 0, 0.0
    for number in rounds(ROUNDS, 0.1):
        now_s = number / 10
        for one in (seen, twin):
            real(one, now_s)
        for lie in itertools.islice(lies, PACKETS):
            seen.take(now_s, lie, len(lie), is_from_encoder=False)
        before_kb = before_kb or resident_kb()
        assert figures(twin, now_s) == figures(seen, now_s)
    grown_kb = resident_kb() - before_kb
    print(f"{grown_kb} kB more after {(number + 1) * PACKETS:,} packets; {figures(seen, now_s)}")
    assert grown_kb < MOST_KB
