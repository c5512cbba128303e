"""What packets say of one bonded link; packets composed from srtla_send.c and srtla_rec.c."""

from __future__ import annotations

import random
import struct
import sys
from array import array
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.srt.columns import is_all, places, total
from collectors.srt.filters import KEEPALIVE, REG1, REG2, REG3, REG_ERR, REG_NGP
from collectors.srt.link import IDLE_SILENT_S, QUIET_S, SILENT_S, Link
from collectors.srt.packet_fates import KEPT_S, LOSS_S, MIN_SENT
from collectors.srt.round_trips import RTT_KEPT_S
from tests import srt_packets

INTERFACE, BELOW, ANOTHER = 4, 2, 7
LENGTH = 1_344
STEP_S = 0.5


def word(kind: int) -> bytes:
    """Return a packet that is nothing but its kind."""
    return struct.pack(">H", kind)


def answer(link: Link, at_s: float, *numbers: int, interface: int = INTERFACE) -> None:
    """Have the receiver answer ten packets."""
    link.acknowledge(srt_packets.answered(at_s, srt_packets.answer(numbers), interface))


def send(link: Link, at_s: float, number: int, interface: int = INTERFACE) -> None:
    """Have a data packet leave."""
    link.send(srt_packets.left(at_s, srt_packets.data(number), LENGTH, interface))


def nothing(_numbers: Sequence[int]) -> list[int]:
    """Report no packet lost."""
    return []


class Stream:
    """A link of 100 ms, over which some are lost: and reported, as the receiver does.

    Attributes:
        late: packets that are reported lost, and come nevertheless.
    """

    def __init__(self, link: Link, rate: int = 100) -> None:
        self.link, self.rate = link, rate
        self.now_s, self._number = 0.0, 0
        self._chance = random.Random(1)
        self._reported: set[int] = set()
        self._arrived: list[tuple[float, int]] = []
        self.sent = self.lost = 0

    def run(self, seconds: float, loss: float = 0.0, *, late: float = 0.0, answers_lost: float = 0.0) -> None:
        """Send for a while."""
        until_s = self.now_s + seconds
        while self.now_s < until_s - 1e-9:
            for _ in range(round(self.rate * STEP_S)):
                self.now_s += 1 / self.rate
                self._number += 1
                send(self.link, self.now_s, self._number)
                self.sent += 1
                if self._chance.random() < loss:
                    self.lost += 1
                    self._reported.add(self._number)
                    continue
                if self._chance.random() < late:
                    self._reported.add(self._number)
                self._arrive(answers_lost)
            self.link.packets.close_batch(self.now_s, self._in_doubt)

    def report(self, numbers: Iterable[int]) -> None:
        """Report packets lost, or never acknowledge them."""
        self._reported |= set(numbers)

    def _in_doubt(self, numbers: Sequence[int]) -> list[int]:
        return [number for number in numbers if number in self._reported]

    def _arrive(self, answers_lost: float) -> None:
        self._arrived.append((self.now_s + 0.1, self._number))
        if len(self._arrived) == 10:
            if self._chance.random() >= answers_lost:
                answer(self.link, self._arrived[-1][0], *(number for _, number in self._arrived))
            self._arrived.clear()


def test_what_was_under_way_when_a_connection_ended_is_not_lost() -> None:
    """An encoder that died left packets that nobody will acknowledge."""
    stream = Stream(Link())
    stream.run(10)
    old = range(1 << 20, (1 << 20) + 20)
    for number in old:
        send(stream.link, stream.now_s, number)
    stream.report(old)
    stream.link.packets.begin()
    stream.run(3)
    assert 0.0 == stream.link.packets.loss_percent()


def test_round_trip_from_the_last_packet_named() -> None:
    """Ten leave one after another, the answer names them all, the tenth is what it waited for."""
    link = Link()
    for number in range(100, 110):
        send(link, number / 1000, number)
    answer(link, 0.109 + 0.045, *range(100, 110))
    assert pytest.approx(45.0) == link.trips.median_ms(0.2)
    assert (INTERFACE, 10, 10, 10 * LENGTH) == (
        link.interface,
        link.packets.sent,
        link.packets.acked,
        link.packets.sent_bytes,
    )


def test_a_packet_that_left_twice_has_no_round_trip() -> None:
    """The answer may mean either (Karn's rule); two answers are two that arrived."""
    link = Link()
    for number in (*range(100, 110), 109):
        send(link, 0.0, number)
    answer(link, 0.55, *range(100, 110))
    assert (None, 10) == (link.trips.median_ms(1.0), link.packets.acked)
    answer(link, 0.56, 109, *range(1, 10))
    assert 11 == link.packets.acked


