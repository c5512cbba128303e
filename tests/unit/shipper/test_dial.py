"""Connections are made in bounded time, whatever the resolver does."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from shipper.http.dial import dial, lookup
from tests.patience import Patience


@pytest.fixture
def port() -> Iterator[int]:
    """A port somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def address(host: str, port: int) -> tuple[Any, ...]:
    """Return an address as the resolver does."""
    return (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port))


def resolve_to(monkeypatch: pytest.MonkeyPatch, *addresses: tuple[Any, ...]) -> None:
    """Have every name resolve to these."""
    monkeypatch.setattr("shipper.http.dial.lookup", lambda *_: list(addresses))


def test_an_address_needs_no_resolver(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """And so no thread."""
    monkeypatch.setattr(threading, "Thread", None)
    dial("127.0.0.1", port, 5).close()


def test_a_name_is_looked_up(port: int) -> None:
    """By the system's resolver."""
    dial("localhost", port, 5).close()


def test_a_resolver_that_hangs_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a tunnel it takes half a minute to find out that there is no answer."""
    gate = threading.Event()
    real = socket.getaddrinfo

    def hang(*arguments: Any, **named: Any) -> Any:
        if not named["flags"]:
            gate.wait(30)
        return real(*arguments, **named)

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    patience = Patience(1)
    with pytest.raises(TimeoutError, match=r"no address of metrics\.example"):
        lookup("metrics.example", 80, 0.05)
    gate.set()
    assert not patience.is_over()


@pytest.mark.parametrize("host", ["name.invalid", "x" * 300, "a..b"])
def test_a_name_without_an_address_is_an_error(host: str) -> None:
    """Of the kind the resolver gives, whatever is wrong with the name."""
    with pytest.raises(OSError, match=r".") as caught:
        lookup(host, 80, 20)
    assert isinstance(caught.value, (socket.gaierror, TimeoutError))


def test_a_dead_address_leaves_time_for_the_next(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server with IPv6 that leads nowhere and IPv4 that works."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as deaf:
        full = [socket.socket() for _ in range(4)]
        for filling in full:
            filling.setblocking(False)
            filling.connect_ex(deaf.getsockname())
        resolve_to(monkeypatch, address(*deaf.getsockname()), address("127.0.0.1", port))
        connection = dial("both.example", port, 0.4)
        assert connection.getpeername()[1] == port
        connection.close()
        for filling in full:
            filling.close()


def test_the_last_failure_is_told(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """When no address answers."""
    with socket.create_server(("127.0.0.1", 0)) as gone:
        closed = gone.getsockname()[1]
    resolve_to(monkeypatch, address("127.0.0.1", closed), address("127.0.0.1", closed))
    with pytest.raises(ConnectionRefusedError):
        dial("both.example", closed, 1)


def test_sending_is_not_bound_by_the_connect_timeout(port: int) -> None:
    """A body takes longer than a handshake on a slow uplink."""
    with dial("127.0.0.1", port, 0.5) as connection:
        assert connection.gettimeout() is None
