"""The HTTP server: GET and HEAD of whatever the endpoints answer, on threads that only read.

Reads requests, at most `MAX_CONNECTIONS` at a time. A client has `REQUEST_S` to send a request and as long
to take the answer, and `MAX_HEAD_BYTES` for it: a slow or endless one costs one thread for that long.
Fails: an address that cannot be listened on raises OSError; the caller tries again.
"""

from __future__ import annotations

import io
import json
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from common.log import Log

MAX_CONNECTIONS = 32
MAX_HEAD_BYTES = 8192
REQUEST_S = 10.0
DRAIN_S = 1.0

JSON = "application/json"
METHODS = ("GET", "HEAD")

_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 1\r\nConnection: close\r\n\r\n"


class Answer(NamedTuple):
    """What one path says."""

    status: int
    content_type: str
    body: bytes


class Server(ThreadingHTTPServer):
    """Listen and answer, from construction until `close`.

    Args:
        bind: IPv4 or IPv6 address.
        port: 0 picks one.
        answer: called on the connection's thread with the path, without its query.
        log: for what `answer` did not foresee.

    Attributes:
        asked_for: address and port as given.

    Raises:
        OSError: the address cannot be listened on.
    """

    daemon_threads = True
    allow_reuse_port = False  # a second server on the same port is an error, not a partner
    request_queue_size = 64

    def __init__(self, bind: str, port: int, answer: Callable[[str], Answer], log: Log) -> None:
        self.address_family = socket.AF_INET6 if ":" in bind else socket.AF_INET
        super().__init__((bind, port), _Handler)
        self.asked_for = (bind, port)
        self._answer = answer
        self._log = log
        self._free = threading.BoundedSemaphore(MAX_CONNECTIONS)
        threading.Thread(target=self.serve_forever, name="http", daemon=True).start()

    @property
    def address(self) -> str:
        """Where it listens, as in a URL."""
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
        """Bind without the base class' reverse lookup, which waits for a DNS that may be far away."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give a connection its thread, or turn it away."""
        if self._free.acquire(blocking=False):
            try:
                super().process_request(request, client_address)
            except RuntimeError:  # no more threads
                self._free.release()
                raise
            return
        request.setblocking(False)
        try:
            request.send(_BUSY)
        except OSError:
            pass  # it went away by itself
        self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve a connection."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def respond(self, path: str) -> Answer:
        """Return the answer to a path, whatever happens."""
        try:
            return self._answer(path)
        except Exception as error:  # noqa: BLE001 - the boundary that reports a bug and goes on serving
            self._report(error, path=path)
            return Answer(500, JSON, b'{"error": "internal server error"}\n')

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the base class' signature
        """Report a bug; a client that went away is none."""
        error = sys.exc_info()[1]
        if error is not None and not isinstance(error, OSError):
            self._report(error)

    def _report(self, error: BaseException, **fields: Any) -> None:
        kind = type(error).__name__
        self._log.throttled_warning(f"http {kind}", "no answer", error=str(error), error_type=kind, **fields)


class _Handler(BaseHTTPRequestHandler):
    """One connection: request heads in, answers out."""

    server: Server
    protocol_version = "HTTP/1.1"
    default_request_version = "HTTP/1.1"  # of what is no request; HTTP/0.9 would have no status line
    timeout = REQUEST_S
    wbufsize = -1  # head and body of an answer in one packet

    def setup(self) -> None:
        """Begin with nothing received."""
        super().setup()
        self.rfile.close()
        self._received = b""
        self._more_follows = False

    def handle(self) -> None:
        """Answer requests until one asks for the end, or none comes in time."""
        self.close_connection = False
        while not self.close_connection:
            head = self._read_head()
            if head is None:
                return
            self._one(head)
            self.wfile.flush()
        if self._more_follows:
            self._drain()

    def version_string(self) -> str:
        """Name no versions."""
        return "belabox-metrics"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class' signature
        """Write no access log."""

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002
        """Send an error as JSON and end the connection; the base class reports what it cannot parse here."""
        self.close_connection = True
        body = json.dumps({"error": HTTPStatus(code).phrase.lower()}).encode() + b"\n"
        self._send(Answer(code, JSON, body))

    def _read_head(self) -> bytes | None:
        """Return a request up to its empty line or as far as it may go, or None where none comes."""
        deadline_s = time.monotonic() + REQUEST_S
        while b"\r\n\r\n" not in self._received and len(self._received) <= MAX_HEAD_BYTES:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                return None
            self.connection.settimeout(left_s)
            try:
                piece = self.connection.recv(MAX_HEAD_BYTES)
            except OSError:
                return None
            if not piece:
                return None
            self._received += piece
        self.connection.settimeout(REQUEST_S)
        head, end, self._received = self._received.partition(b"\r\n\r\n")
        return head + end

    def _drain(self) -> None:
        """Read on for a moment: closing on a client that still sends would reset the answer away."""
        deadline_s = time.monotonic() + DRAIN_S
        self.connection.shutdown(socket.SHUT_WR)
        while (left_s := deadline_s - time.monotonic()) > 0:
            self.connection.settimeout(left_s)
            try:
                if not self.connection.recv(65_536):
                    return
            except OSError:
                return

    def _one(self, head: bytes) -> None:
        """Answer one request."""
        line, _, headers = head.partition(b"\r\n")
        self.raw_requestline, self.rfile = line + b"\r\n", io.BytesIO(headers)
        if len(head) > MAX_HEAD_BYTES:
            self.requestline, self.request_version, self.command = "", self.protocol_version, ""
            self._end(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        elif not self.parse_request():
            return
        elif self.command not in METHODS:
            self._end(HTTPStatus.METHOD_NOT_ALLOWED)
        else:
            has_body = self.headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in self.headers
            self.close_connection = self._more_follows = self.close_connection or has_body
            self._send(self.server.respond(self.path.partition("?")[0]))

    def _end(self, status: HTTPStatus) -> None:
        """Refuse a request of which more may follow."""
        self._more_follows = True
        self.send_error(status)

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        if answer.status == HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", ", ".join(METHODS))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)
