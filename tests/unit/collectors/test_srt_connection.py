"""What packets say of an SRT connection; packets composed from draft-sharabayko-srt-01."""

from __future__ import annotations

import random
import struct
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.srt.connection import SILENT_S, Measured, SrtConnection
from collectors.srt.filters import ACK, DROP_REQUEST, HANDSHAKE, NAK, SHUTDOWN, SRT_KEEPALIVE
from collectors.srt.handshake import Negotiated
from collectors.srt.loss_reports import SEQUENCES, WINDOW
from tests.srt_packets import ENCODER, ack, control, data, handshake, hello, nak

DATA_BYTES = 1332  # 16 of header and seven packets of MPEG-TS
RANGE = 1 << 31


def begun(first: int = 1, *, sent: int = 200) -> SrtConnection:
    """Return a connection that has been negotiated, and has sent packets up to a number."""
    seen = SrtConnection()
    seen.take(0.0, hello(first), 64, is_from_encoder=True)
    seen.take(0.0, handshake(2_000, 1_500, 8_192, first), 96, is_from_encoder=False)
    seen.take(0.0, data(sent % SEQUENCES), DATA_BYTES, is_from_encoder=True)
    return seen


def take(seen: SrtConnection, *packets: bytes) -> SrtConnection:
    """Have a connection take packets of the receiver, one every 10 ms."""
    for at, packet in enumerate(packets):
        seen.take(at / 100, packet, DATA_BYTES, is_from_encoder=False)
    return seen


def test_what_a_dead_encoder_was_told_is_no_connection_of_the_next() -> None:
    """Until that has shaken hands nothing is known; what the next one has heard already stays."""
    for born_s, expected in ((0.5, None), (-0.5, True)):
        seen = take(begun(), ack(10, number=1))
        seen.leave(born_s)
        assert expected is seen.is_connected(0.6)


def test_round_trip_is_the_median_of_the_acks() -> None:
    """One slow answer is no slow link; and each answer counts once."""
    acks = ack(10, 40_000, 4_000, number=1), ack(20, 900_000, 90_000, number=2), ack(30, 50_000, 6_000, 7_990, number=3)
    seen = take(begun(), *acks)
    assert Measured(50.0, 6.0, 7_990) == seen.measured(0.1)
    assert Measured() == seen.measured(100.0)


def test_what_was_not_measured_yet_is_absent() -> None:
    """Libsrt starts with 100 ms and 50 ms, which nobody measured."""
    assert Measured(None, None, 8_000) == take(begun(), ack(10, 100_000, 50_000, number=1)).measured(0.1)


def test_acknowledged_packets_are_counted_once() -> None:
    """Srtla's receiver sends each acknowledgement over every link: late ones are older ones."""
    numbers = (100, 1), (110, 2), (130, 3), (110, 2), (130, 3)
    assert 30 == take(begun(), *(ack(last, number=number) for last, number in numbers)).acknowledged


def test_numbers_wrap() -> None:
    """After 2^31 - 1 comes 0."""
    seen = begun(SEQUENCES - 20, sent=40)
    assert 20 == take(seen, ack(SEQUENCES - 5, number=1), ack(15, number=2)).acknowledged
    assert (3, 3) == losses(take(begun(SEQUENCES - 20, sent=40), nak(RANGE | (SEQUENCES - 2), 0)))


def losses(seen: SrtConnection) -> tuple[int, int]:
    """Return how many packets were reported: as libsrt counts them, and each once."""
    return seen.losses.lost, seen.losses.reported


def test_lost_packets() -> None:
    """Single ones and ranges; what is reported again counts again as in libsrt, and once as reported."""
    seen = take(begun(), nak(7, RANGE | 10, 14, time_us=1), nak(7, time_us=2))
    assert (7, 6) == losses(seen)
    assert [True, False, True] == [seen.losses.has(number) for number in (7, 8, 14)]


def test_a_report_over_every_link_is_one() -> None:
    """Forks of the receiver send each loss report over all links: copies have the same time."""
    assert (1, 1) == losses(take(begun(), *[nak(7, time_us=1)] * 3))


def test_what_was_never_sent_is_not_lost() -> None:
    """Nor what is acknowledged, nor a range that ends before it begins, or without an end."""
    seen = take(begun(), ack(100, number=1))
    for at, words in enumerate([(RANGE | 1, 30_000), (50,), (RANGE | 120, 110), (RANGE | 120,), (5_000,)]):
        take(seen, nak(*words, time_us=at))
    assert (0, 0) == losses(seen)


def test_a_number_is_forgotten_a_window_later() -> None:
    """Another packet has its place then."""
    seen = take(begun(), nak(7, time_us=1))
    for number in range(216, WINDOW + 300, 16):
        seen.take(0.0, data(number), DATA_BYTES, is_from_encoder=True)
    assert not seen.losses.has(WINDOW + 7)


def test_dropped_packets() -> None:
    """What the sender gives up, first and last named."""
    seen = begun()
    seen.take(0.0, control(DROP_REQUEST, struct.pack(">II", 20, 24)), 24, is_from_encoder=True)
    assert 5 == seen.dropped


def test_waiting_packets() -> None:
    """From the last acknowledged packet to the last one sent; what goes again moves nothing."""
    seen = take(begun(), ack(185, number=1))
    seen.take(0.0, data(90, again=True), DATA_BYTES, is_from_encoder=True)
    assert (16, DATA_BYTES - 16) == (seen.waiting_packets(), seen.packet_bytes)
    assert begun().waiting_packets() is None


