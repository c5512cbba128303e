"""What packets say of one bonded link; packets composed from srtla_send.c and srtla_rec.c."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.srt.srt_filters import KEEPALIVE, UPLINK_SAMPLE
from collectors.srt.srtla_link import LOSS_S, MIN_SENT, MOST_UNANSWERED, RTT_S, SILENT_S, Link
from tests import srt_packets

INTERFACE = 4
LENGTH = 1_316


def answer(last: int) -> bytes:
    """Return the receiver's answer to ten packets, the last of them numbered."""
    return srt_packets.answer(range(last - 9, last + 1))


def sent(link: Link, at_s: float, number: int) -> None:
    """Have a data packet leave."""
    link.take_out(at_s, struct.pack(">II", number, 0), LENGTH, INTERFACE)


def test_round_trip_from_the_last_packet_named() -> None:
    """Ten leave one after another, the answer names them all, the tenth is what it waited for."""
    link = Link()
    for number in range(100, 110):
        sent(link, number / 1000, number)
    link.take_in(0.109 + 0.045, answer(109))
    assert pytest.approx(45.0) == link.rtt_ms(0.2)
    assert INTERFACE == link.interface


def test_a_packet_that_left_twice_tells_nothing() -> None:
    """The answer may mean either (Karn's rule)."""
    link = Link()
    sent(link, 0.0, 109)
    sent(link, 0.5, 109)
    link.take_in(0.55, answer(109))
    assert link.rtt_ms(1.0) is None


def test_round_trip_of_a_keepalive() -> None:
    """An idle link is asked each second; an answer without a question is none."""
    link = Link()
    keepalive = struct.pack(">H", KEEPALIVE)
    link.take_in(0.0, keepalive)
    assert link.rtt_ms(0.1) is None
    link.take_out(1.0, keepalive, 2, INTERFACE)
    link.take_in(1.06, keepalive)
    assert pytest.approx(60.0) == link.rtt_ms(1.1)
    assert link.rtt_ms(1.06 + RTT_S + 0.1) is None


def test_a_link_that_does_not_answer_is_down() -> None:
    """After as many packets as two answers are owed for, and a while; one that says nothing is not asked."""
    link = Link()
    assert link.is_up(1e6)
    for number in range(MOST_UNANSWERED // (UPLINK_SAMPLE + 1) + 1):
        sent(link, 10.0, number)
    assert link.is_up(10.0 + SILENT_S - 0.1)
    assert not link.is_up(10.0 + SILENT_S + 0.1)
    link.take_in(13.0, answer(9))
    assert link.is_up(100.0)


def test_loss_is_what_did_not_arrive() -> None:
    """Over the last half minute, and absent where too little was sent to tell."""
    link = Link()
    assert link.loss_percent() is None
    link.acked = 50
    link.mark(0.0, 60)
    link.acked = 1_000
    link.mark(10.0, 1_060)
    assert pytest.approx(5.0) == link.loss_percent()
    link.mark(11.0, 1_060 + MIN_SENT)
    assert (1_000 + MIN_SENT, 950) == link.window()


def test_what_is_under_way_at_the_start_is_not_lost() -> None:
    """Nothing is said before the first answer; a link that never answers has lost all."""
    link = Link()
    for number in range(100):
        sent(link, 0.0, number)
    link.mark(0.1, 100)
    link.mark(1.0, 200)
    assert (0, 0) == link.window()
    link.mark(1.0 + SILENT_S, 400)
    link.mark(2.0 + SILENT_S, 500)
    assert 100.0 == link.loss_percent()


def test_the_window_moves_on() -> None:
    """What was lost a minute ago is over."""
    link = Link()
    for second in range(100):
        link.acked = 100 * second if second > 50 else 1
        link.mark(float(second), 100 * second)
    sent_packets, acked = link.window()
    assert sent_packets == acked == 100 * round(LOSS_S)
    assert 0.0 == link.loss_percent()


def test_delivered_rate() -> None:
    """Packets that arrived since the mark before, of the length that packets have here."""
    link = Link()
    assert link.delivered_bps() is None
    sent(link, 0.0, 1)
    link.acked = 10
    link.mark(0.0, 20)
    link.acked = 110
    link.mark(2.0, 140)
    assert 100 * LENGTH * 8 / 2 == link.delivered_bps()


@given(st.lists(st.tuples(st.booleans(), st.binary(max_size=60)), max_size=30))
def test_any_bytes_are_taken(packets: list[tuple[bool, bytes]]) -> None:
    """Whatever crosses the port."""
    link = Link()
    for at, (out, payload) in enumerate(packets):
        if out:
            link.take_out(at / 10, payload, len(payload), INTERFACE)
        else:
            link.take_in(at / 10, payload)
    link.mark(0.0, 0)
    link.mark(1.0, 100)
    assert link.rtt_ms(3.0) is None or link.rtt_ms(3.0) > 0  # type: ignore[operator]
    assert 0 <= (link.loss_percent() or 0) <= 100
