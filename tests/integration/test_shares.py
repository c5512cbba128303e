"""The unit tests, run by several processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

from tests.harness import ROOT
from tests.shares import claimed
from tests.summary import cases


def test_what_one_has_claimed_no_other_takes(tmp_path: Path) -> None:
    """Whoever is free takes the next one; none is left out, and none runs twice."""
    first, second = claimed("abcde", tmp_path), claimed("abcde", tmp_path)
    assert ["a", "b", "c"] == [next(first), next(second), next(second)]
    assert (["d", "e"], []) == (list(first), list(second))


def test_every_outcome_is_reported(tmp_path: Path) -> None:
    """One file uses its folder's fixture, one fails, one cannot be imported: results and exit code say so."""
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, text in {
        "conftest.py": "import pytest\n@pytest.fixture\ndef one(): return 1\n",
        "test_a.py": "def test_fixture(one): assert one == 1\ndef test_two(): pass\n",
        "test_b.py": "def test_failure(): assert 0\n",
        "test_c.py": "import nothing_of_this_name\n",
    }.items():
        (folder / name).write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "tests.shares", "1", str(folder), "-q", "-c", os.devnull]
    command += ["--rootdir", str(tmp_path), "-p", "no:hypothesispytest"]
    command += ["--junitxml", str(tmp_path / "unit-{share}.xml")]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=120)
    assert 1 == done.returncode, done.stdout + done.stderr
    assert {"passed": 2, "failed": 2} == Counter(case.outcome for case in cases(tmp_path / "unit-1.xml"))
