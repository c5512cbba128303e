"""Tests in a process forked from this one, with what is imported already: a trial.

A trial that takes far more processor time than the tests did without a change, or far longer, counts as failed: the
change made something endless.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
# What most tests import, so that a fork has it; what is not installed is not needed.
PACKAGES = (
    "apsw",
    "hypothesis",
    "msgpack",
    "prometheus_client",
    "requests",
    "yaml",
    "zmq",
    "jeepney",
    "_pytest.runner",
)
CPU_SHARE, CPU_MORE_S = 4, 5  # of what the tests took; processor time, whatever else runs on the machine
WALL_SHARE, WALL_MORE_S = 10, 20.0
SURVIVED = 0
TIMED_OUT = -1


def warm() -> None:
    """Import once what every trial needs."""
    for name in PACKAGES:
        import_module(name)
    from hypothesis import Phase, settings  # noqa: PLC0415

    settings.register_profile(
        "mutants", phases=[Phase.explicit, Phase.generate], database=None, derandomize=True, max_examples=50
    )


def copy_tree(folder: Path) -> Path:
    """Copy what git knows of this tree, as it is now."""
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


class Trial(NamedTuple):
    """A process that runs tests, and when it has taken too long."""

    pid: int
    deadline_s: float


def start(run: Callable[[], int], log: Path, usual_s: float) -> Trial:
    """Fork a process that runs tests.

    Args:
        run: runs them until one fails; returns the exit status.
        log: takes what they print.
        usual_s: how long they take without a change.
    """
    pid = os.fork()
    if pid == 0:
        _in_child(run, log, usual_s)
    return Trial(pid, time.monotonic() + WALL_SHARE * usual_s + WALL_MORE_S)


def result(trial: Trial) -> int | None:
    """Return a trial's exit status, `TIMED_OUT` if it had to be ended, None while it runs."""
    pid, status = os.waitpid(trial.pid, os.WNOHANG)
    if pid:
        _end_group(trial.pid)  # what a test started and did not end
        return os.waitstatus_to_exitcode(status)
    if time.monotonic() > trial.deadline_s:
        end(trial)
        return TIMED_OUT
    return None


def wait(trial: Trial) -> int:
    """Return a trial's exit status once there is one; end it where this process is asked to end."""
    try:
        while (status := result(trial)) is None:
            time.sleep(0.01)
    except KeyboardInterrupt:
        end(trial)
        raise
    return status


def end(trial: Trial) -> None:
    """End a trial."""
    _end_group(trial.pid)
    os.waitpid(trial.pid, 0)


def _end_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass  # nothing is left of it


def _in_child(run: Callable[[], int], log: Path, usual_s: float) -> None:
    """Run in the forked process and end it, whatever happens."""
    status = 70
    try:
        os.setsid()
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(output, 1)
        os.dup2(output, 2)
        limit_s = int(CPU_SHARE * usual_s) + CPU_MORE_S
        resource.setrlimit(resource.RLIMIT_CPU, (limit_s, limit_s))
        status = run()
    except Exception:  # noqa: BLE001 - a process that is to end must not become a second parent
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def tests(tree: Path, files: Sequence[str], plugin: object) -> int:
    """Run test files of a copy with a plugin of pytest; return its exit status."""
    os.chdir(tree)
    own = ("tests", "common", "collectors", "buffer", "shipper", "healthd", "deploy")
    for name in [name for name in sys.modules if name.partition(".")[0] in own]:
        del sys.modules[name]
    sys.path[:] = [str(tree), *(path for path in sys.path if path not in {"", str(ROOT)})]
    sys.dont_write_bytecode = False  # in the copy: the next trial is quicker
    options = ["-x", "-q", "-p", "no:xdist", "-p", "no:cacheprovider", "--hypothesis-profile=mutants"]
    options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # hypothesis is imported already, unrewritten
    return int(pytest.main([*options, "--rootdir", str(tree), *files], plugins=[plugin]))
