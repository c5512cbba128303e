"""Run a test that needs root's rights without them: `@pytest.mark.root` on the test, or as `pytestmark` of its module.

Who has them not runs it in namespaces of his own, where he may look at packets, mount, and make interfaces; in a pytest
of its own, because a process that has threads cannot move there. Where namespaces are forbidden too, as in a container,
the test is skipped, and says so.
"""

from __future__ import annotations

import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.scratch import scratch

ALONE = ("unshare", "--user", "--map-root-user", "--net", "--mount", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")
NEEDED = 1 << 12 | 1 << 13 | 1 << 21  # CAP_NET_ADMIN, CAP_NET_RAW, CAP_SYS_ADMIN
MOST_S = 600


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a marked test there; a hook of pytest."""
    if pyfuncitem.get_closest_marker("root") is None or _has_rights():
        return None
    if not _is_allowed():
        pytest.skip("NEITHER ROOT NOR NAMESPACES: this test did not run")
    with scratch() as folder:
        options = ["-q", "-rs", "-p", "no:cacheprovider", "--basetemp", str(folder / "t"), pyfuncitem.nodeid]
        done = subprocess.run(
            [*ALONE, sys.executable, "-m", "pytest", *options],
            cwd=pyfuncitem.config.rootpath, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
            timeout=MOST_S,
        )  # fmt: skip
    if done.returncode:
        pytest.fail(done.stdout, pytrace=False)
    if "1 passed" not in done.stdout:
        pytest.skip(done.stdout.strip().splitlines()[-2].partition(": ")[2])
    return True


@cache
def _has_rights() -> bool:
    effective = re.findall(r"^CapEff:\s*(\w+)$", Path("/proc/self/status").read_text(encoding="ascii"), re.MULTILINE)
    return int(effective[0], 16) & NEEDED == NEEDED


@cache
def _is_allowed() -> bool:
    return not subprocess.run([*ALONE, "true"], check=False, capture_output=True).returncode
