"""/metrics/samples: the newest value of every series, as Prometheus' own checker reads it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

from buffer.storage.store import Store
from common import catalog
from healthd.page.history import History
from healthd.recorded.series import Newest
from healthd.samples import LEAST_STALE_MS, exposition
from tests.harness import require
from tests.unit.buffer.databases import DEVICE, NOW_MS, batch, storage

UNITS = ('use base unit "', "metric names should not contain abbreviated units")


def newest(
    metric: str, value: float = 1.0, age_ms: int = 0, interval_ms: int = 1000, tags: Mapping[str, str] = {}
) -> Newest:
    """Return a series of two samples."""
    return Newest(metric, "box", json.dumps(dict(tags)), value, NOW_MS - age_ms - interval_ms, NOW_MS - age_ms, 2)


def lines(*found: Newest) -> list[str]:
    """Return what is shown of them."""
    return exposition(found, NOW_MS).decode().splitlines()


def test_a_series_has_the_names_of_the_server() -> None:
    """Help and type are the catalogue's; labels are quoted."""
    assert [
        "# HELP cpu_temperature_celsius The hottest zone.",
        "# TYPE cpu_temperature_celsius gauge",
        'cpu_temperature_celsius{device_id="box"} 61.5',
        "# HELP my_own Not in the catalogue.",
        "# TYPE my_own gauge",
        'my_own{device_id="box",where="a\\"b\\\\c\\nd"} 1.0',
    ] == lines(newest("my.own", tags={"where": 'a"b\\c\nd'}), newest("cpu.temperature", 61.5))


def test_a_histogram_is_one_family() -> None:
    """Its three parts under its name."""
    name = "storage.commit_duration_seconds"
    shown = lines(
        newest(f"{name}_bucket", 2, tags={"le": "+Inf"}), newest(f"{name}_count", 2), newest(f"{name}_sum", 0.5)
    )
    assert "# TYPE storage_commit_duration_seconds histogram" == shown[1]
    assert ["_bucket", "_count", "_sum"] == [
        line.partition("{")[0].removeprefix("storage_commit_duration_seconds") for line in shown[2:]
    ]


def test_what_is_old_is_absent() -> None:
    """Three of its intervals, twenty seconds at least."""
    assert [] == lines(newest("cpu.temperature", age_ms=LEAST_STALE_MS + 1))
    assert [] == lines(newest("cpu.temperature", age_ms=30_001, interval_ms=10_000))
    assert lines(newest("cpu.temperature", age_ms=30_000, interval_ms=10_000))


def test_prometheus_checker_speaks_of_units_alone() -> None:
    """`promtool check metrics` reads it all; names with `_ms` and bits are those of the server."""
    everything = [
        newest(name + suffix, tags=dict.fromkeys(metric.labels, "x") | ({"le": "+Inf"} if suffix == "_bucket" else {}))
        for name, metric in catalog.METRICS.items()
        if metric.kind != catalog.EVENT
        for suffix in (catalog.HISTOGRAM_SUFFIXES if metric.kind == catalog.HISTOGRAM else ("",))
    ]
    text = exposition(everything, NOW_MS).decode()
    done = subprocess.run(
        [require("promtool"), "check", "metrics"], input=text, text=True, capture_output=True, timeout=30, check=False
    )
    assert [] == [
        line for line in done.stderr.splitlines() + done.stdout.splitlines() if not any(unit in line for unit in UNITS)
    ]


def test_it_is_read_from_the_database(tmp_path: Path) -> None:
    """The newest of each series, numbers alone; nothing of the future."""
    store = Store(storage(tmp_path / "metrics.db"), DEVICE)
    for at_ms, value in ((-2000, 1.0), (-1000, 2.0), (60_000, 9.0)):
        store.write([batch(("srt.rtt_ms", value, {}), ("srt.text", "words", {}), at_ms=NOW_MS + at_ms)])
    history = History(tmp_path / "metrics.db", {})
    try:
        text = history.newest(NOW_MS).decode()
    finally:
        history.close()
        store.close()
    assert [f'srt_rtt_ms{{device_id="{DEVICE}"}} 2.0'] == [
        line for line in text.splitlines() if not line.startswith("#")
    ]
