"""What a day of audits costs behind a queue that is hours behind, beside a server that has everything at once.

Time is simulated: everything is uploaded when its five minutes are over, and the server has what is older than its lag.
Both sides of the audit are the real ones, on a real database.
"""

from __future__ import annotations

import gzip
import json
import math
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import pytest

from buffer.delivery.audit import AuditOperations
from buffer.delivery.recheck import Recheck
from buffer.delivery.server_starts import ServerStarts
from buffer.delivery.too_old import TooOld
from buffer.storage.store import Store
from common import clock
from common.remote import Remote
from common.sample import NORMAL, Batch, Sample
from common.service import Service
from common.settings import Settings
from common.status import BufferStatus
from common.wire import LATEST_MS
from shipper.audit import Auditor
from shipper.buffer_client import BufferClient
from shipper.http import proof
from shipper.http.answer import Answer
from shipper.http.client import HttpClient
from shipper.report import Report
from tests.unit.buffer.databases import storage

WINDOW_S, HOUR_S = 300, 3600
DAY_S = 4 * HOUR_S  # a sixth of one costs a sixth
NAMES = [f"metric.{number}" for number in range(300)]
START_S = 1_795_000_200
# Measured by the benchmark in the default configuration: 683 samples a minute at 3.39 bytes.
UPLOAD_BYTES = DAY_S / 60 * 683 * 3.39
REQUEST_BYTES, ANSWER_BYTES = 400, 250  # heads of HTTP


class Day:
    """A buffer and the server's answers, at a time.

    Args:
        path: of a fresh database.
        service: takes counters and events.
        lag_s: by how much the server is behind at a time.
    """

    def __init__(self, path: Path, service: Service, lag_s: Callable[[float], float]) -> None:
        self._lag_s = lag_s
        self.now_s = float(START_S)
        self.bytes = 0.0
        self.store = store = Store(storage(path), "d")
        self._uploaded_s = START_S
        status = BufferStatus()
        recheck = Recheck(service, store, status)
        self._operations: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            **recheck.operations(),
            **AuditOperations(service, store, recheck, status).operations(),
            **TooOld(service, store).operations(),
            **ServerStarts(service, store, recheck).operations(),
        }

    def buffer(self, operation: str, **request: Any) -> dict[str, Any]:
        """Have the buffer answer, which has uploaded all windows that are over."""
        while self._uploaded_s + WINDOW_S <= self.now_s:
            samples = [Sample(name, 1) for name in NAMES]
            self.store.write([Batch("p", "e", 1, 1000 * self._uploaded_s, 0, "", urgent=False, samples=samples)])
            self.store.pending.mark_uploaded(NORMAL, self.store.pending.rows(NORMAL, LATEST_MS, len(NAMES)), "b", 0)
            self._uploaded_s += WINDOW_S
        return self._operations[operation](request)

    def ask(self, url: str, asked: str, _timeout_s: float, **_: Any) -> Answer:
        """Answer as the server does; count what both cost."""
        body = b"vmagent_remotewrite_x 1\n" if asked == proof.METRICS else self._result(url)
        self.bytes += REQUEST_BYTES + len(url) + ANSWER_BYTES + packed_bytes(body)
        return Answer(200, {}, body)

    def _result(self, url: str) -> bytes:
        """Answer a query: each series has one sample at the start of each window."""
        newest_s = (self.now_s - self._lag_s(self.now_s)) // WINDOW_S * WINDOW_S
        if "tlast" in url:
            return result(("", newest_s))
        query = parse_qs(urlsplit(url).query)
        first_s = float(query["time"][0]) + 0.001 - int(re.findall(r"\[(\d+)ms\]", query["query"][0])[0]) / 1000
        windows = int(min(newest_s, float(query["time"][0])) - first_s) // WINDOW_S + 1
        if windows <= 0:
            return result()
        return result(("", windows * len(NAMES))) if "sum(" in url else whole(windows)


@cache
def packed_bytes(body: bytes) -> int:
    """Return what an answer takes on the wire."""
    return len(gzip.compress(body))


def result(*values: tuple[str, float]) -> bytes:
    """Return the answer to a query."""
    found = [{"metric": {"__name__": name, "device_id": "d"}, "value": [1, str(value)]} for name, value in values]
    return json.dumps({"status": "success", "data": {"result": found}}).encode()


@cache
def whole(windows: int) -> bytes:
    """Return how many samples each series has in so many windows."""
    return result(*((f"metric_{number}", windows) for number in range(len(NAMES))))


@pytest.fixture
def bytes_of(
    start_process: Callable[..., Service], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Callable[[float], float]], float]:
    """Live through a day; give the bytes on the wire."""
    process = start_process()

    def live(lag_s: Callable[[float], float]) -> float:
        with monkeypatch.context() as simulated:
            day = Day(tmp_path / f"{lag_s(0)}.db", process, lag_s)
            simulated.setattr("time.monotonic", lambda: day.now_s)
            simulated.setattr(clock, "wall_ms", lambda: int(1000 * day.now_s))
            buffer, client = BufferClient(day.buffer), cast("HttpClient", day)
            auditor = Auditor(Settings(remote=Remote()), buffer, client, Report(process))
            auditor._duplicates._next_s = math.inf  # asks as often whatever the queue does
            while day.now_s < START_S + DAY_S:
                day.now_s += auditor.step()
            until_ms = buffer.audit(60.0)["verified_until_ms"]
            assert until_ms / 1000 >= day.now_s - lag_s(day.now_s) - 4 * WINDOW_S
            assert [0, 0, 0, 0] == day.store.pending.counts, "sent again"
            day.store.close()
        return UPLOAD_BYTES + day.bytes

    return live


def test_a_queue_two_hours_behind_costs_a_tenth_at_most(bytes_of: Callable[[Callable[[float], float]], float]) -> None:
    """Nothing is sent again, and what is on its way is asked for seldom and cheaply: all day, and after an outage."""
    healthy, behind, catching_up = (
        bytes_of(lambda _: 5.0),
        bytes_of(lambda _: 2.0 * HOUR_S),
        bytes_of(lambda now_s: max(0.0, min(now_s - START_S, 2 * HOUR_S) - 3 * max(0.0, now_s - START_S - 2 * HOUR_S))),
    )
    print(f"healthy {healthy / 1e6:.3f} MB, behind {behind / healthy:.3f}, catching up {catching_up / healthy:.3f}")
    assert max(behind, catching_up) <= 1.1 * healthy
