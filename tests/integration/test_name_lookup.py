"""A name server that does not answer: nothing hangs for good, nothing is ended for it, nothing is lost."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness import ROOT

ROOTLESS = ("--user", "--map-root-user") if os.geteuid() else ()  # root may without, and where those are forbidden too
ALONE = ("unshare", *ROOTLESS, "--net", "--mount")


def run_alone(module: str, folder: Path, timeout_s: float) -> subprocess.CompletedProcess[str]:
    """Run a module in namespaces of its own, where port 53 of loopback is ours."""
    if subprocess.run([*ALONE, "true"], capture_output=True, check=False).returncode:
        pytest.skip("NAMESPACES ARE NOT ALLOWED HERE: a hanging name server was not tried")
    done = subprocess.run(
        [*ALONE, sys.executable, "-m", module, str(folder)],
        cwd=ROOT, capture_output=True, text=True, timeout=timeout_s, check=False,
    )  # fmt: skip
    print(done.stdout, done.stderr)
    return done


def test_a_name_server_that_hangs_delays_and_loses_nothing(run_dir: Path) -> None:
    """Uploads wait, no process is ended for it, and everything arrives once."""
    done = run_alone("tests.integration.lookup_child", run_dir, 500)
    assert 0 == done.returncode, done.stderr
