"""The spellings of the requirement documents, and where an error in them is said to be."""

from __future__ import annotations

from pathlib import Path

import pytest

from collectors.derived import derived
from common import config, documents
from common.config import ConfigError
from common.thresholds import Alerts
from tests.unit.common.test_config import errors, load


def test_a_documented_list_becomes_sections(tmp_path: Path) -> None:
    """An entry's keys and its config are the collector's section."""
    loaded = load(
        tmp_path,
        "metrics:\n"
        "  - {name: cpu.usage, interval: 3s, enabled: false}\n"
        "  - {name: network.traffic, config: {exclude_ifaces: [lo]}}\n",
    )
    assert (3.0, False) == (loaded.collectors["cpu"].interval_s, loaded.collectors["cpu"].enabled)
    assert ["lo"] == [pattern.pattern for pattern in loaded.collectors["network"].exclude_ifaces]
    assert () == loaded.warnings


def test_a_group_stands_for_its_collectors(tmp_path: Path) -> None:
    """PRD's `system` is processor, memory, disk and heat."""
    loaded = load(tmp_path, "collection: {collectors: [{name: system, interval: 3s}]}\n")
    assert [3.0, 3.0, 3.0, 3.0, 10.0] == [
        loaded.collectors[name].interval_s for name in ("cpu", "memory", "disk", "thermal", "network")
    ]


def test_an_own_section_wins_over_a_documented_list(tmp_path: Path) -> None:
    """What is written under the system's own name is meant."""
    loaded = load(tmp_path, "collectors: {cpu: {interval: 5s}}\nmetrics: [{name: cpu.usage, interval: 3s}]\n")
    assert 5.0 == loaded.collectors["cpu"].interval_s


@pytest.mark.parametrize("own", ["collectors:\n", "collectors:\n  cpu:\n", "collectors: {}\n"])
def test_an_empty_own_section_hides_no_documented_list(tmp_path: Path, own: str) -> None:
    """A section that is commented out leaves the list in force."""
    assert 3.0 == load(tmp_path, own + "metrics: [{name: cpu.usage, interval: 3s}]\n").collectors["cpu"].interval_s


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "metrics: [{name: cpu.usage}, {name: network.traffic, config: {exclude_ifaces: ['(']}}]\n",
            "collectors.network.exclude_ifaces (metrics[1].config.exclude_ifaces): item 0: expected a regular",
        ),
        (
            "collection: {collectors: [{name: network, interval: 1}]}\n",
            "collectors.network.interval (collection.collectors[0].interval): expected a duration such as",
        ),
        (
            "metrics: [{name: disk.io, config: {unitt: kernel}}]\n",
            "collectors.disk.unitt (metrics[0].config.unitt): unknown key; here are ",
        ),
        ("metrics: [{name: disk.io, config: 5}]\n", "collectors.disk.config (metrics[0].config): unknown key"),
        (
            "metrics: [{name: disk.io, config: {inner: {depth: 99}}}]\n",
            "collectors.disk.inner.depth (metrics[0].config.inner.depth): expected a whole number",
        ),
        ("metrics: [{name: gpu.usage}]\n", "collectors.gpu.usage (metrics[0]): no such collector; there are "),
        (
            "remote: {upload: {timeout: soon}}\n",
            "remote.timeout (remote.upload.timeout): expected a duration such as 500ms, 30s, 5m or 1h, got 'soon'",
        ),
        ("metrics: 5\n", "metrics: expected a list"),
        ("metrics: [cpu.usage]\n", "metrics[0]: expected an entry with a name, got 'cpu.usage'"),
        ("metrics: [{interval: 3s}]\n", "metrics[0]: expected an entry with a name, got {'interval': '3s'}"),
        ("metrics: [{name: [x]}]\n", "metrics[0]: expected an entry with a name, got {'name': ['x']}"),
        (
            "metrics: [{name: cpu.usage, interval: 3s}, {name: cpu.usage, interval: 9s}]\n",
            "metrics[1]: cpu.usage is listed already, in metrics[0]",
        ),
        ("collectors: {cpu: fast}\nmetrics: [{name: cpu.usage}]\n", "collectors.cpu (metrics[0]): expected a section"),
        ("collectors: 5\nmetrics: [{name: cpu.usage}]\n", "collectors: expected a section for each collector"),
    ],
)  # fmt: skip
def test_an_error_names_the_key_and_the_place_it_was_written(tmp_path: Path, text: str, expected: str) -> None:
    """Whoever wrote a file after a document finds the line that the message is about."""
    (message,) = errors(tmp_path, text)
    assert message.startswith(expected)


