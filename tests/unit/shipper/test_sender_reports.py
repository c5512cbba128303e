"""What the sender sends of what is pending, and what it says of it."""

from __future__ import annotations

import math
from typing import Any

import pytest

from common import clock
from common.remote import Backfill
from shipper.buffer_client import Stats
from shipper.http.outcome import BodyRefused
from shipper.sender import taken_ms
from tests.unit.shipper.stub import NOW_MS, rows
from tests.unit.shipper.way import AWAY, HOUR_MS, Start, old, start

__all__ = ["start"]

FUTURE_MS = 47 * HOUR_MS  # less than the two days ahead that VictoriaMetrics drops


@pytest.mark.parametrize("is_lost", [False, True])
def test_p0_goes_when_it_is_committed(start: Start, is_lost: bool) -> None:
    """Its lane is due by nothing else; where the wake-up is lost, a look finds it."""
    way = start()
    way.warm_up()
    assert way.due_in(0) == math.inf
    way.stub.pending += rows(1, priority=0)
    way.sender.look() if is_lost else way.sender.p0_committed()
    way.rest()
    assert [1] == way.sent


def test_a_look_finds_what_an_outage_left(start: Start) -> None:
    """And takes nothing fresh for it, which would wait behind a limit."""
    way = start()
    way.warm_up()
    way.stub.pending += [row._replace(timestamp_ms=clock.wall_ms()) for row in rows(1)]
    way.sender.look()
    way.rest()
    assert [] == way.sent
    way.stub.pending += old(2)
    way.sender.look()
    way.rest()
    assert [2] == way.sent


@pytest.mark.parametrize(("enabled", "due"), [(True, [0, 1, 5, 0]), (False, [0, 0, 3, 0])])
def test_without_backfill_what_is_old_is_not_late(
    start: Start, monkeypatch: pytest.MonkeyPatch, enabled: bool, due: list[int]
) -> None:
    """It is never sent: the page would say so for ever."""
    way = start(backfill=Backfill(enabled=enabled))
    replies = iter([[0, 1, 5, 0], [0, 2, 2, 0]])
    monkeypatch.setattr(way.buffer, "stats", lambda _: Stats([0, 9, 9, 0], next(replies), [None] * 4))
    way.sender.look()
    assert due == way.report.status.due


def test_what_is_held_back_is_not_late(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator who sends P0 and P1 alone has nothing to look after."""
    way, asked = start(mode="degraded"), list[list[float]]()

    def stats(intervals_s: list[float]) -> Stats:
        asked.append(intervals_s)
        return Stats([0] * 4, [0] * 4, [None] * 4)

    monkeypatch.setattr(way.buffer, "stats", stats)
    way.sender.look()
    lanes = way.sender.state.remote.lanes
    assert [lanes.interval_s(0), lanes.interval_s(1)] == asked[0][:2]
    assert all(interval_s > 365 * 86_400 for interval_s in asked[0][2:])


@pytest.mark.parametrize(("kind", "lines"), [("victoriametrics", 2), ("json", 1)])
def test_a_body_has_the_form_of_the_server(start: Start, kind: str, lines: int) -> None:
    """A line for each series, or one document; the other kind of server takes neither."""
    way = start(rows(2), type=kind)
    way.request()
    assert lines == len(way.bodies[0].splitlines())


def test_what_came_of_a_request_is_reported(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    """Each sample that was taken, each failure, the mode that follows, and the round at its end."""
    caplog.set_level("INFO")
    way = start(rows(3), mode="auto")
    way.answers += [AWAY] * 3
    for _ in range(3):
        way.request()
    assert (3, "degraded", [101]) == (way.report.status.upload_failures, way.report.status.mode, way.stub.released)
    assert 0 == way.report.status.metrics_uploaded
    way.request()
    assert 3 == way.report.status.metrics_uploaded
    assert 1 == sum("uploaded" in record.getMessage() for record in caplog.records)


def test_all_is_current_while_nothing_is_late_and_the_server_answers(start: Start) -> None:
    """Until it fails; from the end of the wait on it may be again."""
    way = start(rows(1))
    way.answers.append(AWAY)
    way.rest()
    way.stub.pending.clear()
    since_ms = way.report.status.last_current_ms
    way.now_s = way.sender.state.wait_until_s - 0.5
    way.sender.look()
    assert since_ms == way.report.status.last_current_ms
    way.now_s += 0.5
    way.sender.look()
    assert clock.wall_ms() == way.report.status.last_current_ms


def test_each_refused_sample_is_counted_once(start: Start) -> None:
    """Also of a lease with several."""
    samples = rows(5)
    way = start([row._replace(value=math.inf) if row.value in {1, 3} else row for row in samples])
    way.rest()
    assert 2 == way.report.instruments.counter("uploader.rejected_samples_total")
    assert ([0, 2, 4], 2) == (way.stub.uploaded, len(way.stub.rejected))


@pytest.mark.parametrize(("count", "chunk"), [(50, 50), (51, 200), (60, 200)])
def test_a_chunk_grows_while_more_waits_behind_it(start: Start, count: int, chunk: int) -> None:
    """A lane that is nearly empty says nothing of how much the uplink takes."""
    way = start(rows(count))
    way.request()
    assert chunk == way.sender.state.chunk(old=False)


def test_a_refused_body_is_reported(start: Start) -> None:
    """Before it is split: else the log shows a server that takes everything."""
    way = start(rows(2))
    way.answers.append(BodyRefused("http_413", too_large=True))
    way.rest()
    assert ([2, 1, 1], 1) == (way.sent, way.report.status.upload_failures)


def test_an_empty_lane_rests_and_the_backlog_is_reported(start: Start) -> None:
    """With the lease that was not full, not with the next look."""
    way = start(rows(1))
    way.stub.pending += rows(4, priority=3)
    way.report.status.pending = [9, 9, 9, 9]
    way.sender._queues.schedule.rest(0, way.now_s)
    way.sender._queues.schedule.rest(1, way.now_s)
    way.request()
    assert ([0, 0, 0, 4], 30.0) == (way.report.status.pending, way.due_in(2))
    assert 1 == way.stub.asked.count("lease")


@pytest.mark.parametrize(
    ("span", "skew_ms", "retention_s", "expected"),
    [
        ((None, None), None, math.inf, (None, None)),
        ((5, 9), FUTURE_MS, math.inf, (5, 9)),
        ((None, None), FUTURE_MS, math.inf, (None, None)),
        ((None, None), FUTURE_MS + 1, math.inf, (None, NOW_MS - 1)),
        ((None, NOW_MS), FUTURE_MS + 1, math.inf, (None, NOW_MS - 1)),
        ((None, 9), FUTURE_MS + 1, math.inf, (None, 9)),
        ((None, None), None, 3_660.0, (NOW_MS - HOUR_MS, None)),
        ((None, None), 500, 3_660.0, (NOW_MS - HOUR_MS - 500, None)),
        ((NOW_MS, None), None, 3_660.0, (NOW_MS, None)),
    ],
)
def test_a_server_is_sent_what_it_keeps(
    span: tuple[Any, Any], skew_ms: int | None, retention_s: float, expected: tuple[Any, Any]
) -> None:
    """Two days ahead of its clock, or older than its retention, it acknowledges and drops."""
    assert expected == taken_ms(span, NOW_MS, skew_ms, retention_s)
