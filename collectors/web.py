"""One bounded HTTP GET, for senders, receivers and dongles.

The whole exchange, connection and TLS included, has one deadline and one byte limit: see `bounded.py`.

Errors: no connection, no HTTP, too slow or too long: `WebError`, which does not repeat the URL: a key may be in it.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import time
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from collectors import bounded

MAX_BYTES = 256 * 1024
PORTS = {"http": http.client.HTTP_PORT, "https": http.client.HTTPS_PORT}


class WebError(Exception):
    """There is no answer; the text says why."""


class WebPage(NamedTuple):
    """What came back: the status, the body as text, and the first cookie, "" without one."""

    status: int
    text: str
    cookie: str = ""


def get(url: str, timeout_s: float, *, headers: Mapping[str, str] | None = None, interface: str = "") -> WebPage:
    """Ask once; no redirect is followed, no proxy used.

    Args:
        url: http or https.
        timeout_s: for everything; looking up a name may take a second more for each name server that is silent.
        headers: to send.
        interface: to ask through; "": as the routes have it.

    Raises:
        WebError: there is no answer.
    """
    try:
        parts, deadline_s = urlsplit(url), time.monotonic() + timeout_s
        port = parts.port or PORTS.get(parts.scheme, http.client.HTTP_PORT)
        with _dial(parts, port, deadline_s, interface) as connected:
            asking = http.client.HTTPConnection(parts.hostname or "", port)
            asking.default_port = PORTS.get(parts.scheme, port)  # which is not named in the header Host
            asking.sock = bounded.BoundedSocket(connected, deadline_s, MAX_BYTES)
            asking.request("GET", _target(parts), headers=headers or {})
            with asking.getresponse() as response:
                cookie = (response.getheader("Set-Cookie") or "").partition(";")[0].strip()
                return WebPage(response.status, _body(response), cookie)
    except (OSError, http.client.HTTPException, ValueError, OverflowError) as error:
        raise WebError(_why(error)) from error


def _dial(parts: SplitResult, port: int, deadline_s: float, interface: str) -> socket.socket:
    """Connect, with TLS where the scheme says so."""
    host = parts.hostname or ""
    connected = bounded.dial(host, port, deadline_s, interface)
    if parts.scheme != "https":
        return connected
    try:
        connected.settimeout(bounded.left_s(deadline_s))
        return ssl.create_default_context().wrap_socket(connected, server_hostname=host)
    except BaseException:
        connected.close()
        raise


def _target(parts: SplitResult) -> str:
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _body(response: http.client.HTTPResponse) -> str:
    """Return the body; never by its Content-Length, which may promise a terabyte."""
    content = b""
    while piece := response.read1(bounded.PIECE_BYTES):
        content += piece
    return content.decode("utf-8", "replace")


def _why(error: Exception) -> str:
    if isinstance(error, http.client.InvalidURL):
        return "not a URL"
    if isinstance(error, bounded.TooLongError):
        return f"answers more than {MAX_BYTES} bytes"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return f"no HTTP ({type(error).__name__})"
