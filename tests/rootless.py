"""Run a test that needs root's rights without them: `@pytest.mark.root` on the test, or as `pytestmark` of its module.

Who has them not runs it in namespaces of his own, where he may look at packets, mount, and make interfaces; in a pytest
of its own, because a process that has threads cannot move there. Where namespaces are forbidden too, as in a container,
the test is skipped, and says so.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple

import pytest

from tests.scratch import scratch

ALONE = ("unshare", "--user", "--map-root-user", "--net", "--mount", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")
NEEDED = 1 << 12 | 1 << 13 | 1 << 21  # CAP_NET_ADMIN, CAP_NET_RAW, CAP_SYS_ADMIN
MOST_S = 600


class _Result(NamedTuple):
    """What became of a test, and why it failed or was skipped."""

    outcome: Literal["passed", "failed", "skipped"]
    text: str = ""


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> bool | None:
    """Run a marked test there; a hook of pytest."""
    if item.get_closest_marker("root") is None or _has_rights():
        return None
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    began_s = time.time()
    result = (
        _run(item)
        if _is_allowed()
        else _Result("skipped", "NEITHER ROOT'S RIGHTS NOR NAMESPACES HERE: this test did not run")
    )
    item.ihook.pytest_runtest_logreport(report=_report(item, "setup", _Result("passed"), began_s, began_s))
    item.ihook.pytest_runtest_logreport(report=_report(item, "call", result, began_s, time.time()))
    item.ihook.pytest_runtest_logreport(report=_report(item, "teardown", _Result("passed"), began_s, began_s))
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def _run(item: pytest.Item) -> _Result:
    with scratch() as folder:
        options = ["-q", "-rs", "-p", "no:cacheprovider", "--basetemp", str(folder / "t"), item.nodeid]
        done = subprocess.run(
            [*ALONE, sys.executable, "-m", "pytest", *options],
            cwd=item.config.rootpath, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
            timeout=MOST_S,
        )  # fmt: skip
    *_, before, last = ["", *done.stdout.strip().splitlines()]
    if done.returncode:
        return _Result("failed", done.stdout)
    return _Result("passed") if "1 passed" in last else _Result("skipped", before.partition(": ")[2])


def _report(
    item: pytest.Item, when: Literal["setup", "call", "teardown"], result: _Result, began_s: float, end_s: float
) -> pytest.TestReport:
    where = (str(item.path), item.location[1] or 0, result.text)
    longrepr = where if result.outcome == "skipped" else result.text or None
    return pytest.TestReport(
        item.nodeid, item.location, {}, result.outcome, longrepr, when,
        duration=end_s - began_s, start=began_s, stop=end_s,
    )  # fmt: skip


@cache
def _has_rights() -> bool:
    effective = re.findall(r"^CapEff:\s*(\w+)$", Path("/proc/self/status").read_text(encoding="ascii"), re.MULTILINE)
    return int(effective[0], 16) & NEEDED == NEEDED


@cache
def _is_allowed() -> bool:
    return not subprocess.run([*ALONE, "true"], check=False, capture_output=True).returncode
