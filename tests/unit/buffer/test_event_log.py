"""Which events the server for logs does not have yet."""

from __future__ import annotations

import pytest

from buffer import unsent_events
from buffer.storage.store import Store
from buffer.unsent_events import UnsentEvents
from common.sample import Batch, Sample
from tests.unit.buffer.databases import DEVICE, NOW_MS


def happen(store: Store, *numbers: int) -> None:
    """Write events."""
    tags = {"kind": "link_down", "severity": "warning", "source": "network"}
    for number in numbers:
        samples = [Sample("event", f"event {number}", tags)]
        store.write([Batch("p", "e", number, NOW_MS + number, 0, "", urgent=True, samples=samples)])


def unsent(store: Store) -> list[str]:
    """Return their texts."""
    return [row[5] for row in UnsentEvents(store).unsent({})["events"]]


def test_from_where_it_ended(store: Store) -> None:
    """The mark is in the database: another process goes on there."""
    happen(store, 1, 2, 3)
    reply = UnsentEvents(store).unsent({})
    assert DEVICE == reply["device_id"]
    first = reply["events"][0]
    assert [NOW_MS + 1, "link_down", "warning", "network", "event 1", None] == first[1:]
    UnsentEvents(store).sent({"upto": first[0]})
    assert ["event 2", "event 3"] == unsent(store)
    UnsentEvents(store).sent({"upto": reply["events"][-1][0]})
    assert [] == unsent(store)
    happen(store, 4)
    assert ["event 4"] == unsent(store)


def test_no_reply_is_larger_than_a_request_should_be(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest comes with the next."""
    monkeypatch.setattr(unsent_events, "MOST", 2)
    happen(store, 1, 2, 3)
    assert ["event 1", "event 2"] == unsent(store)


def test_numbers_that_begin_anew(store: Store) -> None:
    """After a month without an event, or in a new file, the mark is of other events."""
    happen(store, 1, 2, 3)
    UnsentEvents(store).sent({"upto": 3})
    store._connection.execute("DELETE FROM events")
    happen(store, 4)
    assert ["event 4"] == unsent(store)


def test_an_empty_database(store: Store) -> None:
    """Nothing has happened."""
    assert [] == unsent(store)
