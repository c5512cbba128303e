"""Fixtures for tests with real processes: a private run directory, and settings that shorten every wait."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from collectors import registry
from tests.chaos.server import RealServer
from tests.fake_vm import FakeVm
from tests.harness import require
from tests.launcher import launching
from tests.scratch import scratch

# The same pipeline with its periods divided by ten or more; nothing is switched off.
QUICK = {
    **{f"BELABOX_COLLECTORS__{name.upper()}__INTERVAL": "1s" for name in registry.names()},
    "BELABOX_RUN__HEARTBEAT_INTERVAL": "500ms",
    "BELABOX_STORAGE__COMMIT_INTERVAL": "200ms",
    "BELABOX_REMOTE__PRIORITY__HIGH": "500ms",
    "BELABOX_REMOTE__PRIORITY__NORMAL": "1s",
    "BELABOX_REMOTE__PRIORITY__LOW": "2s",
    "BELABOX_REMOTE__UPLOAD_INTERVAL": "2s",
    "BELABOX_REMOTE__MODE": "realtime",  # or a machine that is busy looks like a bad uplink, and P2 waits a minute
    "BELABOX_REMOTE__CONNECT_TIMEOUT": "2s",
    "BELABOX_REMOTE__TIMEOUT": "5s",
    "BELABOX_REMOTE__RETRY__INITIAL_BACKOFF": "200ms",
    "BELABOX_REMOTE__RETRY__MAX_BACKOFF": "1s",
    "BELABOX_REMOTE__BACKFILL__RATE_LIMIT": "20/s",
    "BELABOX_REMOTE__AUDIT__INTERVAL": "1s",
    "BELABOX_REMOTE__AUDIT__GRACE": "15s",
    "BELABOX_HEALTH__SELF_METRICS_INTERVAL": "2s",
}


@pytest.fixture(scope="session", autouse=True)
def launcher() -> Iterator[None]:
    """Have processes forked: they begin without half a second of imports."""
    with launching():
        yield


@pytest.fixture(autouse=True)
def patient_resolver() -> Iterator[None]:
    """Leave no variable to the processes of later tests that a source sets for the resolver of its own process."""
    yield
    os.environ.pop("RES_OPTIONS", None)


@pytest.fixture
def run_dir() -> Iterator[Path]:
    """Give a run directory."""
    with scratch() as folder:
        yield folder


@pytest.fixture
def vm() -> Iterator[FakeVm]:
    """Give a scripted server."""
    with FakeVm() as server:
        yield server


@pytest.fixture
def server(run_dir: Path) -> Iterator[RealServer]:
    """Give a real victoria-metrics."""
    running = RealServer(require("victoria-metrics"), run_dir)
    running.start()
    yield running
    running.kill()


@pytest.fixture
def quick() -> dict[str, str]:
    """Give the settings that shorten every wait."""
    return dict(QUICK)
