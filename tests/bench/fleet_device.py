"""One device of a fleet: the shipper's sender and connection as they are, and a buffer in memory."""

from __future__ import annotations

import time
from collections import deque
from pathlib import Path
from typing import Any, NamedTuple, cast

from common import clock, config, wire
from common.instruments import Instruments
from common.log import Log
from common.sample import HIGH, NORMAL, PRIORITIES
from common.service import Service
from shipper.buffer_client import BufferClient
from shipper.http.client import Exchange, HttpClient
from shipper.http.outcome import Accepted
from shipper.http.proof import KnownServer
from shipper.http.transport import open_transport
from shipper.quota import DataQuota
from shipper.report import Report
from shipper.sender import Sender
from shipper.urls import health_url

INTERVAL_S = 10.0
SERIES = {HIGH: 20, NORMAL: 100}
SAMPLES_A_MINUTE = sum(SERIES.values()) * 60 / INTERVAL_S


class _Round(NamedTuple):
    """One collect of all series of a priority."""

    timestamp_ms: int
    number: int


class Memory:
    """Pending rounds of each priority, and the drain's operations on them.

    Attributes:
        made: samples so far.
        waiting: samples that are not done.
    """

    def __init__(self, device_id: str) -> None:
        self._device_id = device_id
        self._pending: dict[int, deque[_Round]] = {priority: deque() for priority in PRIORITIES}
        self._leases: dict[int, tuple[int, list[_Round]]] = {}
        self._last = self.made = self.waiting = 0

    def collect(self, timestamp_ms: int) -> None:
        """Take one more round of each priority."""
        for priority, series in SERIES.items():
            self._pending[priority].append(_Round(timestamp_ms, self.made))
            self.made += series
            self.waiting += series

    def ask(self, operation: str, **fields: Any) -> dict[str, Any]:
        """Answer as the buffer does."""
        reply: dict[str, Any] = getattr(self, f"_{operation}")(**fields)
        return reply

    def _lease(self, priority: int, max_samples: int, since_ms: int | None, before_ms: int | None) -> dict[str, Any]:
        rounds = self._pending[priority]
        first, last = since_ms or 0, before_ms or wire.LATEST_MS
        most = max(1, max_samples // SERIES.get(priority, 1))
        taken = [one for one in rounds if first <= one.timestamp_ms < last][:most]
        if not taken:
            return {"lease": 0, "groups": []}
        gone = set(taken)
        self._pending[priority] = deque(one for one in rounds if one not in gone)
        self._last += 1
        self._leases[self._last] = (priority, taken)
        times = [one.timestamp_ms for one in taken]
        groups = [
            [f"fleet.p{priority}", self._device_id, {"slot": f"{slot}"}, times, [one.number + slot for one in taken]]
            for slot in range(SERIES[priority])
        ]
        return {"lease": self._last, "groups": groups}

    def _done(self, lease: int, upto: int, **_: Any) -> dict[str, Any]:
        priority, taken = self._leases[lease]
        if upto >= len(taken) * SERIES[priority]:  # of a lease that is given back, all goes again
            del self._leases[lease]
            self.waiting -= upto
        return {"marked": upto}

    def _release(self, lease: int) -> dict[str, Any]:
        priority, taken = self._leases.pop(lease)
        self._pending[priority].extendleft(reversed(taken))
        return {}

    def _stats(self, intervals_s: list[float]) -> dict[str, Any]:
        now_ms = clock.wall_ms()
        columns = [self._pending[priority] for priority in PRIORITIES]
        oldest = [column[0].timestamp_ms if column else None for column in columns]
        limits = [now_ms - 1000 * interval_s for interval_s in intervals_s]
        pending = [len(self._pending[priority]) * SERIES.get(priority, 0) for priority in PRIORITIES]
        late = [at_ms is not None and at_ms < limit for at_ms, limit in zip(oldest, limits, strict=True)]
        due = [count * is_late for count, is_late in zip(pending, late, strict=True)]
        return {"pending": pending, "due": due, "oldest_ms": oldest}


class Frame:
    """What a report uses of its service."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.status: object = None
        self.instruments = Instruments()

    def event(self, _event: object) -> None:
        """Nobody listens."""

    def failed(self, _error: object, **_fields: Any) -> None:
        """Nobody listens."""

    def worked(self) -> None:
        """Nobody listens."""


class Device:
    """A device; with the default configuration.

    Attributes:
        buffer: what it has collected.
        answered, refused: requests of the last turn.
    """

    def __init__(self, device_id: str, url: str, folder: Path) -> None:
        environment = {
            "BELABOX_DEVICE__ID": device_id, "BELABOX_REMOTE__URL": url,
            "BELABOX_STORAGE__PATH": str(folder / f"{device_id}.db"),
        }  # fmt: skip
        loaded, log = config.load(None, environment), Log(device_id)
        self._transport = open_transport(loaded, log, lambda: False)
        report = Report(cast("Service", Frame(log)))
        self.buffer = Memory(device_id)
        quota = DataQuota(loaded.settings.remote.budget, folder / f"{device_id}.json", self._transport.meter, report)
        client = HttpClient(self._transport, KnownServer(), health_url(url), lambda _: None, self._count)
        self._sender = Sender(loaded.settings, BufferClient(self.buffer.ask), client, quota, report)
        self._next_s = time.monotonic()
        self.answered = self.refused = 0

    def _count(self, exchange: Exchange) -> None:
        self.answered += isinstance(exchange.outcome, Accepted)
        self.refused += not isinstance(exchange.outcome, Accepted)

    @property
    def sent_bytes(self) -> int:
        """What its connections have carried."""
        return self._transport.meter.read()

    def turn(self, *, collecting: bool) -> float:
        """Collect what is due, do the next thing; return when the one after it is due, monotonic."""
        self.answered = self.refused = 0
        while collecting and self._next_s <= time.monotonic():
            self.buffer.collect(clock.wall_ms() - round(1000 * (time.monotonic() - self._next_s)))
            self._next_s += INTERVAL_S
        return self._sender.turn()
