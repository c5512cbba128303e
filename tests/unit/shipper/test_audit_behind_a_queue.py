"""What a day of audits costs behind a queue that is hours behind, beside a server that has everything at once.

Time is simulated: a window closes every five minutes, and the server has what is older than its lag.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from functools import cache
from typing import Any, cast

import pytest

from common.remote import Remote
from common.service import Service
from common.settings import Settings
from shipper.audit import Auditor
from shipper.buffer_client import BufferClient
from shipper.http import proof
from shipper.http.answer import Answer
from shipper.http.client import HttpClient
from shipper.report import Report

WINDOW_S, HOUR_S = 300, 3600
DAY_S = 6 * HOUR_S  # a quarter of one costs a quarter
SERIES = [[number, f"metric.{number}", "d", {}, 10, 10] for number in range(300)]
START_S = 1_795_000_200
# Measured by the benchmark in the default configuration: 683 samples a minute at 3.39 bytes.
UPLOAD_BYTES = DAY_S / 60 * 683 * 3.39
REQUEST_BYTES, ANSWER_BYTES = 400, 250  # heads of HTTP


class Day:
    """The buffer's windows and the server's answers, at a time.

    Args:
        lag_s: by how much the server is behind at a time.
    """

    def __init__(self, lag_s: Callable[[float], float]) -> None:
        self._lag_s = lag_s
        self.now_s = float(START_S)
        self.verified = 0
        self.bytes = 0.0

    def buffer(self, operation: str, **_: Any) -> dict[str, Any]:
        """Answer as the buffer does."""
        if operation == "recheck":
            return {"start_ms": None}
        if operation == "accepted":
            return {"is_known": True, "groups": []}
        if operation == "verdict":
            self.verified += 1
            return {}
        start_s = START_S + self.verified * WINDOW_S
        is_closed = start_s + WINDOW_S + 60 <= self.now_s
        window = {"start_ms": 1000 * start_s, "width_ms": 1000 * WINDOW_S, "uploaded_ms": 1, "series": SERIES}
        return {**(window if is_closed else {"start_ms": None}), "verified_until_ms": 0, "unverified_samples": 0}

    def ask(self, url: str, asked: str, _timeout_s: float, **_: Any) -> Answer:
        """Answer as the server does; count what both cost."""
        body = b"vmagent_remotewrite_x 1\n" if asked == proof.METRICS else self._result(url)
        self.bytes += REQUEST_BYTES + len(url) + ANSWER_BYTES + packed_bytes(body)
        return Answer(200, {}, body)

    def _result(self, url: str) -> bytes:
        newest_s = self.now_s - self._lag_s(self.now_s)
        if "tlast" in url:
            return result(("", newest_s))
        is_there = newest_s >= START_S + (self.verified + 1) * WINDOW_S
        return WHOLE if is_there else result()


@cache
def packed_bytes(body: bytes) -> int:
    """Return what an answer takes on the wire."""
    return len(gzip.compress(body))


def result(*values: tuple[str, float]) -> bytes:
    """Return the answer to a query."""
    found = [{"metric": {"__name__": name, "device_id": "d"}, "value": [1, str(value)]} for name, value in values]
    return json.dumps({"status": "success", "data": {"result": found}}).encode()


WHOLE = result(*((f"metric_{number}", 10.0) for number in range(len(SERIES))))


@pytest.fixture
def bytes_of(start_process: Callable[..., Service]) -> Callable[[Callable[[float], float]], float]:
    """Live through a day; give the bytes on the wire."""
    report = Report(start_process())

    def live(lag_s: Callable[[float], float]) -> float:
        day = Day(lag_s)
        client = cast("HttpClient", day)
        auditor = Auditor(Settings(remote=Remote()), BufferClient(day.buffer), client, report)
        auditor._duplicates._next_s = float("inf")  # asks as often whatever the queue does
        while day.now_s < START_S + DAY_S:
            day.now_s += auditor.step()
        assert day.verified * WINDOW_S >= DAY_S - lag_s(day.now_s) - 4 * WINDOW_S
        return UPLOAD_BYTES + day.bytes

    return live


@pytest.mark.parametrize(
    "lag_s",
    [
        lambda _: 2 * HOUR_S,
        lambda now_s: max(0.0, min(now_s - START_S, 2 * HOUR_S) - 3 * max(0.0, now_s - START_S - 2 * HOUR_S)),
    ],
    ids=["all day", "after an outage of two hours"],
)
def test_a_queue_two_hours_behind_costs_a_tenth_at_most(
    bytes_of: Callable[[Callable[[float], float]], float], lag_s: Callable[[float], float]
) -> None:
    """Nothing is sent again, and what is on its way is asked for seldom and cheaply."""
    healthy, behind = bytes_of(lambda _: 5.0), bytes_of(lag_s)
    print(f"healthy {healthy / 1e6:.3f} MB, behind {behind / 1e6:.3f} MB, ratio {behind / healthy:.3f}")
    assert behind <= 1.1 * healthy
