"""The spellings of the requirement documents, and where an error in them is said to be."""

from __future__ import annotations

import re
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from collectors.derived import derived
from common import config, documents
from common.config import ConfigError
from common.thresholds import Alerts
from tests.unit.common.test_config import FIXTURES, errors, load


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
    assert (
        "metrics[0] cpu.usage: read as collectors.cpu",
        "metrics[1] network.traffic: read as collectors.network",
    ) == loaded.warnings


def test_a_group_stands_for_its_collectors(tmp_path: Path) -> None:
    """PRD's `system` is processor, memory, disk and heat."""
    loaded = load(tmp_path, "collection: {collectors: [{name: system, interval: 3s}]}\n")
    assert [3.0, 3.0, 3.0, 3.0, 10.0] == [
        loaded.collectors[name].interval_s for name in ("cpu", "memory", "disk", "thermal", "network")
    ]


@pytest.mark.parametrize(
    ("text", "first", "second"),
    [
        ("collectors: {cpu: {interval: 5s}}\nmetrics: [{name: cpu.usage, interval: 3s}]\n", "collectors", "metrics[0]"),
        (
            "metrics: [{name: cpu.usage, interval: 3s}]\ncollection: {collectors: [{name: system, enabled: false}]}\n",
            "metrics[0]",
            "collection.collectors[0]",
        ),
        ("metrics: [{name: cpu.usage, interval: 3s}, {name: cpu, interval: 9s}]\n", "metrics[0]", "metrics[1]"),
    ],
)
def test_a_source_that_is_set_twice_is_refused(tmp_path: Path, text: str, first: str, second: str) -> None:
    """No list wins over another in silence: both places are named."""
    assert f"{second}: cpu is set in {first} already; say it once" in errors(tmp_path, text)


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
            "metrics[1]: cpu is set in metrics[0] already; say it once",
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


@pytest.mark.parametrize(("path", "fixed"), documents.FIXED.items(), ids=list(documents.FIXED))
def test_a_key_without_a_choice_says_what_is_done(tmp_path: Path, path: str, fixed: documents.FixedKey) -> None:
    """A documented key that cannot be chosen here says why; another word or kind than it can have is refused."""
    assert (f"{path}: {fixed.why}",) == load(tmp_path, nested(path, fixed.expected or "5MB")).warnings
    (message,) = errors(tmp_path, nested(path, "other" if fixed.expected else "[]"))
    assert message.startswith(f"{path}: expected ")


@pytest.mark.parametrize("old", documents.MOVED)
def test_a_moved_key_says_where_it_is_read_as_and_is_given_once(tmp_path: Path, old: str) -> None:
    """`remote.upload.interval` is `remote.upload_interval`; both of them in one file are refused."""
    new, value = documents.MOVED[old].new, VALUES[old]
    assert (f"{old}: read as {new}",) == load(tmp_path, nested(old, value)).warnings
    tree = yaml.safe_load(nested(old, value))
    merge(tree, yaml.safe_load(nested(new, value)))
    assert f"{old}: given as {new} too; say it once" in errors(tmp_path, yaml.safe_dump(tree))


VALUES = {
    "remote.upload.mode": "degraded", "remote.upload.batch_size": "100", "remote.upload.interval": "7s",
    "remote.upload.timeout": "7s", "remote.upload.compression": "false",
    "monitoring.skew_url": "http://127.0.0.1/health", "monitoring.skew_warn_threshold": "3s",
    "storage.rotation.interval": "6h", "buffer.max_size": "1GB",
}  # fmt: skip


def test_a_moved_key_takes_effect(tmp_path: Path) -> None:
    """A duration becomes the milliseconds that the new key is in."""
    assert 7.0 == load(tmp_path, "remote: {upload: {interval: 7s}}\n").settings.remote.upload_interval_s
    monitoring = load(tmp_path, "monitoring: {skew_warn_threshold: 3s}\n").settings.monitoring
    assert 3000 == monitoring.clock_skew_warn_threshold_ms


