"""Samples from before the server's retention: kept here, counted, not sent."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

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


@pytest.mark.parametrize("is_settled", [False, True])
def test_what_is_older_than_the_server_keeps_is_quarantined_and_counted(
    store: Store, path: Path, monkeypatch: pytest.MonkeyPatch, is_settled: bool
) -> None:
    """Once the clock can be relied on; before, it would be wrong for good."""
    instruments, events = Instruments(), list[Event]()
    process = SimpleNamespace(instruments=instruments, log=Log("buffer"), event=events.append)
    monkeypatch.setattr(SettledClock, "is_settled", lambda _: is_settled)
    monkeypatch.setattr(clock, "wall_ms", lambda: NOW_MS)
    store.write([batch(("a", days), seq=days, at_ms=NOW_MS - days * DAY_MS) for days in range(1, 5)])
    ask = TooOld(cast("Service", process), store).operations()["too_old"]
    assert {"quarantined": 2 * is_settled} == ask({"retention_s": 2.5 * 86_400})
    assert {"quarantined": 0} == ask({"retention_s": 2.5 * 86_400})
    assert [0, 0, 4 - 2 * is_settled, 0] == store.pending.counts == store.pending.counted()
    old = [value for (value,) in query(path, "SELECT value FROM samples WHERE chunk = -1 ORDER BY value")]
    assert [3, 4][: 2 * is_settled] == old
    assert 2 * is_settled == instruments.counter("storage.quarantined_total")
    assert ["samples_too_old"] * is_settled == [event.kind for event in events]
