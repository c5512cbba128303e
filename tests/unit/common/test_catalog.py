"""Every metric by name, and what it is called on export."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import catalog
from common.catalog import COUNTER, EVENT, GAUGE, HISTOGRAM, HISTOGRAM_SUFFIXES, INFO, METRICS, Metric
from common.sample import PRIORITIES

PROMQL = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")  # Prometheus: data model, metric names


def exported(metric: Metric) -> list[str]:
    """Return every name a metric has at the server."""
    if metric.kind == HISTOGRAM:
        return [catalog.find(metric.name + suffix).export for suffix in HISTOGRAM_SUFFIXES]
    return [metric.export]


def test_each_row_is_whole() -> None:
    """A known kind and priority, a sentence of help, labels without device_id, a name PromQL can write."""
    for metric in METRICS.values():
        assert metric.kind in {GAUGE, COUNTER, HISTOGRAM, INFO, EVENT}, metric
        assert metric.priority in PRIORITIES, metric
        assert re.fullmatch(r"\S.*\.", metric.help), metric
        assert "device_id" not in metric.labels, metric
        assert all(PROMQL.fullmatch(name) for name in (*exported(metric), *metric.labels)), metric
        plain = {"event", "events_total", "session"}  # named by the requirement documents
        assert metric.name in plain or re.fullmatch(r"[a-z][a-z0-9_]*\.[a-z0-9_.]+", metric.name), metric


def test_no_two_metrics_share_a_name_at_the_server() -> None:
    """Two series under one name would be one series with two truths."""
    names = [name for metric in METRICS.values() for name in exported(metric)]
    assert sorted(set(names)) == sorted(names)


def test_no_row_is_written_twice() -> None:
    """The table has as many names as rows."""
    tables = [value for value in vars(catalog).values() if isinstance(value, tuple)]
    rows = [row.name for table in tables for row in table if isinstance(row, Metric)]
    assert sorted(METRICS) == sorted(rows)


def test_a_total_is_a_counter_and_a_counter_is_a_total() -> None:
    """The name says how to read the value, as Prometheus' naming has it."""
    counters = [metric.name for metric in METRICS.values() if metric.kind == COUNTER]
    assert counters == [name for name in METRICS if name.endswith("_total")]


@pytest.mark.parametrize(
    ("suffix", "unit"), [("_bytes", "bytes"), ("_percent", "percent"), ("_seconds", "seconds"), ("_hertz", "hertz")]
)
def test_a_unit_in_a_name_is_the_unit(suffix: str, unit: str) -> None:
    """Whatever ends in a unit is in that unit."""
    assert {unit} == {metric.unit for metric in METRICS.values() if metric.name.endswith(suffix)}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cpu.temperature", "cpu_temperature_celsius"),
        ("thermal.zone_temp", "thermal_zone_temp_celsius"),
        ("disk.read_bytes_total", "disk_read_bytes_total"),
        ("network.rx_bytes_total", "network_rx_bytes_total"),
        ("cpu.usage_percent", "cpu_usage_percent"),
    ],
)
def test_names_at_the_server_are_the_designs(name: str, expected: str) -> None:
    """No suffix is doubled, and temperatures say Celsius."""
    assert expected == catalog.find(name).export


@pytest.mark.parametrize("suffix", HISTOGRAM_SUFFIXES)
def test_a_histograms_families_are_counters_of_its_name(suffix: str) -> None:
    """What is stored of a histogram is found under the histogram's row."""
    found = catalog.find(f"storage.commit_duration_seconds{suffix}")
    assert (COUNTER, f"storage_commit_duration_seconds{suffix}") == (found.kind, found.export)


@pytest.mark.parametrize("name", ["cpu.usage_percent_bucket", "cpu.usage_percent_sum", "nothing_count", "_sum"])
def test_only_a_histogram_has_families(name: str) -> None:
    """Another metric's name with such a suffix is a name that is not in the catalogue."""
    assert GAUGE == catalog.find(name).kind
    assert "Not in the catalogue." == catalog.find(name).help


def test_an_unknown_metric_is_a_gauge_of_normal_priority() -> None:
    """A user's own collector needs no row."""
    found = catalog.find("my.own-metric/é")
    assert (GAUGE, 2, "my_own_metric__") == (found.kind, found.priority, found.export)


@given(st.text(min_size=1, max_size=200))
def test_any_name_has_a_valid_name_at_the_server(name: str) -> None:
    """Whatever a producer calls its metric, PromQL can write it."""
    assert PROMQL.fullmatch(catalog.export_name(name))
