"""The sender's turns, one by one: whose is next, and what a failure, a refusal and an outage change."""

from __future__ import annotations

from dataclasses import replace

import pytest

from common import clock
from shipper.http.outcome import Accepted, BodyRefused, TryLater
from shipper.queues import WARM_UP_S, Queue
from shipper.sender import Trouble
from tests.unit.shipper.stub import Row, rows
from tests.unit.shipper.way import AWAY, Start, old, start

__all__ = ["start"]


@pytest.mark.parametrize(("parked", "sent"), [(7, [3]), (8, [])])
def test_old_samples_wait_for_those_that_were_refused(start: Start, parked: int, sent: list[int]) -> None:
    """Eight leases are enough to hold; fresh samples go on."""
    way = start(old(3))
    way.park(*[2.0 + number / 100 for number in range(parked)])
    due_s = way.rest()
    assert (sent, 1002.0) == (way.sent, due_s)
    way.stub.pending += rows(1, first=9)
    way.now_s += 1.9
    way.sender._queues.schedule.all_due(way.now_s)
    way.rest()
    assert [*sent, 1] == way.sent


def test_what_was_refused_is_tried_again_in_time(start: Start) -> None:
    """At its moment, if the server is not left alone just then, which ends at its moment too."""
    way = start(rows(3))
    way.answers += [BodyRefused("http_400"), BodyRefused("http_400"), BodyRefused("http_400"), Accepted(0)]
    way.rest()
    (parked,) = [upload for _, upload in way.sender._parked]
    assert parked.parked_until_s == 1060.0
    way.sender.state = replace(way.sender.state, wait_until_s=1060.0)
    way.now_s = 1059.9
    assert 1060.0 == way.sender.turn()
    way.now_s = 1060.0
    way.rest()
    assert ([], 3) == (way.sender._parked, len(way.stub.uploaded))


def test_a_failed_server_is_left_alone_until_the_wait_is_over(start: Start) -> None:
    """Then one request tells; the samples in it are those that wait for a retry."""
    way = start(rows(60))
    way.request()
    assert ([50], 0) == (way.sent, way.report.status.retry_queue_size)
    way.answers.append(AWAY)
    way.request()
    assert 10 == way.report.status.retry_queue_size
    until_s = way.sender.state.wait_until_s
    way.now_s = until_s - 0.1
    assert until_s == way.sender.turn()
    way.now_s = until_s
    way.rest()
    assert ([50, 10, 10], 0) == (way.sent, way.report.status.retry_queue_size)


def test_what_is_forgotten_is_not_retried(start: Start) -> None:
    """The leases are void: the buffer hands those samples out again."""
    way = start(rows(3))
    way.answers.append(AWAY)
    way.request()
    way.park(60)
    assert (3, 2) == (way.report.status.retry_queue_size, len(way.sender.uploads))
    assert [] == way.sender.forget()
    assert (0, []) == (way.report.status.retry_queue_size, way.sender.uploads)


def test_p1_is_stretched_while_the_uplink_is_bad(start: Start) -> None:
    """From the start where the mode is set, and from the third failure on where it is not."""
    fixed = start(mode="degraded")
    fixed.rest()
    assert 60.0 == fixed.due_in(1)
    way = start(rows(1), mode="auto")
    way.answers += [AWAY] * 3
    for _ in range(3):
        way.request()
    way.now_s = 1_181.0
    way.sender._queues.rest(Queue(1, old=False), way.sender.state, way.now_s)
    assert 59.0 == way.due_in(1)


def test_an_outage_that_is_over_makes_every_lane_due(start: Start) -> None:
    """What has waited goes at once; whether the server was restarted is looked into."""
    way = start()
    way.warm_up()
    assert (None, True) == (way.sender.trouble, way.due_in(3) > 30)
    way.now_s += way.due_in(2)
    way.stub.pending += [row._replace(timestamp_ms=clock.wall_ms()) for row in rows(1)]
    failed_ms = clock.wall_ms()
    way.answers += [AWAY, AWAY, TryLater("timeout", answered=False)]
    for _ in range(4):
        assert way.sender.trouble is None
        way.request()
    assert way.due_in(3) <= 0
    assert Trouble(failed_ms) == way.sender.trouble


def test_a_link_that_failed_is_no_server_that_did(start: Start) -> None:
    """In a tunnel nobody answers: what was accepted before it is there."""
    way = start(rows(1))
    way.answers.append(TryLater("timeout", answered=False))
    way.request()
    way.request()
    assert Trouble(None) == way.sender.trouble


def test_a_connection_that_was_opened_again_is_a_reason_to_look(start: Start) -> None:
    """The server's end of it may have died; what is known of the trouble already stays."""
    way = start(rows(1))
    way.transport.reconnects += 1
    way.rest()
    assert Trouble(None) == way.sender.trouble
    way.sender.trouble = Trouble(5)
    way.stub.pending += rows(1)
    way.transport.reconnects += 1
    way.sender._queues.schedule.all_due(way.now_s)
    way.rest()
    assert Trouble(5) == way.sender.trouble


@pytest.mark.parametrize(("samples", "due_s"), [(rows(1), 30.0), (old(1), WARM_UP_S)])
def test_a_lane_is_asked_often_until_its_first_fresh_sample(start: Start, samples: list[Row], due_s: float) -> None:
    """Somebody waits for a graph; what an outage left is none."""
    way = start(samples)
    way.rest()
    assert ([1], due_s) == (way.sent, way.due_in(2))
