"""The report of a stream out of the buffer's database: right numbers, worst moments, one file that opens anywhere."""

from __future__ import annotations

import csv
import io
import json
import re
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import apsw
import pytest

from healthd.recorded import series
from healthd.recorded.database import Database as Reader
from healthd.recorded.database import UnreadableError
from healthd.recorded.events import RecordedEvent
from healthd.recorded.series import Line, Point
from healthd.session_report import __main__ as command
from healthd.session_report import summary

START_MS = 1_700_000_000_000
SESSION = "3f0c9a52-0000-5000-8000-000000000001"
LINK = {"interface": "wwan0", "ip": "10.0.0.2"}
TABLES = """
CREATE TABLE series (id INTEGER PRIMARY KEY, metric_name TEXT, device_id TEXT, tags TEXT, value_type INTEGER);
CREATE TABLE samples (id INTEGER PRIMARY KEY, timestamp_ms INTEGER, series_id INTEGER, value);
CREATE UNIQUE INDEX ux_metrics_dedup ON samples (timestamp_ms, series_id);
CREATE TABLE aggregates (width_ms, start_ms, series_id, min, max, avg, last, last_ms, count);
CREATE TABLE sessions (id TEXT PRIMARY KEY, start_time INTEGER, end_time INTEGER, status TEXT, metadata TEXT);
CREATE TABLE events (id INTEGER PRIMARY KEY, timestamp_ms INTEGER, kind TEXT, severity TEXT, source TEXT, text TEXT);
"""


class Database:
    """A database as the buffer writes it, as far as a report reads it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.connection = apsw.Connection(str(path))
        self.connection.execute(TABLES)

    def add(self, metric: str, values: dict[int, float], labels: dict[str, str] | None = None) -> None:
        """Add samples of one series, by their seconds after the start."""
        series = "INSERT INTO series (metric_name, device_id, tags, value_type) VALUES (?, 'box-1', ?, 0)"
        self.connection.execute(series, (metric, json.dumps(labels or {})))
        number = self.connection.last_insert_rowid()
        rows = [(START_MS + 1000 * second, number, value) for second, value in values.items()]
        self.connection.executemany("INSERT INTO samples (timestamp_ms, series_id, value) VALUES (?, ?, ?)", rows)

    def event(self, second: int, kind: str, severity: str, text: str) -> None:
        """Add an event."""
        row = (START_MS + 1000 * second, kind, severity, "srt", text)
        self.connection.execute(
            "INSERT INTO events (timestamp_ms, kind, severity, source, text) VALUES (?,?,?,?,?)", row
        )


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """A stream of a hundred seconds with a broken link."""
    made = Database(tmp_path / "metrics.db")
    row = (SESSION, START_MS, START_MS + 100_000, "failed", '{"restarts": 2}')
    made.connection.execute("INSERT INTO sessions VALUES (?, ?, ?, ?, ?)", row)
    made.add("srt.rtt_ms", {second: 50.0 + second for second in range(0, 100, 5)})
    made.add("srtla.link_rtt_ms", {55: 300.0, 59: 900.0}, LINK)
    made.add("network.tx_bytes_total", {-10: 5.0, 0: 10.0, 50: 1_010.0, 60: 40.0, 99: 140.0}, {"interface": "wwan0"})
    made.event(60, "srtla_link_down", "error", "wwan0 answers nothing <now>")
    made.event(62, "bitrate_cut", "warning", "from 6.0 to 2.0 Mbit/s")
    made.event(95, "mode_changed", "info", "degraded")
    yield made
    made.connection.close()


def run(database: Database, monkeypatch: pytest.MonkeyPatch, *options: str) -> int:
    """Run the command on a database; return its exit code."""
    monkeypatch.setenv("BELABOX_STORAGE__PATH", str(database.path))
    monkeypatch.setattr("sys.argv", ["session_report", *options])
    return command.main()


def test_the_numbers_are_those_of_the_database(
    database: Database, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Least, mean and most of the stream, and the data that an interface sent, over a restart of its counter."""
    assert 0 == run(database, monkeypatch, "--last", "--format", "json", "--output", "-")
    report: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert ("box-1", SESSION, "failed", 2) == tuple(
        report[key] for key in ("device_id", "session_id", "status", "restarts")
    )
    rtt = next(row for row in report["numbers"] if row["title"] == "Round trip")
    assert {"title": "Round trip", "unit": "ms", "least": 50, "mean": 97.5, "most": 145} == rtt
    assert {"wwan0": 1_000.0 + 40.0 + 100.0} == report["bytes_sent_by_link"]


