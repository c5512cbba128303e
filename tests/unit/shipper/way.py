"""A sender on its way from a buffer in memory to a server that says what it is told to, and a clock to turn."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from types import SimpleNamespace
from typing import cast

import pytest

from common import clock
from common.instruments import Instruments
from common.log import Log
from common.remote import Remote
from common.service import Service
from common.settings import Settings
from shipper.buffer_client import BufferClient
from shipper.http.client import Exchange, HttpClient
from shipper.http.outcome import Accepted, Outcome, TryLater
from shipper.queues import WARM_UP_FOR_S, Queue
from shipper.quota import DataQuota
from shipper.report import Report
from shipper.sender import Sender
from shipper.upload import Upload
from tests.unit.shipper.stub import NOW_MS, Row, StubBuffer, rows

HOUR_MS = 3_600_000
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
