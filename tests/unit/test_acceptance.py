"""docs/acceptance.md, the answer sheet: it answers everything, and every name in its answers is one of the tree."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from collectors import registry
from common import catalog
from common.settings import Settings
from docs import generate
from tests.harness import ROOT

# How many the documents have: PRD's success criteria, MILESTONE-2's, and its boxes by list.
EXPECTED = {
    "Product requirements: success criteria": 18,
    "Milestone 2: success criteria": 20,
    "Milestone 2: the checklists": 128,
}
FILE = re.compile(r"(?:tests|deploy|docs|common|collectors|buffer|shipper|healthd)/[\w./-]*")


def answers() -> Iterator[tuple[str, list[str]]]:
    """Yield the section and the cells of each row."""
    section = ""
    for line in (ROOT / "docs/acceptance.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            section = line.removeprefix("## ")
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]
        if line.startswith("|") and not line.startswith("|---") and cells[-1] not in {"where", "here"}:
            yield section, cells


def keys() -> set[str]:
    """Return the path of every configuration key."""
    sections = [*generate._nested("", Settings)]
    sections += [(f"collectors.{name}", registry.load(name).Config) for name in registry.names()]
    nested = [pair for path, section in sections for pair in generate._nested(path, section)]
    return {f"{path}.{name}" for path, section in nested for name, _ in generate._keys(section)}


def test_every_criterion_and_box_has_its_answer() -> None:
    """None is missing, none is empty."""
    counted = Counter(section for section, _ in answers())
    assert EXPECTED.items() <= counted.items()
    assert [] == [cells for _, cells in answers() if not all(cells)]


def test_every_file_in_an_answer_is_there() -> None:
    """A test that was renamed is renamed here too."""
    named = {
        name for _, cells in answers() for code in re.findall(r"`([^`]+)`", cells[-1]) for name in FILE.findall(code)
    }
    assert len(named) > 40
    assert [] == sorted(name for name in named if not (ROOT / name).exists())


def test_every_key_and_metric_in_an_answer_is_one() -> None:
    """A dotted name is a configuration key, a metric, or a file's."""
    dotted = {
        code for _, cells in answers() for code in re.findall(r"`([a-z_0-9]+(?:\.[a-z_0-9]+)+)(?::[^`]*)?`", cells[-1])
    }
    known = keys() | catalog.METRICS.keys() | {"monitoring.skew_url", "metrics.db", "remote.type"}
    assert len(dotted) > 30
    assert [] == sorted(dotted - known)
