"""Plots and events out of a database that the buffer writes meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from buffer.storage.store import Store
from healthd.page import history
from healthd.page.history import History
from healthd.recorded.database import UnreadableError
from healthd.recorded.events import NEWEST
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
    reader = History(tmp_path / "metrics.db", {"wwan1": "left"})
    yield reader
    reader.close()


def lines(answer: dict[str, Any], plot: str) -> dict[str, list[list[float]]]:
    """Return the points of a plot's lines by their names."""
    found = next(each for each in answer["plots"] if each["id"] == plot)
    return {line["name"]: line["points"] for line in found["lines"]}


def test_a_plot_has_least_mean_and_most_of_each_step(store: Store, reader: History) -> None:
    """Readings within a step are one point; one that is the same throughout has its value once."""
    start_ms = NOW_MS - NOW_MS % 2000
    for at_ms, value in ((0, 10.0), (500, 30.0), (1000, 20.0), (2000, 7.0)):
        store.write([batch((RTT, value, {}), at_ms=start_ms + at_ms)])
    answer = reader.live(300, start_ms + 3000)
    assert {"stream": [[start_ms, 10.0, 20.0, 30.0], [start_ms + 2000, 7.0]]} == lines(answer, "rtt")
    assert (2, 1.0, {}) == (answer["step_s"], answer["read_share"], lines(answer, "loss"))


def test_a_link_is_called_as_people_call_it(store: Store, reader: History) -> None:
    """By the configuration, its carrier, or else its interface; two of one carrier by that too."""
    tags = {
        name: {"interface": name, "ip": f"10.0.0.{at}"} for at, name in enumerate(("wwan0", "wwan1", "usb0", "enx", ""))
    }
    for interface in ("wwan0", "wwan1", "usb0"):
        modem = {"interface": interface, "carrier": "Vodafone", "model": "EM12-G"}
        store.write([batch(("modem.info", 1, modem))])
    store.write([batch(*(("srtla.link_rtt_ms", 5.0, link) for link in (*tags.values(), {})))])
    answer = reader.plots(NOW_MS - 60_000, NOW_MS)
    assert {"left", "Vodafone (wwan0)", "Vodafone (usb0)", "enx", "10.0.0.4", "link"} == set(lines(answer, "rtt"))


def test_a_viewer_asks_for_what_is_new(store: Store, reader: History) -> None:
    """From its last step on, which may have become more."""
    for at_ms in range(0, 60_000, 1000):
        store.write([batch((RTT, at_ms, {}), at_ms=NOW_MS - 60_000 + at_ms)])
    whole = lines(reader.live(300, NOW_MS), "rtt")["stream"]
    assert whole[-3:] == lines(reader.live(300, NOW_MS, int(whole[-3][0])), "rtt")["stream"]


def test_a_moment_of_long_ago_is_drawn_of_aggregates(store: Store, reader: History) -> None:
    """With the events and the stream of then; nothing of another time."""
    then_ms = NOW_MS - 20 * 86_400_000
    store.write([batch((RTT, 1.0, {}))])
    values = "(300000, ?, 1, 5.0, 9.0, 6.0, 7.0, 0, 30)"
    store._connection.execute(f"INSERT INTO aggregates VALUES {values}", (then_ms - then_ms % 300_000,))
    store._connection.execute("INSERT INTO sessions VALUES ('s', ?, ?, 'completed', '{}')", (then_ms, then_ms + 60_000))
    labels = {"kind": "link_down", "severity": "warning", "source": "srt"}
    store.write([batch(("event", "gone", labels), at_ms=then_ms)])
    answer = reader.plots(then_ms - 900_000, then_ms + 900_000)
    assert [[5.0, 6.0, 9.0]] == [point[1:] for point in lines(answer, "rtt")["stream"]]
    assert (["gone"], [[then_ms, then_ms + 60_000]]) == ([mark["text"] for mark in answer["marks"]], answer["sessions"])


@pytest.mark.parametrize(("span_s", "expected"), [(30, 1), (300, 2), (3600, 20), (86_400, 600), (30 * 86_400, 14_400)])
def test_a_plot_has_as_many_steps_as_a_phone_can_show(span_s: int, expected: int) -> None:
    """Fine where the span is short."""
    assert expected == history.step_s(NOW_MS - 1000 * span_s, NOW_MS)


def test_of_a_busy_day_a_part_is_read(store: Store, reader: History, monkeypatch: pytest.MonkeyPatch) -> None:
    """And which part is said."""
    for second in range(300):
        store.write([batch((RTT, second, {}), at_ms=NOW_MS - 300_000 + 1000 * second)])
    monkeypatch.setattr(history, "MAX_ENTRIES", 150)
    answer = reader.live(300, NOW_MS)
    assert 0.45 < answer["read_share"] < 0.55
    assert 140 <= len(lines(answer, "rtt")["stream"]) <= 151


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
        reader.live(300, NOW_MS)


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
    reader.live(86_400, NOW_MS)
    busy, *_ = store._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").get
    assert 0 == busy


def test_a_time_is_reported_as_one_file(store: Store, reader: History) -> None:
    """A stream by its beginning, with how it ended; any other time by its middle."""
    store._connection.execute("INSERT INTO sessions VALUES ('s', ?, ?, 'completed', '{}')", (NOW_MS - 60_000, NOW_MS))
    store.write([batch((RTT, 61.5, {}))])
    report = reader.report(NOW_MS - 60_000, NOW_MS)
    assert all(part in report for part in (f"<h1>Stream of {DEVICE}</h1>", "Stopped by the operator", "61.5"))
    assert "Stopped" not in reader.report(NOW_MS - 30_000, NOW_MS)
