"""What packets say of an SRT connection; packets composed from draft-sharabayko-srt-01."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.srt.srt_filters import ACK, DROP_REQUEST, HANDSHAKE, NAK, SHUTDOWN
from collectors.srt.srt_flow import MAX_RANGE, SEQUENCES, SILENT_S, Flow, Measured
from tests.srt_packets import ack, control, data, handshake, nak

DATA_BYTES = 1332  # 16 of header and seven packets of MPEG-TS


def taken(*packets: bytes) -> Flow:
    """Return a connection that has seen packets, one every 10 ms."""
    flow = Flow()
    for at, packet in enumerate(packets):
        flow.take(at / 100, packet, DATA_BYTES)
    return flow


def test_round_trip_is_the_median_of_the_acks() -> None:
    """One slow answer is no slow link; and each answer counts once."""
    flow = taken(ack(10, 40_000, 4_000), ack(20, 900_000, 90_000), ack(30, 50_000, 6_000, 7_990))
    assert Measured(50.0, 6.0, 7_990, 4_000) == flow.measured()
    assert Measured() == flow.measured()


def test_what_was_not_measured_yet_is_absent() -> None:
    """Libsrt starts with 100 ms and 50 ms, which nobody measured."""
    assert Measured(None, None, 8_000, 4_000) == taken(ack(10, 100_000, 50_000)).measured()


def test_acknowledged_packets_are_counted_once() -> None:
    """Srtla's receiver sends each acknowledgement over every link: late ones are older ones."""
    assert 30 == taken(ack(100), ack(110), ack(130), ack(110), ack(130)).acknowledged


def test_numbers_wrap() -> None:
    """After 2^31 - 1 comes 0."""
    assert 20 == taken(ack(SEQUENCES - 5), ack(15)).acknowledged
    flow = taken(nak((1 << 31) | (SEQUENCES - 2), 0))
    assert (3, 3) == (flow.lost, flow.missed)


def test_lost_packets() -> None:
    """Single ones and ranges; what is reported again counts again as in libsrt, and once as missed."""
    flow = taken(nak(7, (1 << 31) | 10, 14), nak(7))
    assert (7, 6) == (flow.lost, flow.missed)


def test_damage_is_no_loss() -> None:
    """A range longer than any window is not counted."""
    assert 0 == taken(nak((1 << 31) | 1, MAX_RANGE + 100)).lost
    assert 0 == taken(nak((1 << 31) | 1)).lost  # a range without its end


def test_dropped_packets() -> None:
    """What the sender gives up, first and last named."""
    assert 5 == taken(control(DROP_REQUEST, struct.pack(">II", 20, 24))).dropped


def test_in_flight() -> None:
    """From the last acknowledged packet to the last one sent; what goes again moves nothing."""
    flow = taken(ack(100), data(116), data(90, again=True))
    assert 16 * (DATA_BYTES - 16) == flow.in_flight_bytes()
    assert taken(data(116)).in_flight_bytes() is None


def test_a_handshake_begins_anew() -> None:
    """The larger latency of the two is in force; numbers of the connection before mean nothing any more."""
    flow = taken(ack(100), nak(105), handshake(2_000, 1_500, 8_192), ack(9))
    assert (2_000, 8_192, 0) == (flow.latency_ms, flow.window_packets, flow.acknowledged)


def test_connected_until_it_is_silent_or_said() -> None:
    """By acknowledgements alone; a goodbye ends it at once."""
    flow = taken(ack(1))
    assert flow.connected(SILENT_S - 0.1)
    assert not flow.connected(SILENT_S + 0.1)
    flow.take(0.5, control(SHUTDOWN), 16)
    assert not flow.connected(0.5)


@given(st.lists(st.binary(max_size=120), max_size=20))
def test_any_bytes_are_taken(packets: list[bytes]) -> None:
    """Whatever is on the port: no error, no negative number."""
    flow = taken(*packets)
    flow.measured()
    assert min(flow.lost, flow.missed, flow.dropped, flow.acknowledged, flow.in_flight_bytes() or 0) >= 0


@pytest.mark.parametrize("kind", [ACK, NAK, HANDSHAKE, DROP_REQUEST, SHUTDOWN])
@pytest.mark.parametrize("length", range(0, 80, 3))
def test_packets_that_are_cut(kind: int, length: int) -> None:
    """A snap length that ends inside a packet costs that packet."""
    whole = control(kind, bytes(range(64)))
    taken(whole[:length]).measured()
