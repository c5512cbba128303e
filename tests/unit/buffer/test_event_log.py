"""Which events the server for logs does not have yet."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from buffer.delivery import unsent_events
from buffer.delivery.unsent_events import UnsentEvents
from buffer.storage.store import Store
from common import clock
from common.events import Event
from common.log import Log
from common.sample import Batch, Sample
from common.service import Service
from tests.unit.buffer.databases import DEVICE, NOW_MS


def happen(store: Store, *numbers: int) -> None:
    """Write events."""
    tags = {"kind": "link_down", "severity": "warning", "source": "network"}
    for number in numbers:
        samples = [Sample("event", f"event {number}", tags)]
        store.write([Batch("p", "e", number, NOW_MS + number, 0, "", urgent=True, samples=samples)])


def events_of(store: Store, reports: list[Event] | None = None) -> UnsentEvents:
    """Return what answers for the events of a store."""
    service = SimpleNamespace(log=Log("test"), event=([] if reports is None else reports).append)
    return UnsentEvents(cast("Service", service), store)


def unsent(store: Store) -> list[str]:
    """Return their texts."""
    return [row[5] for row in events_of(store).unsent({})["events"]]


def test_from_where_it_ended(store: Store) -> None:
    """The mark is in the database: another process goes on there."""
    happen(store, 1, 2, 3)
    reply = events_of(store).unsent({})
    assert DEVICE == reply["device_id"]
    first = reply["events"][0]
    assert [NOW_MS + 1, "link_down", "warning", "network", "event 1", None] == first[1:]
    events_of(store).sent({"upto": first[0]})
    assert ["event 2", "event 3"] == unsent(store)
    events_of(store).sent({"upto": reply["events"][-1][0]})
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
    events_of(store).sent({"upto": 3})
    store._connection.execute("DELETE FROM events")
    happen(store, 4)
    assert ["event 4"] == unsent(store)


def test_an_empty_database(store: Store) -> None:
    """Nothing has happened."""
    assert [] == unsent(store)


GRACE = {"grace_s": 60}


def sent_long_ago(store: Store, monkeypatch: pytest.MonkeyPatch, upto: int, age_s: float = 100) -> None:
    """Have the server acknowledge events so long ago."""
    now_ms = clock.wall_ms()
    with monkeypatch.context() as then:
        then.setattr(clock, "wall_ms", lambda: now_ms - int(1000 * age_s))
        events_of(store).sent({"upto": upto})


def test_what_was_acknowledged_is_counted_after_the_grace(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the times of these events there may be others, which count too."""
    happen(store, 1, 2, 3)
    events_of(store).sent({"upto": 3})
    assert {"upto": 0} == events_of(store).unverified(GRACE)
    sent_long_ago(store, monkeypatch, 3)
    expected = {"upto": 3, "device_id": DEVICE, "start_ms": NOW_MS + 1, "end_ms": NOW_MS + 3, "events": 3}
    assert expected == events_of(store).unverified(GRACE)
    events_of(store).counted({"upto": 3, "missing": 0})
    assert {"upto": 0} == events_of(store).unverified(GRACE)


def test_what_is_missing_is_sent_again_and_not_for_ever(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice; then it is reported as lost."""
    happen(store, 1, 2)
    reports: list[Event] = []
    for _ in range(unsent_events.MAX_RESENDS):
        sent_long_ago(store, monkeypatch, 2)
        events_of(store, reports).counted({"upto": 2, "missing": 1})
        assert ["event 1", "event 2"] == unsent(store)
    sent_long_ago(store, monkeypatch, 2)
    events_of(store, reports).counted({"upto": 2, "missing": 1})
    assert ([], {"upto": 0}) == (unsent(store), events_of(store).unverified(GRACE))
    assert "not sent another time" in reports[-1].text


def test_what_was_sent_before_anybody_counted_is_left_alone(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """An upgrade sends no month of events again."""
    happen(store, 1, 2)
    store.progress.set(unsent_events.SENT, 1)
    sent_long_ago(store, monkeypatch, 2)
    assert 1 == events_of(store).unverified(GRACE)["events"]


def test_what_was_acknowledged_just_before_a_start_is_sent_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once for each start, also for the first one that is seen: the database may be a new one."""
    happen(store, 1, 2, 3)
    for upto, age_s in ((1, 200), (2, 100), (3, 90)):
        sent_long_ago(store, monkeypatch, upto, age_s)
    started_ms = clock.wall_ms() - 50_000
    events_of(store).restarted({"started_s": 1, "started_ms": 1000, **GRACE})
    assert [] == unsent(store), "nothing was sent before"
    for _ in range(2):
        events_of(store).restarted({"started_s": started_ms // 1000, "started_ms": started_ms, **GRACE})
        assert ["event 2", "event 3"] == unsent(store)
    events_of(store).sent({"upto": 3})
    events_of(store).restarted({"started_s": started_ms // 1000, "started_ms": started_ms, **GRACE})
    assert [] == unsent(store)
