"""The unit tests, dealt out to several processes."""

from __future__ import annotations

from pathlib import Path

from tests.harness import ROOT
from tests.shares import share


def test_every_file_is_in_one_share() -> None:
    """None is left out, and none runs twice."""
    folders = [str(ROOT / "tests/unit"), str(ROOT / "tests/fuzz")]
    shares = [share(folders, number, 3) for number in (1, 2, 3)]
    assert sum(map(len, shares)) == len(set.union(*shares))
    assert {file for folder in folders for file in Path(folder).rglob("test_*.py")} == set.union(*shares)
