"""Every client of the collectors comes back from everybody who would keep it, without having taken much.

The servers of `hostile.py` never end by themselves: a client that waits for them does not come back, and the test's own
limit ends it. What the exchange took is printed, not judged: this machine may be slow.
"""

from __future__ import annotations

import os
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import pytest

from collectors import bounded, web
from collectors.gps import gps
from collectors.host import Host
from collectors.modem.place import Gateway, RouterSession
from collectors.modem.routers import MAKES
from collectors.receiver import receiver
from collectors.srt import telemetry
from collectors.web import WebError
from common.sample import Sample
from tests.integration import hostile
from tests.integration.hostile import Server

TIMEOUT_S = 0.05  # nobody who keeps a client ends by himself, however long it is
MAX_MEMORY_BYTES = 4 * 1024 * 1024

Client = Callable[[str], object]


def _get(address: str) -> object:
    return web.get(f"http://{address}/", TIMEOUT_S)


def _get_tls(address: str) -> object:
    return web.get(f"https://{address}/", TIMEOUT_S)


def _gps(address: str) -> object:
    """Look three times, as the loop would."""
    host, state, config = Host(), gps.State(), gps.Config(enabled=True, address=address)
    for _ in range(3):
        host.begin()
        assert [] == list(gps.collect(host, config, state))
        assert len(state.rest) <= gps.MAX_LINE_BYTES
    if state.connection is not None:
        state.connection.close()
    return None


def _router(address: str) -> object:
    """Ask as each make is asked, one deadline for all of its questions."""
    for ask in MAKES:
        with suppress(WebError):
            assert ask(RouterSession(Gateway("lo", address, "1-1"), time.monotonic() + TIMEOUT_S)) is None
    return None


def _metrics_page(address: str) -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(telemetry, "TIMEOUT_S", TIMEOUT_S)
        assert not telemetry.from_page(Host(), address)
    return None


def _receiver(address: str) -> object:
    host, config = Host(), receiver.Config(enabled=True, url=f"http://{address}/")
    host.begin()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(receiver, "TIMEOUT_S", TIMEOUT_S)
        assert [] == [one for one in receiver.collect(host, config, receiver.State()) if isinstance(one, Sample)]
    assert ["receiver"] == list(host.faults)
    return None


ON_TCP: dict[str, Client] = {
    "web": _get,
    "gpsd": _gps,
    "a modem's web page": _router,
    "a sender's metrics page": _metrics_page,
    "a receiver's statistics": _receiver,
}


@contextmanager
def bounded_memory(what: str) -> Iterator[None]:
    """Hold a client to a few megabytes, and print what it took."""
    tracemalloc.start()
    began_s = time.monotonic()
    try:
        yield
        took_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    print(f"{what}: {time.monotonic() - began_s:.2f} s, {took_bytes / 1e6:.1f} MB at most")
    assert took_bytes < MAX_MEMORY_BYTES


def ours(path: Path, owner: int | None = None) -> AbstractContextManager[bounded.BoundedSocket]:
    """Connect to a socket that is to be of a user, this one unless another is named."""
    return bounded.local(str(path), TIMEOUT_S, 256 * 1024, {os.geteuid() if owner is None else owner})


@pytest.mark.parametrize("client", ON_TCP.values(), ids=ON_TCP)
@pytest.mark.parametrize("server", hostile.SERVERS.values(), ids=hostile.SERVERS)
def test_a_client_comes_back(server: Server, client: Client) -> None:
    """Whatever the other side does, the exchange ends with an error of the client's own, or with nothing."""
    with hostile.on_tcp(server) as address, bounded_memory("client"), suppress(WebError):
        client(address)


@pytest.mark.parametrize("name", ["says nothing", "hangs up", "drips a header", "has no end of a line", "is not text"])
def test_a_client_that_wants_tls_comes_back(name: str) -> None:
    """Nobody of them gets as far as HTTP: a handshake is bytes, and they are no handshake."""
    with hostile.on_tcp(hostile.SERVERS[name]) as address, bounded_memory("client"), suppress(WebError):
        _get_tls(address)


@pytest.mark.parametrize("server", hostile.SERVERS.values(), ids=hostile.SERVERS)
def test_a_socket_of_this_machine_lets_go(server: Server, tmp_path: Path) -> None:
    """A line of a control socket: one deadline, one bound of bytes."""
    path = tmp_path / "control"
    with hostile.on_socket(server, path), bounded_memory("client"), suppress(OSError), ours(path) as connection:
        connection.sendall(b"?\n")
        connection.line()


@pytest.mark.parametrize("server", hostile.SERVERS.values(), ids=hostile.SERVERS)
def test_a_senders_control_socket_lets_go(server: Server, tmp_path: Path) -> None:
    """Nothing is said of the links, and why."""
    host = Host(tmp_path)
    with hostile.on_socket(server, tmp_path / "control"), bounded_memory("client"):
        assert telemetry.from_socket(host, "control") is None
    assert ["control"] == list(host.faults)


def test_a_stranger_behind_a_socket_is_not_asked(tmp_path: Path) -> None:
    """Who listens is known by the kernel's word, and the question is not sent to others."""
    path = tmp_path / "control"
    silent, stranger = hostile.SERVERS["says nothing"], os.geteuid() + 1
    with hostile.on_socket(silent, path), pytest.raises(PermissionError, match="not trusted"), ours(path, stranger):
        pass


@pytest.mark.parametrize("kind", ["link", "file", "folder", "nothing"])
def test_what_is_no_socket_is_not_connected_to(tmp_path: Path, kind: str) -> None:
    """A link is not followed, whoever has put it there."""
    path, target = tmp_path / "control", tmp_path / "target"
    if kind == "link":
        path.symlink_to(target)
    elif kind == "file":
        path.touch()
    elif kind == "folder":
        path.mkdir()
    silent = hostile.SERVERS["says nothing"]
    with hostile.on_socket(silent, target), pytest.raises(OSError, match="control"), ours(path):
        pass
