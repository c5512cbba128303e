"""Sessions: a row and a file each, samples that know theirs, and none left open for ever."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from buffer.storage.store import Store
from common.sample import Batch
from tests.unit.buffer.databases import DEVICE, NOW_MS, batch, query, storage

ONE, TWO = "11111111-2222-3333-4444-555555555555", "aaaaaaaa-2222-3333-4444-555555555555"


def said(status: str, name: str = ONE, start_ms: int = NOW_MS, end_ms: int | None = None, boot: str = "b") -> Batch:
    """Return what a collector says of a session."""
    content = {"id": name, "status": status, "start_ms": start_ms, "end_ms": end_ms, "metadata": {"boot_id": boot}}
    return batch(("session", json.dumps(content)), at_ms=start_ms)


def rows(path: Path) -> list[Any]:
    """Return id, end and status of every session."""
    return query(path, "SELECT id, end_time, status FROM sessions ORDER BY start_time")


def test_samples_of_a_stream_know_their_session(store: Store, path: Path) -> None:
    """From its start to its end, by their own time: what comes late belongs where it was."""
    store.write([said("active"), batch(("m", 1.0), at_ms=NOW_MS + 10)])
    store.write([said("completed", end_ms=NOW_MS + 20), batch(("m", 2.0), at_ms=NOW_MS + 15)])
    store.write([batch(("m", 3.0), at_ms=NOW_MS + 30), batch(("m", 0.0), at_ms=NOW_MS - 10)])
    found = query(path, "SELECT metric_value, session_id FROM metrics ORDER BY timestamp_ms")
    assert [(0, None), (1, ONE), (2, ONE), (3, None)] == found
    assert [(ONE, NOW_MS + 20, "completed")] == rows(path)


def test_a_span_is_of_the_session_in_which_all_of_it_is(store: Store) -> None:
    """One that is over, or the one that runs; what reaches beyond it is of none."""
    store.write([said("completed", end_ms=NOW_MS + 20), said("active", TWO, NOW_MS + 100)])
    spans = [(0, 20), (5, 21), (-1, 5), (30, 40), (100, 9_000)]
    assert [ONE, None, None, None, TWO] == [store.sessions.of(NOW_MS + first, NOW_MS + last) for first, last in spans]


def test_a_session_goes_on_after_the_buffer_restarts(store: Store, path: Path) -> None:
    """Which one is open is in the database."""
    store.write([said("active")])
    store.close()
    again = Store(storage(path), DEVICE)
    assert 0 == again.sessions.close_left_open("b")
    again.write([batch(("m", 1.0), at_ms=NOW_MS + 10)])
    again.close()
    assert [(ONE,)] == query(path, "SELECT session_id FROM metrics")


def test_a_session_that_a_power_cut_ended_is_closed_as_failed(store: Store, path: Path) -> None:
    """At the time of the last sample there is."""
    store.write([said("active"), batch(("m", 1.0), at_ms=NOW_MS + 500)])
    assert 1 == store.sessions.close_left_open("another")
    store.write([batch(("m", 1.0), at_ms=NOW_MS + 600)])
    assert [(ONE, NOW_MS + 500, "failed")] == rows(path)
    assert [(ONE,), (None,)] == query(path, "SELECT session_id FROM metrics ORDER BY timestamp_ms")


def test_a_new_stream_closes_the_one_before(store: Store, path: Path) -> None:
    """There is one camera: whose end was not seen has failed."""
    store.write([said("active"), said("active", TWO, NOW_MS + 100)])
    assert [(ONE, NOW_MS + 100, "failed"), (TWO, None, "active")] == rows(path)


def test_each_session_has_a_file(store: Store, path: Path) -> None:
    """With what the row says; a change replaces it."""
    store.write([said("active")])
    store.sessions.write_files()
    store.write([said("completed", end_ms=NOW_MS + 1)])
    store.sessions.write_files()
    (file,) = path.parent.glob("session-*")
    content = json.loads(file.read_text(encoding="utf-8"))
    assert f"session-{ONE}.json" == file.name
    assert ("completed", NOW_MS + 1, {"boot_id": "b"}) == (content["status"], content["end_ms"], content["metadata"])


def test_the_same_state_again_changes_nothing(store: Store) -> None:
    """Redelivery is normal."""
    store.write([said("active")])
    assert (0, 1) == store.write([said("active")])[:2]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "7",
        '{"id": "../x", "status": "active", "start_ms": 1, "end_ms": null}',
        '{"id": "a", "status": "gone", "start_ms": 1, "end_ms": null}',
        '{"id": "a", "status": "active", "start_ms": "1", "end_ms": null}',
        '{"id": "a", "status": "active", "start_ms": 1}',
    ],
)
def test_what_is_no_session_is_refused(store: Store, path: Path, text: str) -> None:
    """No row, no file, and no name that leads out of the folder."""
    assert 1 == store.write([batch(("session", text))]).refused
    assert [] == rows(path)
