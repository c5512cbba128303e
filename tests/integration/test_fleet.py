"""`python3 -m deploy.fleet` as the pages have it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests import own_documents
from tests.harness import ROOT
from tests.unit.deploy.test_fleet import users


def test_the_documented_commands_work_as_they_are_written(tmp_path: Path) -> None:
    """In their order, in a clone."""
    for name in ("docker", "fleet"):
        kept = shutil.ignore_patterns("auth", "devices", "__pycache__")
        shutil.copytree(ROOT / "deploy" / name, tmp_path / "deploy" / name, ignore=kept)
    (tmp_path / "boxes.txt").write_text("box-1 # the first\nbox-2\n", encoding="ascii")
    typed = [command.text for command in own_documents.commands() if command.test == "tests/integration/test_fleet.py"]
    assert len(typed) > 6
    for command in typed:
        done = subprocess.run(["/bin/sh", "-ec", command], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (0, True) == (done.returncode, bool(done.stdout)), (command, done.stderr)
    assert {"box-1", "box-2", "belabox-003", "belabox-004"} == users(tmp_path / "deploy/docker/auth").keys()
