"""Samples from before the server's retention: kept here, counted, not sent."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from buffer.delivery import too_old
from buffer.delivery.too_old import TooOld
from buffer.settled_clock import SettledClock
from buffer.storage.store import Store
from common import clock
from common.events import Event
from common.instruments import Instruments
from common.log import Log
from common.service import Service
from tests.unit.buffer.databases import NOW_MS, batch, query

DAY_MS = 86_400_000


class Asked:
    """What a store holds that is too old, and what is said of it."""

    def __init__(self, store: Store) -> None:
        self.instruments, self.events, self._log = Instruments(), list[Event](), Log("buffer")
        process = SimpleNamespace(instruments=self.instruments, log=self._log, event=self.events.append)
        self._ask = TooOld(cast("Service", process), store).operations()["too_old"]

    def quarantined(self) -> int:
        """Return how many samples are put in quarantine by a server that keeps two days and a half."""
        count: int = self._ask({"retention_s": 2.5 * 86_400})["quarantined"]
        return count


@pytest.mark.parametrize("is_settled", [False, True])
def test_what_is_older_than_the_server_keeps_is_quarantined_and_counted(
    store: Store, path: Path, monkeypatch: pytest.MonkeyPatch, is_settled: bool
) -> None:
    """Once the clock can be relied on; before, it would be wrong for good."""
    monkeypatch.setattr(SettledClock, "is_settled", lambda _: is_settled)
    monkeypatch.setattr(clock, "wall_ms", lambda: NOW_MS)
    store.write([batch(("a", days), seq=days, at_ms=NOW_MS - days * DAY_MS) for days in range(1, 5)])
    asked = Asked(store)
    assert [2 * is_settled, 0] == [asked.quarantined() for _ in range(2)]
    assert [0, 0, 4 - 2 * is_settled, 0] == store.pending.counts == store.pending.counted()
    old = [value for (value,) in query(path, "SELECT value FROM samples WHERE chunk = -1 ORDER BY value")]
    assert [3, 4][: 2 * is_settled] == old
    assert 2 * is_settled == asked.instruments.counter("storage.quarantined_total")
    assert ["samples_too_old"] * is_settled == [event.kind for event in asked.events]


def test_what_is_given_up_is_reported_once_and_again_when_it_begins_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backlog is given up slice by slice; an event for each would bury all others."""
    monkeypatch.setattr(too_old, "SLICE_ROWS", 1)
    monkeypatch.setattr(SettledClock, "is_settled", lambda _: True)
    monkeypatch.setattr(clock, "wall_ms", lambda: NOW_MS)
    store.write([batch(("a", days), seq=days, at_ms=NOW_MS - days * DAY_MS) for days in (3, 4)])
    asked = Asked(store)
    assert ([1, 1, 0], 1) == ([asked.quarantined() for _ in range(3)], len(asked.events))
    assert "older than the 2.5 days that the server keeps" in asked.events[0].text
    store.write([batch(("b", 5), seq=5, at_ms=NOW_MS - 5 * DAY_MS)])
    assert (1, 2) == (asked.quarantined(), len(asked.events))