def test_a_handshake_begins_another_connection() -> None:
    """The larger latency of the two is in force; numbers of the connection before mean nothing any more."""
    seen = take(begun(), ack(100, number=9), nak(150))
    assert Negotiated(2_000, 8_192) == seen.negotiated
    seen.take(1.0, hello(5_000, number=8), 64, is_from_encoder=True)
    assert Negotiated() == seen.negotiated
    seen.take(1.0, handshake(500, 800, 100, 5_000, number=8), 96, is_from_encoder=False)
    assert (Negotiated(800, 100), None, False) == (seen.negotiated, seen.acked, seen.losses.has(150))


def test_connected_until_it_is_silent_or_closed() -> None:
    """By what the receiver sends; a goodbye ends it at once, and what comes late over a slow link revives nothing."""
    seen = take(begun(), ack(10, number=1))
    assert seen.is_connected(SILENT_S - 0.1)
    seen.take(5.0, control(SRT_KEEPALIVE), 16, is_from_encoder=False)
    assert seen.is_connected(5.0 + SILENT_S - 0.1)  # the source has stalled, the connection has not
    assert False is seen.is_connected(5.0 + SILENT_S)
    seen.take(20.0, control(SHUTDOWN), 16, is_from_encoder=False)
    seen.take(20.1, ack(20, number=2), 44, is_from_encoder=False)
    assert False is seen.is_connected(20.2)


def test_a_connection_that_was_not_seen_to_begin() -> None:
    """Nothing is known of it until an acknowledgement of what was really sent; and not for ever."""
    seen = SrtConnection()
    assert seen.is_connected(10.0) is None
    assert take(seen, ack(10, number=1)).is_connected(10.0) is None
    seen.take(0.0, data(200), DATA_BYTES, is_from_encoder=True)
    assert take(seen, ack(1 << 20, number=1)).is_connected(10.0) is None
    assert take(seen, ack(190, number=2)).is_connected(0.0)
    assert ENCODER == seen.encoder
    silent = SrtConnection()
    assert [None, False] == [silent.is_connected(at_s) for at_s in (10.0, 10.0 + SILENT_S)]


def test_missed_packets_are_no_silence() -> None:
    """What was heard last may be old, for the tap has not kept up."""
    seen = take(begun(), ack(10, number=1))
    seen.miss(100.0)
    assert seen.is_connected(100.0 + SILENT_S - 0.1) is None
    assert False is seen.is_connected(100.0 + SILENT_S + 0.1)


def test_strangers_are_not_heard() -> None:
    """What is addressed to another number than the encoder's socket changes nothing."""
    seen = take(begun(), ack(100, number=1))
    before = vars(seen).copy()
    theirs = bytes(4)
    for packet in (ack(150, number=5), nak(150), control(SHUTDOWN), handshake(9, 9, 9), control(SRT_KEEPALIVE)):
        seen.take(1.0, packet[:12] + theirs + packet[16:], len(packet), is_from_encoder=False)
    assert before == vars(seen)


def hostile(chance: random.Random, real: list[bytes]) -> bytes:
    """Return a packet of somebody who wants to be noticed: random, altered, or as large a lie as there is room for."""
    kind = chance.randrange(4)
    if kind == 0:
        return chance.randbytes(chance.randrange(120))
    if kind == 1:
        packet = bytearray(chance.choice(real))
        packet[chance.randrange(len(packet))] ^= 1 << chance.randrange(8)
        return bytes(packet)
    numbers = [RANGE | chance.randrange(RANGE) if at % 2 == 0 else chance.randrange(RANGE) for at in range(94)]
    if kind == 2:
        numbers = [RANGE | 1, 8_000] * 47
    return nak(*numbers, time_us=chance.randrange(1 << 30))


def test_a_flood_of_lies_takes_no_room() -> None:
    """Whatever is addressed even to the right number: state of a fixed size, and no more reported than was sent."""
    chance, seen = random.Random(4), take(begun(sent=8_000), ack(1, number=1))
    real = [ack(100, number=7), nak(120), handshake(1, 1, 1), control(SRT_KEEPALIVE), data(9)]
    for _ in range(1_000):
        seen.take(1.0, hostile(chance, real), 400, is_from_encoder=False)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for at in range(500):
        seen.take(1.0 + at / 1000, hostile(chance, real), 400, is_from_encoder=False)
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 200_000
    assert seen.losses.reported <= WINDOW


@given(st.lists(st.tuples(st.booleans(), st.binary(max_size=120)), max_size=20))
def test_any_bytes_are_taken(packets: list[tuple[bool, bytes]]) -> None:
    """Whatever is on the port: no error, no negative number."""
    seen = begun()
    for at, (is_from_encoder, packet) in enumerate(packets):
        seen.take(at / 100, packet, len(packet), is_from_encoder=is_from_encoder)
    seen.measured(1.0)
    assert min(*losses(seen), seen.dropped, seen.acknowledged, seen.waiting_packets() or 0) >= 0


@pytest.mark.parametrize("kind", [ACK, NAK, HANDSHAKE, DROP_REQUEST, SHUTDOWN])
@pytest.mark.parametrize("length", range(0, 80, 3))
def test_packets_that_are_cut(kind: int, length: int) -> None:
    """A snap length that ends inside a packet costs that packet."""
    whole = control(kind, bytes(range(64)))
    for is_from_encoder in (True, False):
        seen = begun()
        seen.take(0.0, whole[:length], len(whole), is_from_encoder=is_from_encoder)
        seen.measured(1.0)
