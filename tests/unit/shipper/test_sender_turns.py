"""The sender's turns, one by one: a buffer in memory, a server that says what it is told to, and a clock to turn."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from common import clock
from common.instruments import Instruments
from common.log import Log
from common.remote import Backfill, Remote
from common.service import Service
from common.settings import Settings
from shipper.buffer_client import BufferClient, Stats
from shipper.http.client import Exchange, HttpClient
from shipper.http.outcome import Accepted, BodyRefused, Outcome, TryLater
from shipper.queues import WARM_UP_FOR_S, WARM_UP_S, Queue
from shipper.quota import DataQuota
from shipper.report import Report
from shipper.sender import Sender, Trouble, taken_ms
from shipper.upload import Upload
from tests.unit.shipper.stub import NOW_MS, Row, StubBuffer, rows

HOUR_MS = 3_600_000
FUTURE_MS = 47 * HOUR_MS  # less than the two days ahead that VictoriaMetrics drops
AWAY = TryLater("http_503")


class Way:
    """A sender between its buffer and its server.

    Attributes:
        now_s: the monotonic clock.
        answers: of the server, the next first; it accepts everything when there are none.
        sent, bodies: how many samples each request had, and its body.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, samples: list[Row], remote: Remote) -> None:
        self.now_s, self.stub = 1000.0, StubBuffer(samples)
        self.answers, self.sent, self.bodies = deque[Outcome](), list[int](), list[bytes]()
        monkeypatch.setattr("shipper.sender.time.monotonic", lambda: self.now_s)
        monkeypatch.setattr("shipper.sender.random.random", lambda: 0.0)
        monkeypatch.setattr(clock, "wall_ms", lambda: NOW_MS + 1_000 + round(1000 * (self.now_s - 1000)))
        self.transport = SimpleNamespace(endpoint="server", reconnects=0, pack=bytes)
        process = SimpleNamespace(
            log=Log("shipper"), instruments=Instruments(), event=lambda _: None, worked=lambda: None,
            failed=lambda *_, **__: None,
        )  # fmt: skip
        self.report = Report(cast("Service", process))
        client = SimpleNamespace(transport=self.transport, upload=self._upload)
        self.buffer = BufferClient(self.stub.ask)
        quota = SimpleNamespace(quota=SimpleNamespace(holding=()))
        self.sender = Sender(
            Settings(remote=remote), self.buffer, cast("HttpClient", client), cast("DataQuota", quota), self.report
        )

    def _upload(self, packed: bytes, samples: int, *_: object) -> Exchange:
        self.sent.append(samples)
        self.bodies.append(packed)
        outcome = self.answers.popleft() if self.answers else Accepted(samples)
        return Exchange(outcome, samples, len(packed), duration_s=0.1)

    def rest(self) -> float:
        """Do turns until nothing is due; return when the next is."""
        while (due_s := self.sender.turn()) <= self.now_s:
            pass
        return due_s

    def request(self) -> None:
        """Do turns until the server was sent one more chunk, once the wait is over."""
        self.now_s, sent = max(self.now_s, self.sender.state.wait_until_s), len(self.sent)
        while len(self.sent) == sent:
            assert self.sender.turn() <= self.now_s

    def warm_up(self) -> None:
        """Let the first minute pass, and all lanes rest."""
        self.now_s += WARM_UP_FOR_S
        self.rest()

    def due_in(self, priority: int) -> float:
        """Return in how many seconds a lane is due."""
        return self.sender._queues.schedule.next_s([priority]) - self.now_s

    def park(self, *after_s: float) -> None:
        """Park uploads of which one sample is tried again so much later."""
        for seconds in after_s:
            upload = SimpleNamespace(parked_until_s=self.now_s + seconds, remaining=0, attempt=1, unreported=list)
            self.sender._parked.append((Queue(2, old=True), cast("Upload", upload)))


Start = Callable[..., Way]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Start:
    """Begin with samples and keys of section remote."""
    return lambda samples=(), **keys: Way(monkeypatch, list(samples), Remote(**{"mode": "realtime", **keys}))


def old(count: int) -> list[Row]:
    """Return samples of an hour ago."""
    return [row._replace(timestamp_ms=row.timestamp_ms - HOUR_MS) for row in rows(count)]


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
    way.sender.state = way.sender.state.__class__(**{**vars(way.sender.state), "wait_until_s": 1060.0})
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
