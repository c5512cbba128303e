"""The comparison itself: counts in, series that are short out."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable
from typing import Any, cast

import pytest

from common.remote import Remote
from common.service import Service
from common.settings import Settings
from shipper.audit import LEAST_THERE, NEXT_S, PATIENCE, Auditor
from shipper.buffer_client import BufferClient
from shipper.comparison import Uploaded, short
from shipper.http import proof
from shipper.http.answer import Answer
from shipper.http.client import HttpClient, NotTheServerError
from shipper.questions import (
    UnreachableError,
    parse_counts,
    parse_newest,
    parse_retention_s,
    parse_start,
    parse_times,
)
from shipper.report import Report

CPU = frozenset({("__name__", "cpu"), ("device_id", "d")})
DISK = frozenset({("__name__", "disk"), ("device_id", "d")})


def counted(number: str) -> bytes:
    """Return an answer with one number."""
    return b'{"data":{"result":[{"metric":{},"value":[1,"%b"]}]}}' % number.encode()


def test_a_series_with_less_at_the_server_is_short() -> None:
    """One that is equal, or has more there, is not."""
    uploaded = [Uploaded(1, CPU, 30, 30), Uploaded(2, DISK, 30, 30)]
    assert {1} == short(uploaded, Counter({CPU: 29, DISK: 30}))
    assert set() == short(uploaded, Counter({CPU: 31, DISK: 30}))
    assert {1, 2} == short(uploaded, Counter())


def test_two_series_that_are_one_at_the_server_are_counted_together() -> None:
    """Names that differ here and not there, such as a.b and a_b."""
    uploaded = [Uploaded(1, CPU, 10, 10), Uploaded(2, CPU, 5, 5)]
    assert set() == short(uploaded, Counter({CPU: 15}))
    assert {1, 2} == short(uploaded, Counter({CPU: 14}))


def test_an_instant_query_is_read_by_labels() -> None:
    """Each series with its number, whatever the order of its labels."""
    result = [{"metric": {"device_id": "d", "__name__": "cpu"}, "value": [1.5, "30"]}]
    body = json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}}).encode()
    assert Counter({CPU: 30}) == parse_counts(body)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b'{"data":{}}',
        b'{"data":{"result":[1]}}',
        b"\xff",
        counted("Infinity"),
        counted("1e999"),
        counted("-1"),
        b"[" * 99_999,
    ],
)
def test_anything_else_is_no_answer(body: bytes) -> None:
    """A portal's page or another API must not look like a server that lost everything."""
    with pytest.raises(UnreachableError):
        parse_counts(body)


def test_the_start_is_read_from_the_servers_own_metrics() -> None:
    """Either metric will do; without one it is not known."""
    assert parse_start(b"go_threads 8\nvm_app_start_timestamp 1795313745\n") == 1795313745
    assert parse_start(b"process_start_time_seconds 1.79531374e+09\n") == 1795313740
    assert parse_start(b"vm_app_start_timestamp soon\n") is None
    assert parse_start(b"") is None
    assert parse_start(b"vm_app_start_timestamp +Inf\n") is None
    assert parse_start(b"vm_app_start_timestamp 1e300\n") is None


@pytest.mark.parametrize(
    ("days", "value"), [(31, "1"), (40, "40d"), (1.5, "36h"), (14, "2w"), (36_500, "100y"), (math.inf, "soon")]
)
def test_the_retention_is_read_from_the_servers_own_flags(days: float, value: str) -> None:
    """Without a unit it counts months; what is no duration says nothing."""
    line = f'flag{{name="retentionPeriod", value="{value}", is_set="true"}} 1'
    assert 86_400 * days == parse_retention_s(f"go_threads 8\n{line}\n".encode())
    assert math.inf == parse_retention_s(b"")


def test_the_buffer_is_told_how_long_the_server_keeps_samples(audited: Callable[..., Audited]) -> None:
    """Each time, for samples get older; and what is not known is the shortest that there is."""
    auditor, buffer, server, _ = audited()
    assert 86_400 == auditor.retention_s
    server.metrics = b'flag{name="retentionPeriod", value="40d", is_set="true"} 1\n'
    auditor.step()
    assert 40 * 86_400 == auditor.retention_s
    assert ("too_old", 40 * 86_400) in buffer.said


@pytest.mark.parametrize(
    ("expected", "body"),
    [(1_795_000_000_123, counted("1795000000.123")), (0, counted("+Inf")), (0, b'{"data":{"result":[]}}'), (0, b"x")],
)
def test_the_newest_sample_is_a_time_or_nothing(expected: int, body: bytes) -> None:
    """Milliseconds."""
    assert expected == parse_newest(body)


