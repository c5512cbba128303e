"""`make release`: packages, sources, notes and sums of one commit, the same each time; with a tag."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.harness import ROOT

CHANGES = """# Changelog

## [Unreleased]

## [1.2.0] - 2026-01-02

### Added

- A thing.

## [1.1.0] - 2026-01-01

- An older thing.
"""
BUILD = '#!/bin/sh\necho "$1 of $SOURCE_DATE_EPOCH" > "$2/belabox-metrics_1.2.0_$1.deb"\n'


class Tree:
    """A repository whose packages are no more than their machine and date."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "deploy/deb").mkdir(parents=True)
        (folder / "common").mkdir()
        shutil.copy(ROOT / "deploy/release.sh", folder / "deploy/release.sh")
        for name, text in {
            "common/__init__.py": 'VERSION = "1.2.0"\n', "CHANGELOG.md": CHANGES, ".gitignore": "/dist/\n",
            "deploy/deb/build.sh": BUILD,
        }.items():  # fmt: skip
            (folder / name).write_text(text, encoding="utf-8")
        (folder / "deploy/deb/build.sh").chmod(0o755)
        self.git("init", "-q")
        self.commit()

    def git(self, *arguments: str) -> str:
        """Run git; return what it says."""
        who = [value for name in ("AUTHOR", "COMMITTER") for value in (f"GIT_{name}_NAME=a", f"GIT_{name}_EMAIL=a@b")]
        done = subprocess.run(
            ["env", *who, "git", *arguments], cwd=self.folder, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    def commit(self) -> None:
        """Commit all there is."""
        self.git("add", "-A")
        self.git("commit", "-q", "-m", "x")

    def release(self) -> subprocess.CompletedProcess[str]:
        """Make the release."""
        who = {"GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b"}
        return subprocess.run(
            ["deploy/release.sh"], cwd=self.folder, env={**os.environ, **who}, capture_output=True, text=True,
            check=False, timeout=60,
        )  # fmt: skip


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """A tree to release."""
    return Tree(tmp_path)


def test_the_same_commit_gives_the_same_release(tree: Tree) -> None:
    """Both packages, the sources, the version's own notes, and sums that fit; the tag is on the commit."""
    made = tree.folder / "dist/1.2.0"
    assert (0, "") == ((done := tree.release()).returncode, done.stderr)
    sums = (made / "SHA256SUMS").read_text(encoding="ascii")
    assert 4 == sums.count("\n")
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=made, check=True)
    assert "### Added\n\n- A thing." == (made / "NOTES.md").read_text(encoding="utf-8").strip()
    assert tree.git("rev-parse", "HEAD") == tree.git("rev-parse", "v1.2.0^{commit}")
    shutil.rmtree(made)
    assert 0 == tree.release().returncode
    assert sums == (made / "SHA256SUMS").read_text(encoding="ascii")


@pytest.mark.parametrize(
    ("file", "text", "committed", "said"),
    [
        ("common/x", "x", False, "not committed"),
        ("CHANGELOG.md", "# Changelog\n", True, "no section '## [1.2.0] - <date>'"),
    ],
)
def test_what_cannot_be_made_again_is_refused(tree: Tree, file: str, text: str, committed: bool, said: str) -> None:
    """With why; there is no tag then."""
    (tree.folder / file).write_text(text, encoding="utf-8")
    if committed:
        tree.commit()
    done = tree.release()
    assert (65, True, "") == (done.returncode, said in done.stderr, tree.git("tag"))


def test_a_version_is_released_once(tree: Tree) -> None:
    """Another commit needs another version."""
    tree.release()
    (tree.folder / "common/x").write_text("x", encoding="utf-8")
    tree.commit()
    done = tree.release()
    assert (65, True) == (done.returncode, "the tag v1.2.0 is on another commit" in done.stderr)
