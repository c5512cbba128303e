"""A receiver's name that nobody resolves holds its collector for a second, not for half a minute."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness import ROOT
from tests.integration.test_name_lookup import ALONE


def test_a_name_server_that_hangs_is_asked_once(tmp_path: Path) -> None:
    """For an IPv4 and an IPv6 address, without a second attempt; the resolver of the C library takes no deadline."""
    if subprocess.run([*ALONE, "true"], capture_output=True, check=False).returncode:
        pytest.skip("NAMESPACES ARE NOT ALLOWED HERE: a hanging name server was not tried")
    done = subprocess.run(
        [*ALONE, sys.executable, "-m", "tests.integration.web_lookup_child", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    print(done.stdout, done.stderr)
    assert ["2"] == done.stdout.split()[:1]
