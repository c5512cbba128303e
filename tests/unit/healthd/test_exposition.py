"""/metrics is what Prometheus' own checker accepts, with every metric the catalogue has of ourselves."""

from __future__ import annotations

import subprocess
from typing import Any

from common import catalog
from common.instruments import DURATION_BOUNDS_S
from healthd.exposition import exposition
from healthd.heartbeats import Reading
from healthd.selfmetrics import readings
from healthd.verdict.rollup import assess
from tests.harness import require
from tests.unit.healthd.build import LIMITS, NOW_S, beat, collector, known, shipper

OF_EACH = ("collector.", "publisher.")
OWN = (*OF_EACH, "storage.", "uploader.", "time.")


def reading(name: str, **tags: str) -> list[Any]:
    """One instrument of a heartbeat, of the kind the catalogue says."""
    metric = catalog.METRICS[name]
    labels = {label: tags.get(label, "x") for label in metric.labels}
    value = [list(DURATION_BOUNDS_S), [1] * (len(DURATION_BOUNDS_S) + 1), 0.25]
    return [metric.kind, name, labels, value if metric.kind == "histogram" else 1500]


def scraped() -> str:
    """Return what is scraped while two collectors, the buffer and the shipper report all there is."""
    names = [name for name in catalog.METRICS if name.startswith(OWN)]
    everything = known(
        *(
            collector(who, readings=[reading(n, collector=who, producer=who) for n in names if n.startswith(OF_EACH)])
            for who in ("cpu", "memory")
        ),
        beat("buffer", readings=[reading(name) for name in names if name.startswith("storage.")]),
        shipper(readings=[reading(name) for name in names if name.startswith(("uploader.", "time."))]),
    )
    return exposition(readings(everything, assess(everything, LIMITS, NOW_S))).decode()


def test_prometheus_checker_finds_nothing() -> None:
    """`promtool check metrics` has nothing to say about a scrape with every metric in it."""
    done = subprocess.run(
        [require("promtool"), "check", "metrics"],
        input=scraped(),
        text=True,
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert (0, "", "") == (done.returncode, done.stdout, done.stderr)


def test_every_metric_is_there_under_its_exported_name() -> None:
    """Each catalogue row of our own is scraped with its help and kind; milliseconds as seconds."""
    text = scraped()
    for name, metric in catalog.METRICS.items():
        if name.startswith(OWN):
            export = metric.export.replace("_ms", "_seconds") if metric.unit == "milliseconds" else metric.export
            assert f"# HELP {export} {metric.help}\n# TYPE {export} {metric.kind}\n" in text
    assert "time_skew_seconds 1.5\n" in text


def test_a_histogram_is_a_proper_one() -> None:
    """Buckets are cumulative and end with +Inf; count and sum follow."""
    value = ["histogram", "storage.commit_duration_seconds", {}, [[0.1, 10.0], [1, 2, 5], 99.5]]
    everything = known(beat("buffer", readings=[value]))
    text = exposition(readings(everything, assess(everything, LIMITS, NOW_S))).decode()
    lines = [line for line in text.splitlines() if line.startswith("storage_commit_duration_seconds")]
    assert [
        'storage_commit_duration_seconds_bucket{le="0.1"} 1.0',
        'storage_commit_duration_seconds_bucket{le="10.0"} 2.0',
        'storage_commit_duration_seconds_bucket{le="+Inf"} 5.0',
        "storage_commit_duration_seconds_count 5.0",
        "storage_commit_duration_seconds_sum 99.5",
    ] == lines


def test_a_users_own_names_and_values_are_escaped() -> None:
    """Names are made safe, label values quoted, and two kinds under one name leave the first."""
    own = [
        Reading("gauge", "my-sensor.value", {"where": 'a"b\\c\nd'}, 1),
        Reading("counter", "my_sensor.value", {}, 2),
        Reading("counter", "my.requests", {"k": "v"}, 3),
        Reading("counter", "my.requests", {}, 4),
    ]
    assert [
        "# HELP my_requests_total Not in the catalogue.",
        "# TYPE my_requests_total counter",
        'my_requests_total{k="v"} 3.0',
        'my_requests_total{k=""} 4.0',
        "# HELP my_sensor_value Not in the catalogue.",
        "# TYPE my_sensor_value gauge",
        'my_sensor_value{where="a\\"b\\\\c\\nd"} 1.0',
    ] == exposition(own).decode().splitlines()