def test_a_group_with_a_mistake_is_reported_for_each_of_its_collectors(tmp_path: Path) -> None:
    """One line of the file can be wrong in four sections; all four name the line."""
    found = errors(tmp_path, "collection: {collectors: [{name: system, interval: 1}]}\n")
    assert 4 == sum("(collection.collectors[0].interval)" in message for message in found)


def test_an_own_mistake_is_not_blamed_on_the_list(tmp_path: Path) -> None:
    """The place is named only for keys that came from there."""
    (message,) = errors(tmp_path, "collectors: {cpu: {interval: 1}}\nmetrics: [{name: cpu.usage, interval: 3s}]\n")
    assert message.startswith("collectors.cpu.interval: expected")


@pytest.mark.parametrize("path", [path for path in documents.WITHOUT_EFFECT if len(path) > 1], ids=".".join)
def test_a_key_without_effect_is_named(tmp_path: Path, path: tuple[str, ...]) -> None:
    """A documented key that does nothing here says so instead of being an error."""
    *sections, name = path
    opening = "".join(f"{section}: {{" for section in sections)
    loaded = load(tmp_path, f"{opening}{name}: 1{'}' * len(sections)}\n")
    assert (f"{'.'.join(path)}: no effect in this version",) == loaded.warnings


def test_a_moved_key_takes_effect_and_an_own_one_wins(tmp_path: Path) -> None:
    """`remote.upload.interval` is `remote.upload_interval`, unless that is given too."""
    assert 7.0 == load(tmp_path, "remote: {upload: {interval: 7s}}\n").settings.remote.upload_interval_s
    both = "remote: {upload: {interval: 7s}, upload_interval: 9s}\n"
    assert 9.0 == load(tmp_path, both).settings.remote.upload_interval_s


def test_the_alerts_were_the_derived_collectors(tmp_path: Path) -> None:
    """A file of version 0.1 keeps its thresholds, and a misspelt one is named where it stands."""
    alerts = _with_derived(tmp_path, "collectors: {derived: {alerts: {rtt_ms: 800, hold: 3s}}}\n")
    assert (800.0, 3.0) == (alerts.rtt_ms, alerts.clear_hold_s)
    both = "collectors: {derived: {alerts: {rtt_ms: 800}}}\nalerts: {rtt_ms: 900}\n"
    assert 900.0 == _with_derived(tmp_path, both).rtt_ms
    with pytest.raises(ConfigError, match=r"alerts.rtt \(collectors.derived.alerts.rtt\): unknown key"):
        _with_derived(tmp_path, "collectors: {derived: {alerts: {rtt: 800}}}\n")


def _with_derived(tmp_path: Path, text: str) -> Alerts:
    """Return the thresholds that the derived collector works with."""
    file = tmp_path / "derived.yaml"
    file.write_text(text, encoding="utf-8")
    loaded = config.load(file, {}, {"derived": derived.Config})
    assert loaded.settings.alerts == loaded.collectors["derived"].alerts
    alerts: Alerts = loaded.collectors["derived"].alerts
    return alerts


@pytest.mark.parametrize("text", ["collection: 5\n", "remote: 5\n", "collection: {collectors: 5}\n", "buffer: 5\n"])
def test_odd_shapes_of_documented_sections_do_not_raise(tmp_path: Path, text: str) -> None:
    """Whatever stands where a document has a section, the answer is an error or a warning."""
    try:
        assert load(tmp_path, text).warnings
    except ConfigError as error:
        assert error.messages  # noqa: PT017 - both outcomes are right, another exception is not
