"""Every file and folder that a document names is in the tree."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.harness import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("common/*.md"), *ROOT.glob("deploy/**/*.md")])
NAMED = re.compile(r"`((?:tests|deploy|docs|common|collectors|buffer|shipper|healthd)/[\w./-]+)`")
# What a document of the owner has and this tree has not, and what a run makes.
ELSEWHERE = {"buffer/pending-001.json.gz", "deploy/docker/auth/auth.yml", "deploy/docker/packages/"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_path_is_there(page: Path) -> None:
    """Whoever moves a file moves its name in the documents."""
    named = {name for line in _outside_changelog(page) for name in NAMED.findall(line)}
    assert [] == sorted(name for name in named - ELSEWHERE if not (ROOT / name).exists())


def _outside_changelog(page: Path) -> list[str]:
    """Return the lines of a page that speak of the tree as it is."""
    return [] if page.name == "CHANGELOG.md" else page.read_text(encoding="utf-8").splitlines()
