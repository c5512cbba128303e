"""What every collector makes of every recorded host."""

from __future__ import annotations

from pathlib import Path

import pytest

from collectors import registry
from common.sample import is_deliverable
from tests.unit.collectors import recorded

EVERY = pytest.mark.parametrize(
    ("collector", "case"),
    recorded.every(),
    ids=[f"{collector}-{recorded.name(case)}" for collector, case in recorded.every()],
)


@EVERY
def test_expected(collector: str, case: Path) -> None:
    """A recorded host gives the samples and faults under review (`make fixtures` rewrites them)."""
    assert recorded.expected(collector, case) == recorded.render(registry.load(collector), case)


@EVERY
def test_deliverable(collector: str, case: Path) -> None:
    """Every sample of a recorded host can be stored and uploaded, and no series is given twice in a collect."""
    for step in recorded.replay(registry.load(collector), case):
        series = [(sample.name, *sorted(sample.tags.items())) for sample in step.samples]
        assert [] == [sample for sample in step.samples if not is_deliverable(sample)]
        assert sorted(set(series)) == sorted(series)


def test_no_stray_expectations() -> None:
    """Every expectation belongs to a collector that exists."""
    files = {file.stem for case in recorded.cases() for file in (case / "expected").glob("*")}
    assert set() == files - set(registry.names())
