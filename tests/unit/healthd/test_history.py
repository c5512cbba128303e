"""Plots and events out of a database that the buffer writes meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from buffer.storage.store import Store
from healthd.page import history
from healthd.page.history import NEWEST, History, UnreadableError
from tests.unit.buffer.databases import DEVICE, NOW_MS, batch, storage

RTT = "srt.rtt_ms"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A fresh database."""
    new = Store(storage(tmp_path / "metrics.db"), DEVICE)
    yield new
    new.close()


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[History]:
    """What reads it."""
    reader = History(tmp_path / "metrics.db")
    yield reader
    reader.close()


def lines(answer: dict[str, Any], plot: str) -> dict[str, list[list[float]]]:
    """Return the points of a plot's lines by their names."""
    found = next(each for each in answer["plots"] if each["id"] == plot)
    return {line["name"]: line["points"] for line in found["lines"]}


def test_a_plot_has_least_mean_and_most_of_each_step(store: Store, reader: History) -> None:
    """Three readings within a step are one point; a link has its own line, by its address."""
    start_ms = NOW_MS - NOW_MS % 5000
    link = {"interface": "wwan0", "ip": "10.0.0.2"}
    for at_ms, value in ((0, 10.0), (1000, 30.0), (2000, 20.0), (5000, 7.0)):
        store.write([batch((RTT, value, {}), ("srtla.link_rtt_ms", value / 2, link), at_ms=start_ms + at_ms)])
    answer = reader.plots("5m", start_ms + 6000)
    assert {
        "stream": [[start_ms, 10.0, 20.0, 30.0], [start_ms + 5000, 7.0, 7.0, 7.0]],
        "10.0.0.2": [[start_ms, 5.0, 10.0, 15.0], [start_ms + 5000, 3.5, 3.5, 3.5]],
    } == lines(answer, "rtt")
    assert (300, 5, 1.0, {}) == (answer["span_s"], answer["step_s"], answer["read_share"], lines(answer, "loss"))


def test_of_a_busy_day_a_part_is_read(store: Store, reader: History, monkeypatch: pytest.MonkeyPatch) -> None:
    """And which part is said."""
    for second in range(300):
        store.write([batch((RTT, second, {}), at_ms=NOW_MS - 300_000 + 1000 * second)])
    monkeypatch.setattr(history, "MAX_ENTRIES", 100)
    answer = reader.plots("5m", NOW_MS)
    assert 0.3 < answer["read_share"] < 0.4
    assert 50 <= len(lines(answer, "rtt")["stream"]) <= 61


def test_events_come_newest_first(store: Store, reader: History) -> None:
    """With what the page shows of them."""
    for at_ms, text in ((0, "gone"), (9, "back")):
        labels = {"kind": "link_down", "severity": "warning", "source": "srt"}
        store.write([batch(("event", text, labels), at_ms=NOW_MS + at_ms)])
    events = reader.events()
    assert ["back", "gone"] == [event["text"] for event in events]
    assert {"id", "timestamp_ms", "kind", "severity", "source", "text", "todo"} == set(events[0])
    assert events[0]["todo"]


def test_older_events_come_page_by_page(store: Store, reader: History, monkeypatch: pytest.MonkeyPatch) -> None:
    """To their end, none twice, those of one millisecond too."""
    monkeypatch.setattr(history, "MAX_EVENTS", 2)
    labels = {"kind": "link_down", "severity": "warning", "source": "srt"}
    for number in range(5):
        store.write([batch(("event", f"{number}", labels), at_ms=NOW_MS + number // 3)])
    found, before = list[str](), NEWEST
    while page := reader.events(before):
        found += [event["text"] for event in page]
        before = page[-1]["timestamp_ms"], page[-1]["id"]
    assert ["4", "3", "2", "1", "0"] == found


def test_no_file_or_a_damaged_one_is_an_error(reader: History, tmp_path: Path) -> None:
    """And nothing is made up."""
    with pytest.raises(UnreadableError):
        reader.events()
    (tmp_path / "metrics.db").write_bytes(b"not a database" * 1000)
    with pytest.raises(UnreadableError):
        reader.plots("5m", NOW_MS)


def test_a_file_that_was_replaced_is_opened_anew(store: Store, reader: History, tmp_path: Path) -> None:
    """The buffer moves a damaged one aside."""
    event = ("event", "gone", {"kind": "link_down", "severity": "warning", "source": "srt"})
    store.write([batch(event)])
    assert 1 == len(reader.events())
    store.close()
    for file in tmp_path.glob("metrics.db*"):
        file.rename(tmp_path / f"old-{file.name}")
    again = Store(storage(tmp_path / "metrics.db"), DEVICE)
    assert [] == reader.events()
    again.close()


def test_a_reader_keeps_no_transaction(store: Store, reader: History) -> None:
    """The log can be emptied after it."""
    store.write([batch((RTT, 1.0, {}))])
    reader.plots("24h", NOW_MS)
    busy, *_ = store._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").get
    assert 0 == busy
