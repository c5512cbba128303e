"""One bounded GET of something that speaks HTTP: a sender, a receiver, a dongle; a part of several collectors.

Errors: no connection, no HTTP, too slow or too long: `WebError`, which does not repeat the URL: a key may be in it.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import time
from collections.abc import Mapping
from contextlib import ExitStack
from typing import NamedTuple
from urllib.parse import urlsplit

MAX_BYTES = 256 * 1024


class WebError(Exception):
    """There is no answer; says why."""


class Answer(NamedTuple):
    """What came back: the status, and the body as text."""

    status: int
    text: str


class _Bound(http.client.HTTPConnection):
    """A connection through one network interface: several dongles have the same address."""

    def __init__(self, host: str, port: int, timeout_s: float, interface: str) -> None:
        super().__init__(host, port, timeout=timeout_s)
        self._interface = interface

    def connect(self) -> None:
        """Connect; Linux lets everybody bind a fresh socket to an interface since 5.7."""
        with ExitStack() as on_failure:
            sock = on_failure.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            sock.settimeout(self.timeout)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, self._interface.encode())
            sock.connect((self.host, self.port))
            on_failure.pop_all()
            self.sock = sock


def get(url: str, timeout_s: float, *, headers: Mapping[str, str] | None = None, interface: str = "") -> Answer:
    """Ask once; no redirect is followed, no proxy used.

    Args:
        url: http or https.
        timeout_s: for the connection, and again for the answer.
        headers: to send.
        interface: to ask through; "": as the routes have it.

    Raises:
        WebError: there is no answer.
    """
    connection = _connection(url, timeout_s, interface)
    parts = urlsplit(url)
    try:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("GET", target, headers=headers or {})
        with connection.getresponse() as response:
            return Answer(response.status, _body(response, time.monotonic() + timeout_s))
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise WebError(_why(error)) from error
    finally:
        connection.close()


def _connection(url: str, timeout_s: float, interface: str) -> http.client.HTTPConnection:
    parts = urlsplit(url)
    host = parts.hostname or ""
    if interface:
        return _Bound(host, parts.port or http.client.HTTP_PORT, timeout_s, interface)
    if parts.scheme == "https":
        return http.client.HTTPSConnection(host, parts.port, timeout=timeout_s, context=ssl.create_default_context())
    return http.client.HTTPConnection(host, parts.port, timeout=timeout_s)


def _body(response: http.client.HTTPResponse, deadline_s: float) -> str:
    content = b""
    while piece := response.read1(MAX_BYTES):
        content += piece
        if len(content) > MAX_BYTES:
            raise WebError(f"answers more than {MAX_BYTES} bytes")
        if time.monotonic() > deadline_s:
            raise WebError("answers too slowly")
    return content.decode("utf-8", "replace")


def _why(error: Exception) -> str:
    if isinstance(error, http.client.InvalidURL):
        return "not a URL"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return f"no HTTP ({type(error).__name__})"
