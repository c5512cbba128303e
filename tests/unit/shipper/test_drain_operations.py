"""What the shipper says to the buffer: each operation with its fields, as `common/PROTOCOL.md` has them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest.mock import Mock

import pytest

from shipper.buffer_client import BufferClient, Chunk, Missing, ServerStart
from shipper.buffer_connection import BufferAwayError

START = ServerStart(5, 5_000, 60.0)
STARTED = {"started_s": 5, "started_ms": 5_000, "grace_s": 60.0}
CHUNK = Chunk(2, "b", 0, [("m", "box", {}, [1])])
WINDOW = {"start_ms": 300_000, "uploaded_ms": 400_000}

Call = Callable[[BufferClient], object]


@pytest.mark.parametrize(
    ("call", "operation", "fields"),
    [
        (lambda buffer: buffer.hello([CHUNK]), "hello", {"accepted": [CHUNK]}),
        (lambda buffer: buffer.done(7, 3, "b", 1), "done", {"lease": 7, "upto": 3, "batch_id": "b", "chunk_index": 1}),
        (lambda buffer: buffer.reject(7, 3, "400"), "reject", {"lease": 7, "upto": 3, "reason": "400"}),
        (lambda buffer: buffer.release(7), "release", {"lease": 7, "doubtful": [0, 0]}),
        (lambda buffer: buffer.release(7, (1, 3)), "release", {"lease": 7, "doubtful": [1, 3]}),
        (lambda buffer: buffer.rechecked(9, 60, 4, 1), "rechecked",
         {"start_ms": 9, "width_ms": 60, "there": 4, "short": 1}),
        (lambda buffer: buffer.restarted(START, [(1, [2])]), "restarted", {**STARTED, "missing": [(1, [2])]}),
        (lambda buffer: buffer.restarted(START, None), "restarted", {**STARTED, "missing": None}),
        (lambda buffer: buffer.accepted(START), "accepted", STARTED),
        (lambda buffer: buffer.too_old(86_400.0), "too_old", {"retention_s": 86_400.0}),
        (lambda buffer: buffer.events_sent(4), "events_sent", {"upto": 4}),
        (lambda buffer: buffer.events_verdict(4, 1), "events_verdict", {"upto": 4, "missing": 1}),
        (lambda buffer: buffer.events_restarted(START), "events_restarted", STARTED),
        (lambda buffer: buffer.verdict(WINDOW, [Missing(1, 2, [3])], [4], has_device=False), "verdict",
         {**WINDOW, "missing": [[1, 2, [3]]], "whole": [4], "has_device": False}),
        (lambda buffer: buffer.verdict(WINDOW, []), "verdict",
         {**WINDOW, "missing": [], "whole": [], "has_device": True}),
    ],
)  # fmt: skip
def test_what_is_reported_reaches_the_buffer(call: Call, operation: str, fields: dict[str, Any]) -> None:
    """What the buffer is not told of is sent again, or never."""
    asked: list[tuple[str, dict[str, Any]]] = []

    def ask(name: str, **given: Any) -> dict[str, Any]:
        asked.append((name, given))
        return {}

    call(BufferClient(ask))
    assert [(operation, fields)] == asked


AUDIT = {"start_ms": None, "verified_until_ms": None, "unverified_samples": 0}


@pytest.mark.parametrize(
    ("call", "reply"),
    [
        (lambda buffer: buffer.audit(60.0), AUDIT),
        (lambda buffer: buffer.recheck(), {"start_ms": None}),
        (lambda buffer: buffer.events_audit(60.0), {"upto": 0}),
        (lambda buffer: buffer.events(), {"device_id": "box", "events": []}),
        (lambda buffer: buffer.stats([0, 1, 2, 3]), {"pending": [0] * 4, "due": [0] * 4, "oldest_ms": [None] * 4}),
    ],
)
def test_a_reply_without_its_fields_is_no_reply(call: Call, reply: dict[str, Any]) -> None:
    """One with all of them, and with others, is one; what lacks any comes from something else than this buffer."""
    call(BufferClient(lambda *_, **__: {**reply, "v": 1}))
    call(BufferClient(lambda *_, **__: dict(reply)))
    for name in reply:
        with pytest.raises(BufferAwayError):
            call(BufferClient(lambda *_, name=name, **__: {key: reply[key] for key in reply if key != name}))


def test_an_audit_begins_at_the_oldest_window() -> None:
    """What is open longest is what a full device would give up first."""
    ask = Mock(return_value=AUDIT)
    BufferClient(ask).audit(60.0)
    ask.assert_called_once_with("audit", after_ms=0, grace_s=60.0)


@pytest.mark.parametrize(("expected", "reply"), [(3, {"marked": 3}), (0, {})])
def test_a_hello_says_how_much_it_marked(expected: int, reply: dict[str, Any]) -> None:
    """It is logged, as what would have been sent twice."""
    assert expected == BufferClient(lambda *_, **__: reply).hello()


@pytest.mark.parametrize(("expected_ms", "skew_ms"), [(5_000, None), (5_000, 0.0), (6_500, 1_500.2), (3_500, -1_500.2)])
def test_a_start_is_told_by_the_local_clock(expected_ms: int, skew_ms: float | None) -> None:
    """By the server's, samples of another time would be sent again, and the lost ones not."""
    assert (5, expected_ms, 60.0) == ServerStart.said(5, skew_ms, 60.0)
