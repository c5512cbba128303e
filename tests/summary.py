"""What a run of everything found, in one screen: tests by kind, the slowest, what was skipped, coverage, the budgets.

Reads a folder: pytest's JUnit files (`*.xml`), `coverage.json` and `bench.json`, as far as they are there.
"""

from __future__ import annotations

import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree as ET

SLOWEST = 10
PACKAGES = ("common", "collectors", "buffer", "shipper", "healthd")


class Case(NamedTuple):
    """One test that ran.

    Attributes:
        kind: folder below tests/.
        name: file and test.
        seconds: with its fixtures.
        outcome: passed, failed or skipped.
        why: it was skipped.
    """

    kind: str
    name: str
    seconds: float
    outcome: str
    why: str = ""


def cases(file: Path) -> Iterator[Case]:
    """Yield the tests of a JUnit file."""
    for node in ET.parse(file).iter("testcase"):
        path = node.get("classname", "").removeprefix("tests.")
        skipped = node.find("skipped")
        failed = node.find("failure") is not None or node.find("error") is not None
        outcome = "failed" if failed else "passed" if skipped is None else "skipped"
        why = "" if skipped is None else skipped.get("message", "")
        name = f"{path.rpartition('.')[2]}::{node.get('name')}"
        yield Case(path.partition(".")[0], name, float(node.get("time", 0)), outcome, why)


def lines(folder: Path) -> Iterator[str]:
    """Yield the summary's lines."""
    runs: dict[str, list[Case]] = defaultdict(list)
    for file in sorted(folder.glob("*.xml")):
        runs[file.stem.partition("-")[0]] += cases(file)  # unit-1.xml is a share of the unit tests
    for run, found in runs.items():
        yield f"make {run}: {len(found)} tests"
        yield from _kinds(found)
        yield from _slowest(found)
        yield from _skipped(found)
    if (folder / "coverage.json").exists():
        yield from _coverage(folder / "coverage.json")
    if (folder / "bench.json").exists():
        yield from _budgets(folder / "bench.json")


def _kinds(found: list[Case]) -> Iterator[str]:
    kinds: dict[str, list[Case]] = defaultdict(list)
    for case in found:
        kinds[case.kind].append(case)
    for kind, those in sorted(kinds.items()):
        outcomes = Counter(case.outcome for case in those)
        counts = ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items()))
        yield f"  {kind:<14}{counts}; {sum(case.seconds for case in those):.0f} s in sum"
    yield from (f"  FAILED {case.kind}/{case.name}" for case in found if case.outcome == "failed")


def _slowest(found: list[Case]) -> Iterator[str]:
    slowest = sorted(found, key=lambda case: -case.seconds)[:SLOWEST]
    if slowest:
        yield "  slowest:"
    yield from (f"    {case.seconds:6.1f} s  {case.kind}/{case.name}" for case in slowest)


def _skipped(found: list[Case]) -> Iterator[str]:
    reasons = Counter(case.why for case in found if case.outcome == "skipped")
    yield from (f"  skipped {count}: {why}" for why, count in reasons.most_common())


def _coverage(file: Path) -> Iterator[str]:
    files = json.loads(file.read_text(encoding="utf-8"))["files"]
    yield "lines that unit tests run, by package:"
    for package in PACKAGES:
        of_package = [entry["summary"] for path, entry in files.items() if Path(path).parts[0] == package]
        total = sum(entry["num_statements"] for entry in of_package)
        if total:
            covered = sum(entry["covered_lines"] for entry in of_package)
            yield f"  {package:<14}{100 * covered / total:.0f} % of {total:,}"


def _budgets(file: Path) -> Iterator[str]:
    yield "what it costs on this machine, and the budget:"
    for row in json.loads(file.read_text(encoding="utf-8"))["figures"]:
        if row["budget"]:
            value = row["value"]
            yield f"  {row['what']:<50}{value:>12,.{0 if abs(value) >= 100 else 2}f} {row['unit']:<14}{row['budget']}"


if __name__ == "__main__":
    print("\n".join(lines(Path(sys.argv[1]))))
