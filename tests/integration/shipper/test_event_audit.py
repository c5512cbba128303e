"""What the log server acknowledged is counted there."""

from __future__ import annotations

import pytest

from shipper.event_audit import logsql, parse_count
from tests.log_server import STARTED_S, LogServer
from tests.unit.shipper.running import Start
from tests.unit.shipper.stub import rows

AT_MS = 1_764_000_000_123
QUICK = {"remote__audit__interval": "1s"}


def test_events_that_a_crash_took_are_sent_again(start: Start, logs: LogServer) -> None:
    """The server has acknowledged them and has fewer; the buffer hears when it was started, too."""
    running = start(rows(1), **QUICK, remote__events__url=logs.url)
    running.stub.events = [[n, AT_MS + n, "kind", "info", "source", f"text {n}", None] for n in range(1, 6)]
    running.until("all of them", lambda: running.stub.events_sent == 5)
    del logs.lines[3:]
    running.until("the count", lambda: running.stub.events_missing == 2)
    running.until("all of them again", lambda: running.stub.events_verified == 5)
    assert 5 == len({line["_msg"] for line in logs.lines})
    assert STARTED_S in running.stub.events_starts


def test_a_span_is_counted_by_device_and_time() -> None:
    """An event that was sent twice counts once."""
    found = {"start_ms": AT_MS, "end_ms": AT_MS + 1, "device_id": 'bo"x'}
    assert (
        "_time:[2025-11-24T16:00:00.123Z, 2025-11-24T16:00:00.124Z] "
        'device_id:="bo\\"x" | uniq by (_time, source, kind, _msg) | stats count() as events'
    ) == logsql(found)


@pytest.mark.parametrize(
    ("expected", "body"), [(12, b'{"events":"12"}\n'), (0, b'{"events":0}'), (None, b""), (None, b'{"events":"x"}')]
)
def test_an_answer_is_a_count_or_nothing(expected: int | None, body: bytes) -> None:
    """What is no count proves nothing."""
    assert expected == parse_count(body)
