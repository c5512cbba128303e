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


def test_a_name_server_that_hangs_delays_and_loses_nothing(run_dir: Path) -> None:
    """In namespaces of its own, where port 53 of loopback is ours."""
    if subprocess.run([*ALONE, "true"], capture_output=True, check=False).returncode:
        pytest.skip("NAMESPACES ARE NOT ALLOWED HERE: a hanging name server was not tried")
    done = subprocess.run(
        [*ALONE, sys.executable, "-m", "tests.integration.lookup_child", str(run_dir)],
        cwd=ROOT, capture_output=True, text=True, timeout=500, check=False,
    )  # fmt: skip
    print(done.stdout)
    assert 0 == done.returncode, done.stderr
