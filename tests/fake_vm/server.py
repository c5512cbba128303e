"""Sockets and HTTP: bytes in, bytes out.

In: HTTP/1.1 requests, kept alive, with a length or chunked.
Out: the answers of exchange.py, answers.py and control.py, each with a `Date` (skewed
if a test says so) and `X-Server-Hostname`; or a connection closed without one. An idle
connection is closed after `idle_timeout_s`. Errors of the peer's making are silent.
"""

from __future__ import annotations

import itertools
import os
import re
import selectors
import socket
import struct
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from tests.fake_vm import envelope
from tests.fake_vm.answers import answer_get
from tests.fake_vm.control import PREFIX, answer_control
from tests.fake_vm.exchange import Body, refuse, serve_import

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.fake_vm.answers import Answer
    from tests.fake_vm.core import Core

# Plain, with /prometheus, or as vminsert and vmselect have it.
_IMPORT = re.compile(r"(?:(?:/insert/\d+(?::\d+)?)?/prometheus)?/api/v1/import")
_QUERY = re.compile(r"(?:(?:/select/\d+(?::\d+)?)?/prometheus)?(/api/v1/.+)")
_READ_BYTES = 65536
_NO_CONTENT = 204


class VmServer(ThreadingTCPServer):
    """Listens, and knows its open connections so that it can close them."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], core: Core, idle_timeout_s: float) -> None:
        """Bind and listen at once."""
        self.core = core
        self.idle_timeout_s = idle_timeout_s
        self.connection_ids = itertools.count(1)
        self._end_reader, self._end_writer = socket.socketpair()
        self._open: set[socket.socket] = set()
        self._open_lock = threading.Lock()
        super().__init__(address, Handler)

    def serve(self) -> None:
        """Accept connections until `end`; it waits without polling, unlike serve_forever."""
        with selectors.DefaultSelector() as selector:
            selector.register(self, selectors.EVENT_READ)
            selector.register(self._end_reader, selectors.EVENT_READ)
            while all(key.fileobj is self for key, _ in selector.select()):
                self.handle_request()

    def end(self) -> None:
        """Make `serve` return."""
        self._end_writer.close()

    def server_close(self) -> None:
        """Close the port and every open connection, as the end of the process would."""
        super().server_close()
        self._end_reader.close()
        self._end_writer.close()
        with self._open_lock:
            connections = list(self._open)
        for connection in connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # closed by the peer or reset by a script meanwhile

    def process_request(self, request: Any, client_address: Any) -> None:
        """Remember the connection, then serve it in its own thread."""
        with self._open_lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close the connection and forget it."""
        with self._open_lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Report bugs; a peer that went away is none."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """One connection; also the `Wire` of exchange.py."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: VmServer

    def setup(self) -> None:
        """Number the connection and set its idle timeout."""
        super().setup()
        self.connection.settimeout(self.server.idle_timeout_s)
        self.connection_id = next(self.server.connection_ids)

    def do_GET(self) -> None:
        """Serve any method: the real server does not look at it either."""
        core = self.server.core
        self.target = self.path
        self.head_bytes = len(self.requestline + "\r\n\r\n") + sum(
            len(k) + len(v) + len(": \r\n") for k, v in self.headers.items()
        )
        self.request_headers: Mapping[str, str] = {name.lower(): value for name, value in self.headers.items()}
        path = urlsplit(self.path).path
        if path.startswith(PREFIX):
            self.answer(answer_control(core, self.command, path, self.read_body().data))
        elif _IMPORT.fullmatch(path):
            serve_import(core, self)
        elif path == envelope.PATH:
            envelope.serve_metrics(core, self)
        else:
            self._serve_get(core, path)

    do_POST = do_PUT = do_HEAD = do_GET  # noqa: N815 - the names http.server looks for

    def _serve_get(self, core: Core, path: str) -> None:
        form = self.read_body().data.decode("utf-8", "replace")
        query = _QUERY.fullmatch(path)
        token = self.request_headers.get("authorization", "")
        if query is None and core.token is not None:
            token = f"Bearer {core.token}"  # /health and /metrics are never guarded
        refusal = refuse(core, token)
        core.pause(core.state.latency_ms / 1000)
        params = parse_qs(f"{urlsplit(self.path).query}&{form}")
        self.answer(refusal or answer_get(core, query[1] if query else path, params))

    def read_body(self, *, half: bool = False) -> Body:
        """Read the body, or half of it; what arrived before a break counts."""
        if "chunked" in self.request_headers.get("transfer-encoding", "").lower():
            return self._read_chunked(half=half)
        length = int(self.request_headers.get("content-length") or 0)
        data = self._read(length // 2 if half else length)
        return Body(data, len(data))

    def _read_chunked(self, *, half: bool) -> Body:
        data, wire_bytes = b"", 0
        while True:
            line = self.rfile.readline(_READ_BYTES)
            size = int(line.split(b";")[0] or b"0", 16)
            chunk = self._read(size)
            data += chunk
            wire_bytes += len(line) + size + len(self.rfile.readline(_READ_BYTES))
            if len(chunk) < size:
                self.close_connection = True
            # The whole length is unknown: half of such a body is its first chunk.
            if size == 0 or len(chunk) < size or half:
                return Body(data, wire_bytes)

    def _read(self, length: int) -> bytes:
        parts: list[bytes] = []
        while length > 0:
            try:
                part = self.rfile.read1(min(length, _READ_BYTES))
            except OSError:  # reset by peer, or silent for too long
                part = b""
            if not part:
                self.close_connection = True
                break
            parts.append(part)
            length -= len(part)
        return b"".join(parts)

    def answer(self, answer: Answer) -> None:
        """Send an answer; without a body where HTTP has none."""
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.status != _NO_CONTENT:
            self.send_header("Content-Type", answer.content_type)
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if answer.status != _NO_CONTENT and self.command != "HEAD":
            self.wfile.write(answer.body)

    def hang_up(self, *, reset: bool = False) -> None:
        """Close without an answer; with `reset` by RST instead of FIN."""
        self.close_connection = True
        if reset:
            # Lingering for 0 s makes close() send RST. The descriptor is closed
            # itself: the socket object lives on in its file objects.
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            os.close(self.connection.detach())

    def send_response(self, code: int, message: str | None = None) -> None:
        """Start an answer with the headers every answer has."""
        skew_s = self.server.core.state.date_skew_s
        self.send_response_only(code, message)
        self.send_header("X-Server-Hostname", socket.gethostname())
        self.send_header("Date", self.date_time_string(int(time.time() + skew_s)))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Log nothing: `/_fake/requests` says more."""
