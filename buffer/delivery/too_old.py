"""Put in quarantine what is too old for the server: it would acknowledge such samples, and drop them.

Answers the request `too_old` of `common/PROTOCOL.md`, section drain. Acts on a clock that is settled, as everything
that gives up samples by their age: one that is a year ahead for a moment would make all of them too old.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from buffer.settled_clock import SettledClock
from buffer.storage.store import Store
from common import clock
from common.events import Event
from common.service import Service

SLICE_ROWS = 5_000  # in one step: 20 ms; the shipper asks once a minute


class TooOld:
    """The pending samples from before the server's retention.

    Args:
        service: takes counters, events and the log.
        store: the database.
    """

    def __init__(self, service: Service, store: Store) -> None:
        self._service, self._store = service, store
        self._clock = SettledClock(store.samples.newest_ms())
        self._reported = False

    def operations(self) -> Mapping[str, Callable[[dict[str, Any]], dict[str, Any]]]:
        """Return what the drain answers for this, by operation."""
        return {"too_old": self.quarantine}

    def quarantine(self, request: dict[str, Any]) -> dict[str, Any]:
        """Quarantine a slice of the pending samples that are older than the server keeps any."""
        retention_s = float(request["retention_s"])
        if not self._clock.is_settled():
            return {"quarantined": 0}
        before_ms = clock.wall_ms() - int(1000 * retention_s)
        count = self._store.pending.quarantine_before(before_ms, SLICE_ROWS)
        if count:
            self._service.instruments.count("storage.quarantined_total", count)
            self._report(count, retention_s)
        self._reported = count > 0
        return {"quarantined": count}

    def _report(self, count: int, retention_s: float) -> None:
        days = f"{retention_s / 86_400:g} days"
        self._service.log.warning("older than the server keeps, in quarantine", count=count, retention=days)
        if not self._reported:
            text = f"samples older than the {days} that the server keeps were not sent; they stay on the device"
            self._service.event(Event("samples_too_old", text))
