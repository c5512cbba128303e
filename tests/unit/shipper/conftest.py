"""A process with its own run directory, a fake server and the way between them."""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from common.remote import Auth, Remote
from common.service import Service
from shipper.http.client import HttpClient
from shipper.http.proof import KnownServer
from shipper.http.token import Token
from shipper.http.transport import Transport
from shipper.http.transport import open_transport as open_configured
from shipper.service import Shipper
from shipper.urls import health_url
from tests.fake_vm import FakeVm
from tests.unit.common.fixtures import run_dir
from tests.unit.shipper.running import Running, Start
from tests.unit.shipper.stub import BoundBuffer, Row, StubBuffer

__all__ = ["run_dir"]


@pytest.fixture(scope="session")
def fake_vm() -> Iterator[FakeVm]:
    """One fake server for all tests."""
    with FakeVm() as vm:
        yield vm


@pytest.fixture
def vm(fake_vm: FakeVm) -> FakeVm:
    """The fake server, as new."""
    fake_vm.reset()
    return fake_vm


@pytest.fixture
def environment(run_dir: Path, monkeypatch: pytest.MonkeyPatch, vm: FakeVm) -> Callable[..., None]:
    """Set keys of the configuration, by default those that keep a test short and by itself."""
    for name in [name for name in os.environ if name.startswith("BELABOX_")]:
        monkeypatch.delenv(name)

    def configure(**keys: str) -> None:
        for key, value in keys.items():
            monkeypatch.setenv(f"BELABOX_{key.upper()}", value)

    configure(
        run__dir=str(run_dir),
        logging__output=str(run_dir / "log"),
        logging__level="debug",
        storage__path=str(run_dir / "metrics.db"),
        remote__url=vm.import_url,
        remote__mode="realtime",
        remote__retry__initial_backoff="20ms",
        remote__retry__max_backoff="60ms",
        monitoring__clock_skew_check_interval="1h",
    )
    return configure


@pytest.fixture
def start_process(environment: Callable[..., None]) -> Iterator[Callable[..., Service]]:
    """Build a process with keys of the configuration; its sockets and log are closed in the end."""
    made: list[Service] = []

    def start(**keys: str) -> Service:
        environment(**keys)
        process = Service("shipper", argparse.Namespace(config=None))
        process.publishes()
        made.append(process)
        return process

    umask = os.umask(0o077)
    yield start
    os.umask(umask)
    for process in made:
        if process.publisher is not None and not process.publisher.socket.closed:
            process.close()
    root = logging.getLogger()
    for handler in [one for one in root.handlers if isinstance(one, logging.FileHandler)]:
        root.removeHandler(handler)
        handler.close()


@pytest.fixture
def open_transport(vm: FakeVm) -> Iterator[Callable[..., Transport]]:
    """Build a transport with keys of section remote; it is closed in the end."""
    made: list[Transport] = []

    def build(*, token: Token | None = None, **keys: object) -> Transport:
        from common.log import Log  # noqa: PLC0415

        remote = Remote(**{"url": vm.import_url, "timeout_s": 20.0, "connect_timeout_s": 20.0, **keys})  # type: ignore[arg-type]
        transport = Transport(remote, "box", token or Token(Auth(), {}, Log("test")), lambda: False)
        made.append(transport)
        return transport

    yield build
    for transport in made:
        transport.close()


@pytest.fixture
def open_client(open_transport: Callable[..., Transport], vm: FakeVm) -> Callable[..., HttpClient]:
    """Build a client of HTTP with keys of section remote; nobody listens to what it announces and counts."""

    def build(known: KnownServer | None = None, **keys: object) -> HttpClient:
        url = str(keys.get("url", vm.import_url))
        return HttpClient(
            open_transport(**keys), known or KnownServer(), health_url(url), lambda _: None, lambda _: None
        )

    return build


@pytest.fixture
def stub(run_dir: Path) -> Iterator[BoundBuffer]:
    """A buffer that is there."""
    with BoundBuffer(run_dir, StubBuffer()) as bound:
        yield bound


@pytest.fixture
def start(start_process: Callable[..., Service], stub: BoundBuffer, monkeypatch: pytest.MonkeyPatch) -> Start:
    """Start a shipper on samples."""
    monkeypatch.setattr("shipper.service.PAUSE_S", 0.05)
    monkeypatch.setattr("shipper.service.FIRST_SKEW_S", 0.05)

    def begin(samples: list[Row] | None = None, **keys: str) -> Running:
        stub.stub.pending += samples or []
        process = start_process(**keys)
        transport = open_configured(process.config, process.log, lambda: process.loop.stopping)
        return Running(process, Shipper(process, transport), stub.stub)

    return begin
