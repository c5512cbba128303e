"""What `.ci/run` prints at its end."""

from __future__ import annotations

import json
from pathlib import Path

from tests import summary

JUNIT = """<testsuites><testsuite>
<testcase classname="tests.unit.buffer.test_drain" name="test_one" time="0.5"/>
<testcase classname="tests.unit.test_docs" name="test_two[a]" time="1.5"><skipped message="root reads all"/></testcase>
<testcase classname="tests.chaos.test_storm" name="test_three" time="9"><failure message="lost"/></testcase>
</testsuite></testsuites>"""

SHARE = '<testsuite><testcase classname="tests.unit.common.test_wire" name="test_four" time="0.1"/></testsuite>'


def test_everything_is_in_one_screen(tmp_path: Path) -> None:
    """Tests by kind, what failed, the slowest, what was skipped and why, coverage, and figures beside their budgets."""
    (tmp_path / "test.xml").write_text(JUNIT, encoding="utf-8")
    (tmp_path / "test-1.xml").write_text(SHARE, encoding="utf-8")
    covered = {"buffer/a.py": (3, 4), "buffer/storage/b.py": (6, 6), "common/c.py": (1, 2)}
    files = {
        path: {"summary": {"covered_lines": lines, "num_statements": total}} for path, (lines, total) in covered.items()
    }
    (tmp_path / "coverage.json").write_text(json.dumps({"files": files}), encoding="utf-8")
    rows = [{"what": name, "value": 62.0, "unit": "MiB", "budget": budget} for name, budget in (("a", "90"), ("b", ""))]
    (tmp_path / "bench.json").write_text(json.dumps({"figures": rows}), encoding="utf-8")
    assert [
        "make test: 4 tests",
        "  chaos         1 failed; 9 s in sum",
        "  unit          2 passed, 1 skipped; 2 s in sum",
        "  FAILED chaos/test_storm::test_three",
        "  slowest:",
        "       9.0 s  chaos/test_storm::test_three",
        "       1.5 s  unit/test_docs::test_two[a]",
        "       0.5 s  unit/test_drain::test_one",
        "       0.1 s  unit/test_wire::test_four",
        "  skipped 1: root reads all",
        "lines that unit tests run, by package:",
        "  common        50 % of 2",
        "  buffer        90 % of 10",
        "what it costs on this machine, and the budget:",
        f"  {'a':<50}       62.00 {'MiB':<14}90",
    ] == list(summary.lines(tmp_path))


def test_a_run_that_ended_early_has_a_summary_too(tmp_path: Path) -> None:
    """What was not measured is absent."""
    assert [] == list(summary.lines(tmp_path))
