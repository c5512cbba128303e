"""Events in the database: rows, totals that only grow, and nothing twice."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from buffer.storage.store import Store
from common import clock
from common.sample import Batch, Sample
from tests.unit.buffer.databases import DEVICE, NOW_MS, batch, query, storage

LABELS = {"kind": "link_down", "severity": "warning", "source": "events"}


def totals(path: Path) -> list[float]:
    """Return the values of `events_total`, oldest first."""
    rows = query(path, "SELECT metric_value FROM metrics WHERE metric_name = 'events_total' ORDER BY timestamp_ms")
    return [value for (value,) in rows]


def test_an_event_is_a_row_and_one_more_in_its_total(store: Store, path: Path) -> None:
    """The text stays on the device; the count waits for its upload, and is the most urgent there is."""
    written = store.write([batch(("event", "usb0 is gone", {**LABELS, "subject": "usb0"}))])
    expected = [(NOW_MS, "link_down", "warning", "events", "usb0 is gone", None)]
    assert expected == query(path, "SELECT timestamp_ms, kind, severity, source, text, session FROM events")
    assert [1] == totals(path)
    assert (1, 0, [1, 0, 0, 0]) == (written.inserted, written.duplicates, store.pending.counts)


def test_a_redelivered_event_changes_nothing(store: Store, path: Path) -> None:
    """Redelivery is normal."""
    event = batch(("event", "usb0 is gone", LABELS))
    store.write([event])
    written = store.write([event])
    assert (0, 1) == (written.inserted, written.duplicates)
    assert [(1,)] == query(path, "SELECT count(*) FROM events")
    assert [1] == totals(path)


def test_totals_go_on_after_a_restart_and_after_events_expire(store: Store, path: Path) -> None:
    """A counter that falls would be read as a restart, and its events counted again."""
    store.write([batch(("event", "a", LABELS), ("event", "b", LABELS))])
    store._connection.execute("DELETE FROM events")
    store.close()
    again = Store(storage(path), DEVICE)
    again.write([batch(("event", "c", LABELS), at_ms=NOW_MS + 5)])
    again.close()
    assert [2, 3] == totals(path)


def test_two_events_of_a_kind_in_one_millisecond_are_two(store: Store, path: Path) -> None:
    """In one commit or in two, the total ends where it should."""
    store.write([batch(("event", "a", LABELS))])
    store.write([batch(("event", "b", LABELS), ("event", "c", LABELS))])
    assert 3 == totals(path)[-1]
    assert [(3,)] == query(path, "SELECT count(*) FROM events")


@pytest.mark.parametrize(
    "sample", [("event", "no labels"), ("event", "half", {"kind": "x"}), ("event", 1.0, LABELS), ("session", "{")]
)
def test_what_cannot_be_understood_is_refused_and_counted(store: Store, path: Path, sample: tuple[str, str]) -> None:
    """It is no duplicate and nothing is invented for it."""
    written = store.write([batch(sample)])
    assert (0, 0, 1) == (written.inserted, written.duplicates, written.refused)
    assert [(0,)] == query(path, "SELECT count(*) FROM events")


def test_an_event_moves_with_a_stepped_clock(store: Store, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was dated by a wrong clock of this boot is set right with everything else."""
    wall_ms, boot_ms = clock.wall_ms(), clock.boottime_ms()
    store.write([Batch("p", "e", 1, wall_ms, boot_ms, clock.boot_id(), True, [Sample("event", "a", LABELS)])])
    monkeypatch.setattr(clock, "wall_ms", lambda: wall_ms + 3_600_000 + clock.boottime_ms() - boot_ms)
    assert abs(store.write([batch(("m", 1.0))]).step_ms - 3_600_000) < 100
    ((moved_ms,),) = query(path, "SELECT timestamp_ms FROM events")
    assert abs(moved_ms - wall_ms - 3_600_000) < 100


@pytest.mark.parametrize("case", ["sent", "of another boot"])
def test_an_event_that_was_sent_or_is_of_another_boot_stays(
    store: Store, path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    """The log server has it at that time; a step of this boot's clock says nothing of an earlier one's."""
    wall_ms, boot_ms = clock.wall_ms(), clock.boottime_ms()
    boot_id = clock.boot_id() if case == "sent" else "another"
    store.write([Batch("p", "e", 1, wall_ms, boot_ms, boot_id, True, [Sample("event", "a", LABELS)])])
    if case == "sent":
        store.events.sent(1)
    monkeypatch.setattr(clock, "wall_ms", lambda: wall_ms + 3_600_000 + clock.boottime_ms() - boot_ms)
    store.write([batch(("m", 1.0))])
    assert [(wall_ms,)] == query(path, "SELECT timestamp_ms FROM events")


def test_events_move_with_every_step(store: Store, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And end at the last clock's time."""
    wall_ms, boot_ms = clock.wall_ms(), clock.boottime_ms()
    store.write([Batch("p", "e", 1, wall_ms, boot_ms, clock.boot_id(), True, [Sample("event", "a", LABELS)])])
    for step_ms in (3_600_000, -60_000):
        monkeypatch.setattr(clock, "wall_ms", lambda step=step_ms: wall_ms + step + clock.boottime_ms() - boot_ms)
        store.write([batch(("m", 1.0))])
    ((moved_ms,),) = query(path, "SELECT timestamp_ms FROM events")
    assert abs(moved_ms - wall_ms + 60_000) < 100


def test_events_of_an_unsynchronised_clock_wait_as_samples_do(store: Store) -> None:
    """And what comes after them, so that the order stays."""
    for seq, boot_id in enumerate(("another", clock.boot_id(), "another")):
        samples = [Sample("event", f"{seq}", LABELS)]
        store.write([Batch("p", "e", seq, clock.wall_ms(), clock.boottime_ms(), boot_id, True, samples)])
    assert 1 == len(store.events.unsent(0, 10, store.clocks.current))
    assert 3 == len(store.events.unsent(0, 10, None))


def test_a_file_of_the_version_before_takes_events(path: Path) -> None:
    """What was there is there, and the table that was added is too."""
    Store(storage(path), DEVICE).close()
    connection = apsw.Connection(str(path))
    connection.execute("DROP TABLE event_totals; UPDATE schema_version SET version = 3")
    connection.close()
    store = Store(storage(path), DEVICE)
    store.write([batch(("event", "a", LABELS))])
    store.close()
    assert [1] == totals(path)
    assert [(3,), (4,)] == query(path, "SELECT version FROM schema_version ORDER BY id")
