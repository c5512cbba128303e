"""The fixtures that these tests share, with the unit tests of the shipper and with each other."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import log_server
from tests.log_server import LogServer
from tests.unit.common.fixtures import run_dir
from tests.unit.shipper.conftest import environment, fake_vm, start, start_process, stub, vm

__all__ = ["environment", "fake_vm", "run_dir", "start", "start_process", "stub", "vm"]


@pytest.fixture
def logs(monkeypatch: pytest.MonkeyPatch) -> Iterator[LogServer]:
    """A server for logs; the shipper looks often."""
    monkeypatch.setattr("shipper.event_uploader.LOOK_S", 0.05)
    monkeypatch.setattr("shipper.service.LOOK_S", 0.05)
    with log_server.running() as server:
        yield server