def test_a_worst_moment_has_its_reasons_and_the_links_of_then(
    database: Database, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Events that belong together are one moment; what is only information is none."""
    run(database, monkeypatch, "--session", SESSION[:6], "--format", "json", "--output", "-")
    (moment,) = json.loads(capsys.readouterr().out)["worst_moments"]
    assert {
        "at_ms": START_MS + 60_000,
        "severity": "error",
        "texts": ["wwan0 answers nothing <now>", "from 6.0 to 2.0 Mbit/s"],
        "links": {"wwan0": "900 ms"},
    } == moment


def test_the_file_opens_anywhere(
    database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One HTML file without a request; what an event says is text, never markup."""
    file = tmp_path / "report.html"
    assert 0 == run(database, monkeypatch, "--output", str(file))
    assert f"{file}\n" == capsys.readouterr().out
    text = file.read_text(encoding="utf-8")
    assert "wwan0 answers nothing &lt;now&gt;" in text
    assert "Broke off" in text
    assert 2 == text.count("<svg")
    assert [] == re.findall(r"(?:src|href)=|@import|url\(|<script", text)


def test_what_is_measured_now_and_then_is_one_line(
    database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Two readings that came close to each other do not turn the rest into dots; a hole stays one."""
    seconds = [0, 5, 6, 11, 16, 21, 60, 65]
    database.add("encoder.bitrate_bits_per_second", dict.fromkeys(seconds, 5e6))
    run(database, monkeypatch, "--output", str(tmp_path / "r.html"))
    figure = (tmp_path / "r.html").read_text(encoding="utf-8").partition("Bitrate set</b>")[2].partition("</figure>")[0]
    (path,) = re.findall(r'<path d="([^"]*)"', figure)
    assert 2 == path.count("M")


def test_the_table_has_every_point(
    database: Database, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """CSV for a spreadsheet: a row for each step of each series."""
    run(database, monkeypatch, "--format", "csv", "--output", "-")
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert 22 == len(rows)
    assert {"metric": "srt.rtt_ms", "labels": "{}", "timestamp_ms": str(START_MS)}.items() <= rows[0].items()


def test_downsampled_time_is_joined_with_raw(database: Database) -> None:
    """A day-old minute is an aggregate; a step that has both counts each by its samples."""
    values = (60_000, START_MS, 1, 10.0, 20.0, 15.0, 20.0, 0, 2)
    database.connection.execute("INSERT INTO aggregates VALUES (?,?,?,?,?,?,?,?,?)", values)
    steps_ms = range(START_MS, START_MS + 100_000, 10_000)
    (line,), share = Reader(database.path).read(lambda query: series.lines(query, ["srt.rtt_ms"], steps_ms))
    assert 1.0 == share
    assert Point(START_MS, 10.0, (15.0 * 2 + 52.5 * 2) / 4, 55.0, 4) == line.points[0]


def test_the_streams_are_listed(
    database: Database, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """When, how long, how it ended, and the id to ask with."""
    assert 0 == run(database, monkeypatch, "--list")
    assert re.search(rf"1 min 40 s  failed +{SESSION}$", capsys.readouterr().out.strip())


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("14:32", datetime(2026, 5, 2, 14, 32)),  # noqa: DTZ001 - the clock on the wall
        ("18:00:30", datetime(2026, 5, 1, 18, 0, 30)),  # noqa: DTZ001 - it is not yet that late
        ("2026-04-03 09:15", datetime(2026, 4, 3, 9, 15)),  # noqa: DTZ001
    ],
)
def test_a_moment_is_the_one_that_a_person_means(text: str, at: datetime) -> None:
    """A time alone is the last one that has passed."""
    now_s = datetime(2026, 5, 2, 16, 0).timestamp()  # noqa: DTZ001
    assert round(1000 * at.timestamp()) == command._moment_ms(text, now_s)


def test_a_moment_is_reported_with_the_minutes_around_it(
    database: Database, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a stream too; what is not a time is refused with an example."""
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(START_MS / 1000 + 60))
    assert 0 == run(database, monkeypatch, "--at", when, "--minutes", "0.1", "--format", "json", "--output", "-")
    report = json.loads(capsys.readouterr().out)
    assert ["srtla_link_down", "bitrate_cut"] == [event["kind"] for event in report["events"]]
    assert 64 == run(database, monkeypatch, "--at", "yesterday")
    assert "--at: expected 14:32" in capsys.readouterr().err


def test_what_is_not_there_is_said(
    database: Database, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """No such stream, no database: a sentence and an exit code."""
    assert 64 == run(database, monkeypatch, "--session", "ffff")
    assert "no such stream" in capsys.readouterr().err
    with pytest.raises(UnreadableError, match=r"nothing\.db"):
        Reader(tmp_path / "nothing.db").read(lambda query: query("SELECT 1", ()))
    monkeypatch.setenv("BELABOX_STORAGE__PATH", str(tmp_path / "nothing.db"))
    assert 69 == command.main()


def test_most_moments_are_the_worst() -> None:
    """A critical one comes before an earlier warning, and there are not more than a reader takes in."""
    events = [RecordedEvent(at, 100_000 * at, "k", "warning", "s", f"w{at}") for at in range(20)]
    events.append(RecordedEvent(20, 100_000 * 20, "k", "critical", "s", "c"))
    found = summary.moments(events, [Line("srtla.link_rtt_ms", {"ip": "10.0.0.2"}, [])])
    assert ["c", "w0"] == [moment.texts[0] for moment in found[:2]]
    assert summary.MOST_MOMENTS == len(found)
