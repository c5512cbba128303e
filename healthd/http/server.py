"""The HTTP server: listen, give each connection a thread while there is a place for it (`places.py`), else answer 503.

Reads requests; `connection.py` is one connection.
Fails: an address that cannot be listened on raises OSError; the caller tries again.
"""

from __future__ import annotations

import socket
import socketserver
import sys
import threading
from collections.abc import Callable, Collection
from contextlib import suppress
from http.server import ThreadingHTTPServer
from typing import Any

from common.log import Log
from healthd.http.connection import JSON, ClientConnection, Reply, Request
from healthd.http.places import Places

_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 1\r\nConnection: close\r\n\r\n"


class HttpServer(ThreadingHTTPServer):
    """Listen and answer, from construction until `close`.

    Args:
        bind: IPv4 or IPv6 address.
        port: 0 picks one.
        answer: called on the connection's thread with each request.
        log: for what `answer` did not foresee.
        forms: paths to which something may be posted.

    Attributes:
        asked_for: address and port as given.
        forms: as given.
        places: who holds one.

    Raises:
        OSError: the address cannot be listened on.
    """

    daemon_threads = True
    allow_reuse_port = False  # a second server on the same port is an error, not a partner
    request_queue_size = 64

    def __init__(
        self, bind: str, port: int, answer: Callable[[Request], Reply], log: Log, forms: Collection[str] = ()
    ) -> None:
        self.address_family = socket.AF_INET6 if ":" in bind else socket.AF_INET
        super().__init__((bind, port), ClientConnection)
        self.asked_for = (bind, port)
        self.forms = forms
        self._answer = answer
        self._log = log
        self.places = Places(_hang_up)
        threading.Thread(target=self.serve_forever, name="http", daemon=True).start()

    @property
    def address(self) -> str:
        """The host and port that the server listens on, as in a URL."""
        host, port = self.server_address[:2]
        return f"[{host!s}]:{port}" if self.address_family == socket.AF_INET6 else f"{host!s}:{port}"

    def close(self) -> None:
        """Stop listening; answers under way are finished."""
        self.socket.shutdown(socket.SHUT_RDWR)  # wakes the thread, which would look for `shutdown` only now and then
        self.shutdown()
        self.server_close()

    def serve_forever(self, poll_interval: float = 3600) -> None:
        """Accept connections; nothing to do in between."""
        super().serve_forever(poll_interval)

    def server_bind(self) -> None:
        """Bind without the reverse lookup of the base class, which would wait for a DNS server."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give a connection its thread, or turn it away."""
        if self.places.take(request, str(client_address[0])):
            try:
                super().process_request(request, client_address)
            except RuntimeError:  # no more threads
                self.places.leave(request)
                raise
            return
        request.setblocking(False)
        with suppress(OSError):  # it went away by itself
            request.send(_BUSY)
        self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve a connection."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.places.leave(request)

    def respond(self, request: Request) -> Reply:
        """Return the answer to a request, whatever happens."""
        try:
            return self._answer(request)
        except Exception as error:  # noqa: BLE001 - the boundary that reports a bug and goes on serving
            self._report(error, path=request.path)
            return Reply(500, JSON, b'{"error": "internal server error"}\n')

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the base class' signature
        """Log a bug; a client that disconnects is none."""
        error = sys.exc_info()[1]
        if error is not None and not isinstance(error, OSError):
            self._report(error)

    def _report(self, error: BaseException, **fields: Any) -> None:
        kind = type(error).__name__
        self._log.throttled_warning(f"http {kind}", "no answer", error=str(error), error_type=kind, **fields)


def _hang_up(connection: socket.socket) -> None:
    """Wake the thread that reads from a connection: it finds the end."""
    with suppress(OSError):  # it went away by itself
        connection.shutdown(socket.SHUT_RDWR)