class Buffer:
    """The buffer's half: one window that closed, and what was said of it."""

    def __init__(self) -> None:
        self.said: list[tuple[str, object]] = []
        self.series = SERIES
        self.stored_ms = list(range(START_MS, START_MS + 30_000, 1000))
        self.accepted: list[Any] = []
        self.recheck: dict[str, Any] = {"start_ms": None}

    def ask(self, operation: str, **fields: Any) -> dict[str, Any]:
        """Answer as the buffer does."""
        if operation == "recheck":
            return self.recheck
        if operation == "stored":
            return {"times_ms": [[1, self.stored_ms]]}
        if operation == "accepted":
            return {"is_known": False, "groups": self.accepted}
        if operation == "audit":
            return {
                "start_ms": START_MS, "width_ms": WIDTH_MS, "uploaded_ms": 1, "series": self.series,
                "verified_until_ms": START_MS, "unverified_samples": 30,
            }  # fmt: skip
        found = (fields[name] for name in ("missing", "short", "retention_s") if name in fields)
        self.said.append((operation, next(found)))
        return {}


START_MS, WIDTH_MS = 1_795_000_000_000, 300_000
SERIES = [[1, "cpu", "d", {}, 30, 30]]


class Server:
    """A client of HTTP whose server has so much of the window, and so new samples.

    Attributes:
        counted: samples of the series in the window, None for none.
        newest_s: of the device, seconds after the window's end.
        metrics: its own page of metrics, None for a refusal.
        queries: no answer to questions, but this status.
        exported_ms: times of the series' samples that it has.
    """

    def __init__(self) -> None:
        self.counted: int | None = None
        self.newest_s: float | None = None
        self.metrics: bytes | None = b""
        self.queries = 200
        self.exported_ms: list[int] = []

    def ask(self, url: str, asked: str, _timeout_s: float, **_: object) -> Answer:
        """Answer a question."""
        if asked == proof.METRICS:
            return Answer(401) if self.metrics is None else Answer(200, {}, self.metrics)
        if self.queries != 200:
            return Answer(self.queries)
        if asked == proof.EXPORT:
            line = {"metric": {"__name__": "cpu", "device_id": "d"}, "timestamps": self.exported_ms}
            return Answer(200, {}, json.dumps(line).encode() + b"\n")
        if "tlast_over_time" in url:
            values = [] if self.newest_s is None else [(START_MS + WIDTH_MS) / 1000 + self.newest_s]
        else:
            values = [] if self.counted is None else [self.counted]
        metric = {"__name__": "cpu", "device_id": "d"}
        result = [{"metric": metric, "value": [1, str(value)]} for value in values]
        return Answer(200, {}, json.dumps({"status": "success", "data": {"result": result}}).encode())


Audited = tuple[Auditor, Buffer, Server, Report]


@pytest.fixture
def audited(start_process: Callable[..., Service]) -> Callable[..., Audited]:
    """Build an audit between a buffer and a server in memory."""

    def build(**keys: Any) -> Audited:
        buffer, server, report = Buffer(), Server(), Report(start_process())
        client = cast("HttpClient", server)
        return (
            Auditor(Settings(remote=Remote(**keys)), BufferClient(buffer.ask), client, report),
            buffer,
            server,
            report,
        )

    return build


def test_a_window_that_is_missing_is_reported_once_the_server_has_newer_samples(
    audited: Callable[..., Audited],
) -> None:
    """And not before: they may be on their way."""
    audit, buffer, server, _ = audited()
    server.newest_s = -1.0
    audit.step()
    assert [] == buffer.said
    server.newest_s = 10.0
    audit.step()
    assert [("verdict", [[1, 0, None]])] == buffer.said


def test_a_server_whose_newest_sample_stays_has_lost_the_window(audited: Callable[..., Audited]) -> None:
    """It is waited for, and not for ever."""
    audit, buffer, _, _ = audited()
    for _ in range(PATIENCE + 1):
        audit.step()
    assert [("verdict", [[1, 0, None]])] == buffer.said


@pytest.mark.parametrize("known_by", ["proof", "metrics", "moving"])
def test_behind_a_queue_a_window_is_waited_for_however_long(audited: Callable[..., Audited], known_by: str) -> None:
    """Stated, seen on vmagent's own metrics, or seen by its newest sample that moves on."""
    audit, buffer, server, report = audited(**({"proof": "queue"} if known_by == "proof" else {}))
    server.newest_s = -7200.0
    if known_by == "metrics":
        server.metrics = b"vmagent_remotewrite_pending_data_bytes 1\n"
    if known_by == "moving":
        audit.step()
        server.newest_s = -7000.0
    for _ in range(10 * PATIENCE):
        audit.step()
    assert [] == buffer.said
    assert "something queues before it" in str(report.status.audit)
    server.newest_s, server.counted = 10.0, 30
    audit.step()
    assert ([("verdict", [])], "ok") == (buffer.said, report.status.audit)


