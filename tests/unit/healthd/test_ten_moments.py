"""What happened at 14:32: ten random moments of six played hours, by page and command line, are what the database has.

They are played at uneven times, as collectors do that watch for changes; the database's own SQL is the judge.
"""

from __future__ import annotations

import json
import random
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from buffer.storage.store import Store
from common.sample import Batch
from healthd.page.history import History
from healthd.session_report import __main__ as command
from tests.unit.buffer.databases import DEVICE, NOW_MS, batch, storage

PLAYED_S = 6 * 3_600
BEGAN_MS = NOW_MS - 1000 * PLAYED_S
LINKS = tuple({"interface": name, "ip": f"10.0.0.{at}"} for at, name in enumerate(("usb0", "wwan0", "wwan1")))
SEED = random.randrange(1 << 30)
FIGURES = {  # a report's title, and what it sums up
    "Round trip": "srt.rtt_ms", "Temperature": "cpu.temperature", "Round trip of each link": "srtla.link_rtt_ms"
}  # fmt: skip


def hours(chance: random.Random) -> Iterator[Batch]:
    """Yield their batches; a link's counter begins again now and then, as after a modem's restart."""
    sent, at_ms = [0.0] * len(LINKS), BEGAN_MS
    while at_ms < NOW_MS:
        sent = [0.0 if chance.random() < 0.001 else total + chance.randrange(1 << 20) for total in sent]
        readings: list[tuple[str, Any, dict[str, str]]] = [
            ("srt.rtt_ms", chance.uniform(30, 900), {}),
            ("cpu.temperature", chance.uniform(40, 90), {}),
            *(("srtla.link_rtt_ms", chance.uniform(20, 900), link) for link in LINKS),
            *(
                ("network.tx_bytes_total", total, {"interface": link["interface"]})
                for total, link in zip(sent, LINKS, strict=True)
            ),
        ]
        if chance.random() < 0.02:
            labels = {"kind": "bitrate_cut", "severity": "warning", "source": "srt"}
            readings.append(("event", f"cut {at_ms}", labels))
        yield batch(*readings, at_ms=at_ms)
        at_ms += chance.randrange(200, 40_000)


def test_the_numbers_of_ten_moments_are_the_database_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The page's points, and the report's least, mean and most, its events and the data that each link carried."""
    chance, played = random.Random(SEED), tmp_path / "metrics.db"
    store = Store(storage(played), DEVICE)
    store.write(hours(chance))
    store.close()
    monkeypatch.setenv("BELABOX_STORAGE__PATH", str(played))
    with closing(sqlite3.connect(played)) as connection:
        for _ in range(10):
            at_ms = BEGAN_MS + 1000 * chance.randrange(1000, PLAYED_S - 1000)
            span = at_ms - 600_000, at_ms + 600_000
            plotted(connection, played, *span)
            report = reported(at_ms, monkeypatch, capsys)
            for title, metric in FIGURES.items():
                (row,) = [row for row in report["numbers"] if row["title"] == title]
                found = [row["least"], row["mean"], row["most"]]
                assert summed(connection, metric, *span) == pytest.approx(found, abs=0.006), (SEED, at_ms)
            told = "SELECT text FROM events WHERE timestamp_ms BETWEEN ? AND ? ORDER BY timestamp_ms"
            assert [text for (text,) in connection.execute(told, span)] == [one["text"] for one in report["events"]]
            assert grown(connection, *span) == report["bytes_sent_by_link"], (SEED, at_ms)


def reported(at_ms: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Return what `belabox-metrics report --at` gives."""
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at_ms / 1000))
    monkeypatch.setattr(sys, "argv", ["report", "--at", when, "--format", "json", "--output", "-"])
    capsys.readouterr()
    assert 0 == command.main()
    return json.loads(capsys.readouterr().out)


def summed(connection: sqlite3.Connection, metric: str, start_ms: int, end_ms: int) -> list[float]:
    """Return least, mean and most of a metric's samples."""
    text = (
        "SELECT min(metric_value), avg(metric_value), max(metric_value) FROM metrics "
        "WHERE metric_name = ? AND timestamp_ms BETWEEN ? AND ?"
    )
    return list(connection.execute(text, (metric, start_ms, end_ms)).fetchone())


def grown(connection: sqlite3.Connection, start_ms: int, end_ms: int) -> dict[str, float]:
    """Return by how much each link's counter grew."""
    text = (
        "SELECT name, sum(CASE WHEN value >= before THEN value - before ELSE value END) FROM (SELECT "
        "json_extract(tags, '$.interface') AS name, metric_value AS value, lag(metric_value) OVER (PARTITION BY tags "
        "ORDER BY timestamp_ms) AS before FROM metrics WHERE metric_name = 'network.tx_bytes_total' "
        "AND timestamp_ms BETWEEN ? AND ?) WHERE before IS NOT NULL GROUP BY name"
    )
    return dict(connection.execute(text, (start_ms, end_ms)))


def plotted(connection: sqlite3.Connection, played: Path, start_ms: int, end_ms: int) -> None:
    """Assert that each point on the page is what its step holds, and none is missing."""
    history = History(played, {})
    answer = history.plots(start_ms, end_ms)
    history.close()
    step_ms = 1000 * answer["step_s"]
    (plot,) = [plot for plot in answer["plots"] if plot["id"] == "rtt"]
    (line,) = [line for line in plot["lines"] if line["name"] == "stream"]
    text = (
        "SELECT timestamp_ms - timestamp_ms % ? AS step, min(metric_value), avg(metric_value), max(metric_value) FROM "
        "metrics WHERE metric_name = 'srt.rtt_ms' AND timestamp_ms BETWEEN ? AND ? GROUP BY step ORDER BY step"
    )
    rows = connection.execute(text, (step_ms, start_ms - start_ms % step_ms, end_ms)).fetchall()
    found = [point if len(point) == 4 else [point[0], *[point[1]] * 3] for point in line["points"]]
    assert len(rows) == len(found)
    assert [number for row in rows for number in row] == pytest.approx(
        [number for row in found for number in row], abs=0.006
    )
