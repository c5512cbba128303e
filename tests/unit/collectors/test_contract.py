"""What every module of `collectors` owes to the others; a new collector is held to it by being there."""

from __future__ import annotations

import ast
import dataclasses
import inspect
from pathlib import Path

import pytest

from collectors import registry
from common import catalog
from tests.unit.collectors import recorded


@dataclasses.dataclass
class Nothing:
    """A section without keys."""


COLLECTOR = pytest.mark.parametrize("name", registry.names())

FORBIDDEN_CALLS = frozenset({"fork", "forkpty", "popen", "posix_spawn", "posix_spawnp", "sleep", "startfile", "system"})
READERS = sorted(file for file in registry.FOLDER.rglob("*.py") if file.name not in {"__main__.py", "printing.py"})


@COLLECTOR
def test_parts(name: str) -> None:
    """A collector has a frozen Config with enabled and interval, a State, and a collect(host, config, state)."""
    module = registry.load(name)
    assert module.Config.__dataclass_params__.frozen
    assert {"enabled", "interval_s"} <= {field.name for field in dataclasses.fields(module.Config)}
    assert inspect.isclass(module.State)
    assert ["host", "config", "state"] == [part.lstrip("_") for part in inspect.signature(module.collect).parameters]


@COLLECTOR
def test_docstring(name: str) -> None:
    """A collector opens by saying what it reads, by whose word, what it emits and how it fails."""
    lines = (registry.load(name).__doc__ or "").splitlines()
    assert ["Reads", "Source", "Emits", "Errors"] == [
        line.partition(":")[0] for line in lines if line.startswith(("Reads:", "Source:", "Emits:", "Errors:"))
    ]


@COLLECTOR
def test_config_is_explained(name: str) -> None:
    """Every key of a collector's section, and of the sections in it, says what it does."""
    fields = list(dataclasses.fields(registry.load(name).Config))
    fields += [inner for field in fields for inner in dataclasses.fields(field.metadata.get("section", Nothing))]
    for field in fields:
        is_elsewhere = field.metadata.keys() & {"section", "shared"}
        assert is_elsewhere or field.metadata["key"].help.strip()


@COLLECTOR
def test_recorded(name: str) -> None:
    """Some recorded host has something for a collector to find."""
    assert any(recorded.expected(name, case) for case in recorded.cases())


@COLLECTOR
def test_catalogue(name: str) -> None:
    """Every metric a recorded host gives is in the catalogue, with exactly those labels."""
    module = registry.load(name)
    samples = [sample for case in recorded.cases() for step in recorded.replay(module, case) for sample in step.samples]
    emitted = {(sample.name, tuple(sorted(sample.tags))) for sample in samples}
    known = {(metric.name, tuple(sorted(metric.labels))) for metric in catalog.METRICS.values()}
    assert set() == emitted - known


@COLLECTOR
def test_whole_numbers(name: str) -> None:
    """Counters that the kernel counts in whole numbers stay whole; seconds may have a fraction."""
    for case in recorded.cases():
        for step in recorded.replay(registry.load(name), case):
            for sample in step.samples:
                metric = catalog.METRICS[sample.name]
                assert metric.kind != catalog.COUNTER or metric.unit == "seconds" or isinstance(sample.value, int)


@pytest.mark.parametrize("file", READERS, ids=lambda file: file.stem)
def test_calls(file: Path) -> None:
    """A collect never sleeps and never starts anything."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    called = {
        node.func.attr for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    }
    assert set() == called & FORBIDDEN_CALLS