def test_the_round_trip_follows_a_queue() -> None:
    """It is that of the last two seconds; on a weak link the last one counts for ten."""
    link = Link()
    for at, rtt_s in enumerate([0.04] * 10 + [0.9] * 4):
        send(link, float(at), at)
        answer(link, at + rtt_s, *range(100, 109), at)
    assert pytest.approx(900.0) == link.trips.median_ms(13.95)
    assert pytest.approx(900.0) == link.trips.median_ms(13.9 + RTT_KEPT_S)
    assert link.trips.median_ms(14.0 + RTT_KEPT_S) is None


def test_round_trip_of_a_keepalive() -> None:
    """An idle link is asked each second; an answer without a question is none."""
    link = Link()
    link.answer(0.0, word(KEEPALIVE), INTERFACE)
    assert link.trips.median_ms(0.1) is None
    link.ask(1.0, word(KEEPALIVE), INTERFACE)
    link.answer(1.06, word(KEEPALIVE), INTERFACE)
    assert pytest.approx(60.0) == link.trips.median_ms(1.1)


def test_a_receivers_own_keepalive_is_no_answer() -> None:
    """Forks send a time with theirs, and the answer repeats it."""
    link = Link()
    link.ask(1.0, word(KEEPALIVE) + b"our time", INTERFACE)
    link.answer(1.06, word(KEEPALIVE) + b"whatever", INTERFACE)
    assert link.trips.median_ms(1.1) is None
    link.answer(1.09, word(KEEPALIVE) + b"our time, and padding", INTERFACE)
    assert pytest.approx(90.0) == link.trips.median_ms(1.1)


def test_a_link_is_unknown_until_it_has_answered_its_registration() -> None:
    """One that never does is down; the group's registration over it is not its own."""
    link = Link()
    assert link.is_up(1e6) is None
    link.ask(10.0, word(REG2), INTERFACE)
    link.answer(10.1, word(REG2), INTERFACE)
    assert [None, False] == [link.is_up(10.0 + SILENT_S + more_s) for more_s in (-0.1, 0.1)]
    link.answer(13.9, word(REG_NGP), INTERFACE)
    assert (False, False) == (link.is_up(14.0), link.refused)
    link.answer(14.0, word(REG_ERR), INTERFACE)
    assert (False, True) == (link.is_up(14.0), link.refused)
    link.answer(14.1, word(REG3), INTERFACE)
    assert (True, False, 1) == (link.is_up(14.2), link.refused, link.registrations)


def test_a_link_that_does_not_answer_is_down() -> None:
    """After as many packets as an answer is owed for, and a while; one over which nothing is sent is not asked."""
    link = Link()
    stream = Stream(link)
    stream.run(5)
    assert link.is_up(100.0)
    stream.run(SILENT_S - STEP_S, loss=1.0)
    assert link.is_up(stream.now_s)
    stream.run(1.0, loss=1.0)
    assert False is link.is_up(stream.now_s)
    link.hear(stream.now_s)
    assert link.is_up(100.0)


def test_a_lost_keepalive_is_no_dead_link() -> None:
    """An idle link is asked each two seconds, and down when two questions had no answer."""
    link = Link()
    link.hear(0.0)
    link.ask(1.0, word(KEEPALIVE), INTERFACE)
    assert [True, False] == [link.is_up(1.0 + IDLE_SILENT_S + more_s) for more_s in (-0.1, 0.1)]


def test_an_address_that_was_translated_anew() -> None:
    """Nothing is answered but the first registration; where the link was dead, the registrations were lost too."""
    renewed, dead = Link(), Link()
    for link, attempts in ((renewed, 1), (dead, 3)):
        link.ask(0.0, word(REG1), INTERFACE)
        link.answer(0.1, word(REG3), INTERFACE)
        link.ask(1.0, word(KEEPALIVE), INTERFACE)
        for attempt in range(attempts):
            link.ask(5.0 + attempt, word(REG2), INTERFACE)
        link.answer(8.0, word(REG3), INTERFACE)
    assert (8.0, None) == (renewed.changed_address_s, dead.changed_address_s)


@pytest.mark.parametrize("late", [0.0, 0.15])
@pytest.mark.parametrize("loss", [0.0, 0.01, 0.05, 0.15])
def test_loss_within_five_seconds(loss: float, late: float) -> None:
    """Within a point of what was lost, five seconds after it began and ended; what is only overtaken is not lost."""
    link = Link()
    stream = Stream(link)
    stream.run(10, late=late)
    sent, lost = stream.sent, stream.lost
    stream.run(LOSS_S, loss, late=late)
    truth = 100 * (stream.lost - lost) / (stream.sent - sent)
    stream.run(1, loss, late=late)  # the newest have no answer yet
    shown = link.packets.loss_percent()
    stream.run(5.5, late=late)
    after = link.packets.loss_percent()
    print(f"played {100 * loss:g} %, {100 * late:g} % overtaken: lost {truth:.1f} %, shown {shown} %, then {after} %")
    assert shown == pytest.approx(truth, abs=1)
    assert 0.0 == after