def test_a_server_that_is_not_to_be_asked_gets_again_what_it_took_before_it_failed(
    audited: Callable[..., Audited],
) -> None:
    """With a token for writing alone nobody says when it was started."""
    audit, buffer, server, report = audited()
    server.metrics, server.queries = None, 401
    buffer.accepted = [[1, "cpu", "d", {}, [START_MS]]]
    audit.step()
    audit.suspect(START_MS)
    audit.step()
    assert [("restarted", None)] == buffer.said
    assert "counts as delivered" in str(report.status.audit)
    assert 30 == report.status.unverified_samples


def test_a_partial_answer_is_none(audited: Callable[..., Audited], monkeypatch: pytest.MonkeyPatch) -> None:
    """A part of the server is away; nothing is sent again."""
    audit, buffer, server, report = audited()

    def ask(*_: object, **__: object) -> Answer:
        raise NotTheServerError(proof.PARTIAL.reason, proof.PARTIAL.text)

    monkeypatch.setattr(server, "ask", ask)
    audit.step()
    assert [] == buffer.said
    assert "waits: partial_answer" in str(report.status.audit)


@pytest.mark.parametrize("by_series", [True, False])
def test_a_verified_span_is_counted_before_any_window(audited: Callable[..., Audited], by_series: bool) -> None:
    """The buffer hears how much the server has of it, and how much too little."""
    audit, buffer, server, _ = audited()
    buffer.recheck = {"start_ms": START_MS, "width_ms": 10 * WIDTH_MS, "series": SERIES, "by_series": by_series}
    server.counted = 20
    assert NEXT_S == audit.step()
    assert [("rechecked", 10)] == buffer.said


def test_only_what_is_missing_is_named_where_most_is_there(audited: Callable[..., Audited]) -> None:
    """The server gives the times of its samples, which costs less than to send all of them again."""
    audit, buffer, server, _ = audited()
    buffer.stored_ms = list(range(START_MS, START_MS + 300_000, 1000))
    buffer.series = [[1, "cpu", "d", {}, 300, 300]]
    server.newest_s, server.counted, server.exported_ms = 10.0, LEAST_THERE, buffer.stored_ms[:LEAST_THERE]
    audit.step()
    assert [("verdict", [[1, LEAST_THERE, buffer.stored_ms[LEAST_THERE:]]])] == buffer.said


def test_what_a_restarted_server_still_has_is_not_sent_again(audited: Callable[..., Audited]) -> None:
    """Of what it accepted in its last seconds, only what it forgot."""
    audit, buffer, server, _ = audited()
    server.metrics, server.counted = b"vm_app_start_timestamp 1795000400\n", 30
    server.exported_ms = [START_MS, START_MS + 1]
    buffer.accepted = [[1, "cpu", "d", {}, [START_MS, START_MS + 1, START_MS + 2]], [2, "gone", "d", {}, [START_MS]]]
    audit.step()
    assert ("restarted", [(1, [START_MS + 2]), (2, [START_MS])]) == buffer.said[0]


def test_series_that_are_whole_again_are_named(audited: Callable[..., Audited]) -> None:
    """Less was required of them, because the server did not keep all."""
    audit, buffer, server, _ = audited()
    asked: list[dict[str, Any]] = []
    answer = buffer.ask

    def ask(operation: str, **fields: Any) -> dict[str, Any]:
        asked.append({"op": operation, **fields})
        return answer(operation, **fields)

    buffer.series, server.counted = [[1, "cpu", "d", {}, 10, 30]], 30
    audit._buffer = BufferClient(ask)
    audit.step()
    assert [[1]] == [request["whole"] for request in asked if request["op"] == "verdict"]


@pytest.mark.parametrize("body", [b"<html>", b"{}", b'{"metric":{}}', b'{"metric":{},"timestamps":["x"]}'])
def test_what_is_no_export_is_no_answer(body: bytes) -> None:
    """All is sent again then, as if there were none."""
    with pytest.raises(UnreachableError):
        parse_times(body)


def test_the_samples_of_another_device_with_this_id_hide_no_loss(audited: Callable[..., Audited]) -> None:
    """What the server has is compared by its times, not by their number."""
    auditor, buffer, server, _ = audited()
    auditor._duplicates.found = True
    auditor._duplicates._next_s = math.inf
    theirs_ms = [ms + 1 for ms in buffer.stored_ms]
    server.counted, server.newest_s, server.exported_ms = 60, 1, [*buffer.stored_ms[1:], *theirs_ms]
    auditor.step()
    (missing,) = [said for operation, said in buffer.said if operation == "verdict"]
    assert [[1, 29, None]] == missing
