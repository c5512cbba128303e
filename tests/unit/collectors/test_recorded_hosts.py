"""What every collector makes of every recorded host."""

from __future__ import annotations

from pathlib import Path

import pytest

from collectors import registry
from common.sample import is_deliverable
from tests.unit.collectors import recorded

COLLECTORS = sorted({collector for collector, _ in recorded.every()})


def cases(collector: str) -> list[Path]:
    """Return the recorded hosts that have something for a collector."""
    return [case for name, case in recorded.every() if name == collector]


@pytest.mark.parametrize("collector", COLLECTORS)
def test_expected(collector: str) -> None:
    """Each recorded host gives the samples and faults under review (`make fixtures` rewrites them)."""
    module = registry.load(collector)
    for case in cases(collector):
        assert recorded.expected(collector, case) == recorded.render(module, case), recorded.name(case)


@pytest.mark.parametrize("collector", COLLECTORS)
def test_deliverable(collector: str) -> None:
    """Every sample of a recorded host can be stored and uploaded, and no series is given twice in a collect."""
    for case in cases(collector):
        for step in recorded.replay(registry.load(collector), case):
            series = [(sample.name, *sorted(sample.tags.items())) for sample in step.samples]
            assert [] == [sample for sample in step.samples if not is_deliverable(sample)], recorded.name(case)
            assert sorted(set(series)) == sorted(series), recorded.name(case)


def test_no_stray_expectations() -> None:
    """Every expectation belongs to a collector that exists."""
    files = {file.stem for case in recorded.cases() for file in (case / "expected").glob("*")}
    assert set() == files - set(registry.names())