def test_collection_that_is_off_is_off(tmp_path: Path) -> None:
    """`collection.enabled: false` disables every source, one that is enabled by itself too."""
    loaded = load(tmp_path, "collection: {enabled: false}\ncollectors: {cpu: {enabled: true}}\n")
    assert {False} == {section.enabled for section in loaded.collectors.values()}
    assert {True} == {section.enabled for section in load(tmp_path, "").collectors.values()}


def test_the_alerts_were_the_derived_collectors(tmp_path: Path) -> None:
    """A file of version 0.1 keeps its thresholds, and a misspelt one is named where it stands."""
    alerts = _with_derived(tmp_path, "collectors: {derived: {alerts: {rtt_ms: 800, hold: 3s}}}\n")
    assert (800.0, 3.0) == (alerts.rtt_ms, alerts.clear_hold_s)
    with pytest.raises(ConfigError, match=r"collectors.derived.alerts.rtt_ms: given as alerts.rtt_ms too"):
        _with_derived(tmp_path, "collectors: {derived: {alerts: {rtt_ms: 800}}}\nalerts: {rtt_ms: 900}\n")
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


def paths(value: Any, path: str = "") -> Iterator[str]:
    """Yield the path of every key of a document, those of lists' entries included."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield f"{path}.{name}" if path else name
            yield from paths(inner, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from paths(inner, f"{path}[{index}]")


def misspelt(tree: Any, *wrong: str) -> dict[str, Any]:
    """Return a document with some keys misspelt."""
    copy = deepcopy(tree)
    for path in wrong:
        at: Any = copy
        *outer, last = steps(path)
        for step in outer:
            at = at[int(step)] if isinstance(at, list) else at[step]
        at[f"{last}x"] = at.pop(last)
    return copy  # type: ignore[no-any-return] # it is a mapping


def steps(path: str) -> list[str]:
    """Return the keys and numbers on the way to a key."""
    return re.findall(r"[^.\[\]]+", path)


DOCUMENTS = {
    name: yaml.safe_load((FIXTURES / name).read_text(encoding="utf-8")) for name in ("prd.yaml", "milestone-2.yaml")
}


@pytest.mark.parametrize("tree", DOCUMENTS.values(), ids=DOCUMENTS)
def test_every_key_of_the_documents_is_known_and_its_misspelt_form_is_not(tmp_path: Path, tree: Any) -> None:
    """Each key is taken, translated with a line, or refused; one letter more and it is refused by its path.

    Those in which nothing else stands all at once, the others one by one: a misspelt section hides what is in it.
    """
    known = list(paths(tree))
    inner = [path for path in known if not any(other.startswith((f"{path}.", f"{path}[")) for other in known)]
    alone = [path for path in known if path not in inner or path.endswith(".name")]
    for wrong in ([path for path in inner if path not in alone], *([path] for path in alone)):
        found = errors(tmp_path, yaml.safe_dump(misspelt(tree, *wrong)))
        for path in wrong:
            said = (f"{steps(path)[-1]}x", "expected an entry with a name")
            assert any(text in message for text in said for message in found), path


def nested(path: str, value: str) -> str:
    """Return a file with one key."""
    *sections, name = path.split(".")
    return "".join(f"{section}: {{" for section in sections) + f"{name}: {value}" + "}" * len(sections) + "\n"


def merge(tree: dict[str, Any], other: dict[str, Any]) -> None:
    """Put the keys of one document into another."""
    for name, value in other.items():
        if isinstance(value, dict) and isinstance(tree.get(name), dict):
            merge(tree[name], value)
        else:
            tree[name] = value


@pytest.mark.parametrize("text", ["collection: 5\n", "remote: 5\n", "collection: {collectors: 5}\n", "buffer: 5\n"])
def test_odd_shapes_of_documented_sections_do_not_raise(tmp_path: Path, text: str) -> None:
    """Whatever stands where a document has a section, the answer is an error or a warning."""
    try:
        assert load(tmp_path, text).warnings
    except ConfigError as error:
        assert error.messages  # noqa: PT017 - both outcomes are right, another exception is not