def test_a_lost_answer_is_no_loss() -> None:
    """The receiver has reported nothing, and acknowledges what it has."""
    other = Link()
    Stream(other, rate=250).run(10, answers_lost=0.3)
    assert 0.0 == other.packets.loss_percent()


def test_a_packet_that_is_lost_and_sent_again_over_the_same_link_is_one_loss() -> None:
    """One of two arrives: one is lost."""
    link = Link()
    link.packets.close_batch(0.0, nothing)
    for number in range(100):
        at_s = 0.01 + number / 100
        send(link, at_s, number)
        if number % 10 == 5:
            send(link, at_s, number)
        if number % 10 == 9:
            answer(link, at_s + 0.1, *range(number - 9, number + 1))
    for at_s in (1.1, 6.0):
        link.packets.close_batch(at_s, lambda numbers: [number for number in numbers if number % 10 == 5])
    assert (110, 10) == link.packets.window()


def test_too_little_to_tell() -> None:
    """A share of less than fifty packets is none; a weak link is judged over up to half a minute."""
    link = Link()
    assert link.packets.loss_percent() is None
    stream = Stream(link, rate=4)
    stream.run(8)
    assert link.packets.loss_percent() is None
    stream.run(KEPT_S)
    assert 0.0 == link.packets.loss_percent()
    assert MIN_SENT <= link.packets.window()[0] < 4 * KEPT_S


def test_missed_packets_begin_it_again() -> None:
    """What was not seen is not lost, and no silence."""
    link = Link()
    stream = Stream(link, rate=250)
    stream.run(8)
    stream.run(2, loss=1.0)
    link.miss()
    assert (None, True) == (link.packets.loss_percent(), link.is_up(100.0))
    stream.run(1 + LOSS_S)
    assert 0.0 == link.packets.loss_percent()


def test_delivered_rate() -> None:
    """Packets that arrived in the last seconds, of the length that packets have here."""
    link = Link()
    assert link.packets.delivered_bps(0.0) is None
    stream = Stream(link)
    stream.run(10)
    assert link.packets.delivered_bps(stream.now_s) == pytest.approx(100 * LENGTH * 8, rel=0.05)


def test_a_packet_counts_on_the_interface_of_the_route() -> None:
    """Over a bridge it is seen there and on the interface below; when the link moves, the other one is the route's."""
    link = Link()
    for number in range(10):
        send(link, number / 100, number)
        send(link, number / 100 + 1e-5, number, BELOW)
    answer(link, 0.2, *range(10), interface=BELOW)
    answer(link, 0.2, *range(10))
    assert (INTERFACE, 10, 10) == (link.interface, link.packets.sent, link.packets.acked)
    send(link, 0.1 + QUIET_S + 0.1, 11, ANOTHER)
    assert (ANOTHER, 11) == (link.interface, link.packets.sent)


@given(st.lists(st.tuples(st.booleans(), st.binary(max_size=60)), max_size=30))
def test_any_bytes_are_taken(packets: list[tuple[bool, bytes]]) -> None:
    """Whatever crosses the port."""
    link = Link()
    for at, (out, payload) in enumerate(packets):
        if out:
            link.ask(at / 10, payload, INTERFACE)
        else:
            link.answer(at / 10, payload, INTERFACE)
    link.packets.close_batch(0.0, nothing)
    link.packets.close_batch(1.0, nothing)
    assert link.trips.median_ms(3.0) is None or link.trips.median_ms(3.0) >= 0  # type: ignore[operator]
    assert 0 <= (link.packets.loss_percent() or 0) <= 100


def test_columns_are_searched_as_bytes() -> None:
    """A number is found where it is, however often, and not across two others that have its bytes between them."""
    column = array("I", [5, 0x0102_0304, 0x0506_0708, 5])
    across = int.from_bytes(column.tobytes()[6:10], sys.byteorder)
    assert ([0, 3], [2], []) == tuple(list(places(column, value)) for value in (5, 0x0506_0708, across))
    assert [True, False, True] == [is_all(array("I", some), 5) for some in ([5, 5], [5, 6], [])]
    assert [15, 18, 0] == [total(array("I", some)) for some in ([5, 5, 5], [5, 6, 7], [])]
