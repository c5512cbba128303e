"""Connections that are made in bounded time, name lookup included.

What urllib3 leaves open: the resolver of the C library takes neither a deadline nor a signal (in a tunnel it
keeps a process for half a minute); one dead address of several eats all of the time; and the connect
timeout stays on the socket while the body is sent, too short for a slow uplink.
"""

from __future__ import annotations

import signal
import socket
import ssl
import threading
import time
from http.cookiejar import DefaultCookiePolicy
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, cast

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import NewConnectionError

from common import VERSION
from shipper.http import pin
from shipper.http.meter import Meter

_Address = tuple[Any, ...]


class Pins(NamedTuple):
    """The keys that a host may have, see `pin.py`."""

    host: str = ""
    keys: tuple[str, ...] = ()


NO_PINS = Pins()


def dial(host: str, port: int, timeout_s: float, meter: Meter | None = None) -> socket.socket:
    """Connect to the first address of a host that answers; each gets its share of the time.

    What an attempt in vain has sent goes to the meter.

    Raises:
        OSError: none did (gaierror: there is none; TimeoutError: not in time).
    """
    deadline_s = time.monotonic() + timeout_s
    addresses = lookup(host, port, timeout_s)
    failure: OSError = socket.gaierror(socket.EAI_NONAME, "no address")
    for index, (family, kind, protocol, _, address) in enumerate(addresses):
        share_s = (deadline_s - time.monotonic()) / (len(addresses) - index)
        connection = socket.socket(family, kind, protocol)
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.settimeout(max(share_s, 0.001))
            connection.connect(address)
        except BaseException as error:
            if meter is not None:
                meter.failed(connection)
            connection.close()
            if not isinstance(error, OSError):
                raise
            failure = error
        else:
            connection.settimeout(None)  # the request has a deadline as a whole
            return connection
    raise failure


def lookup(host: str, port: int, timeout_s: float) -> list[_Address]:
    """Return the addresses of a host.

    The one thread there is, because a lookup can be left alone but not ended; it dies with the process.

    Raises:
        OSError: there is none (gaierror), or no answer in time (TimeoutError).
    """
    try:
        return _resolve(host, port, socket.AI_NUMERICHOST)
    except socket.gaierror:
        pass  # a name
    answers: SimpleQueue[list[_Address] | OSError] = SimpleQueue()
    threading.Thread(target=_look_up, args=(host, port, answers), daemon=True).start()
    try:
        found = answers.get(timeout=timeout_s)
    except Empty:
        raise TimeoutError(f"no address of {host} within {timeout_s:g} s") from None
    if isinstance(found, OSError):
        raise found
    return found


def _look_up(host: str, port: int, answers: SimpleQueue[list[_Address] | OSError]) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # they are for the main thread to see
    try:
        answers.put(_resolve(host, port))
    except OSError as error:
        answers.put(error)


def _resolve(host: str, port: int, flags: int = 0) -> list[_Address]:
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    except UnicodeError as error:  # a label that is empty or too long
        raise socket.gaierror(socket.EAI_NONAME, str(error)) from error


def open_session(meter: Meter, pins: Pins = NO_PINS) -> requests.Session:
    """Return a session that adds nothing of its own to a request, over connections of ours."""
    session = requests.Session()
    session.trust_env = False  # a ~/.netrc would replace the Authorization header, a proxy variable the server
    session.headers.clear()
    session.headers.update({"User-Agent": f"belabox-metrics/{VERSION}", "Accept-Encoding": "identity"})
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    for scheme in ("http://", "https://"):
        session.mount(scheme, Adapter(meter, pins, pool_connections=2, pool_maxsize=1))
    return session


class Adapter(HTTPAdapter):
    """What a session is given so that its connections are made by `dial` and counted by a meter."""

    def __init__(self, meter: Meter, pins: Pins, **named: Any) -> None:
        self._pools = _pools(meter, pins)
        super().__init__(**named)

    def init_poolmanager(self, *arguments: Any, **named: Any) -> None:
        """Set up the pools with our own kinds of connection."""
        super().init_poolmanager(*arguments, **named)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, proxy: str, **named: Any) -> Any:
        """Return the pools for a proxy, with our own kinds of connection too."""
        manager = super().proxy_manager_for(proxy, **named)
        manager.pool_classes_by_scheme = self._pools
        return manager


def _pools(meter: Meter, pins: Pins) -> dict[str, type[HTTPConnectionPool]]:
    """Return the kinds of connection by scheme; urllib3 hands no object of ours through to them."""

    class Http(HTTPConnection):
        def _new_conn(self) -> socket.socket:  # where urllib3's own SOCKS support comes in, too
            return _socket(self, meter)

    class Https(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return _socket(self, meter)

        def connect(self) -> None:
            super().connect()
            if pins.keys and pins.host == (self._tunnel_host or self.host):
                pin.check(cast("ssl.SSLSocket", self.sock), pins.keys)

    class HttpPool(HTTPConnectionPool):
        ConnectionCls = Http

    class HttpsPool(HTTPSConnectionPool):
        ConnectionCls = Https

    return {"http": HttpPool, "https": HttpsPool}


def _socket(connection: HTTPConnection, meter: Meter) -> socket.socket:
    timeout = connection.timeout
    if not isinstance(timeout, (int, float)):
        raise TypeError(f"a request without a connect timeout: {timeout!r}")
    try:
        made = dial(connection._dns_host, connection.port, timeout, meter)  # noqa: SLF001 - with the dot that ends a full name
    except OSError as error:
        raise NewConnectionError(connection, str(error)) from error
    meter.watch(connection, made)
    return made
