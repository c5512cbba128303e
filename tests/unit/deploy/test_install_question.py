"""The last question of install.sh: asked of a person at a terminal alone, and no is the default."""

from __future__ import annotations

import os
import pty
import re
import subprocess
from pathlib import Path

import pytest

from tests.harness import ROOT

PART = re.compile(r"^(?:say|ask_to_share)\(\) \{.*?\}$", re.DOTALL | re.MULTILINE)
ASKED, LATER = "Open the page to this network", "Later: sudo belabox-metrics page --share"


@pytest.fixture
def script(tmp_path: Path) -> str:
    """The question, with a command that says how it was called."""
    command = tmp_path / "command"
    command.write_text('#!/bin/sh\necho "called: $*"\n', encoding="ascii")
    command.chmod(0o755)
    parts = PART.findall((ROOT / "deploy/install.sh").read_text(encoding="utf-8"))
    return "\n".join(["set -eu", f"COMMAND={command}", *parts, "ask_to_share"])


@pytest.mark.parametrize(("typed", "shares"), [("y\n", True), ("\n", False), ("no\n", False), ("\x04", False)])
def test_a_person_is_asked(script: str, typed: str, shares: bool) -> None:
    """A yes opens the page when all runs; anything else, the end of input too, says how to do it later."""
    ours, theirs = pty.openpty()
    os.write(ours, typed.encode())
    done = subprocess.run(["sh", "-c", script], stdin=theirs, stdout=theirs, stderr=theirs, timeout=30, check=False)
    os.close(theirs)
    said = os.read(ours, 4096).decode()
    os.close(ours)
    assert 0 == done.returncode
    assert (True, shares, not shares) == (ASKED in said, "called: wait\r\ncalled: page --share" in said, LATER in said)


def test_a_script_is_not_asked(script: str) -> None:
    """Without a terminal nothing is said and nothing is changed."""
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, timeout=30, check=False)
    assert (0, "", "") == (done.returncode, done.stdout, done.stderr)
