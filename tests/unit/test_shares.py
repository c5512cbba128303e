"""The unit tests, dealt out to several processes."""

from __future__ import annotations

from tests.harness import ROOT
from tests.shares import share


def test_every_file_is_in_one_share() -> None:
    """None is left out, and none runs twice."""
    shares = [share(ROOT / "tests/unit", number, 3) for number in (1, 2, 3)]
    assert sum(map(len, shares)) == len(set.union(*shares))
    assert set((ROOT / "tests/unit").rglob("test_*.py")) == set.union(*shares)
