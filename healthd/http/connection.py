"""One HTTP connection: request heads and small forms in, answers and endless streams out.

A client has `REQUEST_S` to send a request and as long to take each piece of the answer, `MAX_HEAD_BYTES`
for its head and `MAX_FORM_BYTES` for a form: a slow or endless one costs one thread for that long.
"""

from __future__ import annotations

import io
import json
import socket
import time
from collections.abc import Collection, Iterator, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any, NamedTuple, Protocol
from urllib.parse import parse_qsl

from healthd.http.ambiguity import is_ambiguous
from healthd.http.places import Places

MAX_HEAD_BYTES = 8192
MAX_FORM_BYTES = 4096
REQUEST_S = 10.0
DRAIN_S = 1.0

JSON = "application/json"
METHODS = ("GET", "HEAD")
_CONTINUE, _GO_ON = "100-continue", b"HTTP/1.1 100 Continue\r\n\r\n"


class Request(NamedTuple):
    """A request.

    Attributes:
        path: without the query.
        method: GET, HEAD, or POST to a form.
        query: of the URL, by name.
        headers: by name in lower case.
        peer: the client's address.
        form: what was posted, by name.
    """

    path: str
    method: str = "GET"
    query: Mapping[str, str] = {}
    headers: Mapping[str, str] = {}
    peer: str = ""
    form: Mapping[str, str] = {}


class Reply(NamedTuple):
    """The answer to a request.

    Attributes:
        status: the HTTP status.
        content_type: of the body.
        body: all of it, where there are no pieces.
        headers: besides the usual ones.
        pieces: an endless body, piece by piece; the connection ends with it.
    """

    status: int
    content_type: str
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    pieces: Iterator[bytes] | None = None


class ServerInterface(Protocol):
    """The part of the server that a connection needs."""

    forms: Collection[str]
    places: Places

    def respond(self, request: Request) -> Reply:
        """Return the answer to a request."""


class ClientConnection(BaseHTTPRequestHandler):
    """One client, from its first request to its last."""

    server: ServerInterface  # type: ignore[assignment]
    protocol_version = "HTTP/1.1"
    default_request_version = "HTTP/1.1"  # of what is no request; HTTP/0.9 would have no status line
    timeout = REQUEST_S
    wbufsize = -1  # head and body of an answer in one packet

    def setup(self) -> None:
        """Prepare the connection; nothing is received yet."""
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

    def handle_expect_100(self) -> bool:
        """Send no 100 yet: the whole head is checked first, and only a form is waited for."""
        return True

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class' signature
        """Write no access log."""

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002
        """Send an error as JSON and end the connection; the base class reports what it cannot parse here."""
        self.close_connection = True
        body = json.dumps({"error": HTTPStatus(code).phrase.lower()}).encode() + b"\n"
        self._send(Reply(code, JSON, body))

    def _read_head(self) -> bytes | None:
        """Return the head of a request, cut at `MAX_HEAD_BYTES`; None if no request comes in time."""
        self.server.places.waits(self.connection)
        deadline_s = time.monotonic() + REQUEST_S
        while b"\r\n\r\n" not in self._received and len(self._received) <= MAX_HEAD_BYTES:
            if not self._receive(deadline_s):
                return None
        head, end, self._received = self._received.partition(b"\r\n\r\n")
        return head + end

    def _receive(self, deadline_s: float) -> bool:
        """Receive more bytes; return whether any came in time."""
        left_s = deadline_s - time.monotonic()
        if left_s <= 0:
            return False
        self.connection.settimeout(left_s)
        try:
            piece = self.connection.recv(MAX_HEAD_BYTES)
        except OSError:
            return False
        finally:
            self.connection.settimeout(REQUEST_S)
        self._received += piece
        return bool(piece)

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
        elif is_ambiguous(head, self.request_version):
            self._end(HTTPStatus.BAD_REQUEST)
        elif self.headers.get("Expect", _CONTINUE).lower() != _CONTINUE:
            self._end(HTTPStatus.EXPECTATION_FAILED)
        elif self.command == "POST" and self.path in self.server.forms:
            form = self._read_form()
            if form is not None:
                self._answer(form)
        elif self.command not in METHODS:
            self._end(HTTPStatus.METHOD_NOT_ALLOWED)
        else:
            has_body = self.headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in self.headers
            self.close_connection = self._more_follows = self.close_connection or has_body
            self._answer({})

    def _answer(self, form: Mapping[str, str]) -> None:
        self.server.places.works(self.connection)
        self._send(self.server.respond(self._request(form)))

    def _request(self, form: Mapping[str, str]) -> Request:
        path, _, query = self.path.partition("?")
        headers = {name.lower(): value for name, value in self.headers.items()}
        return Request(path, self.command, _pairs(query), headers, str(self.client_address[0]), form)

    def _read_form(self) -> Mapping[str, str] | None:
        """Return the posted form; None if it was refused or did not come in time."""
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or len(length) > 6:
            self._end(HTTPStatus.LENGTH_REQUIRED)
            return None
        if int(length) > MAX_FORM_BYTES:
            self._end(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            return None
        if "Expect" in self.headers and not self._received:
            self.wfile.write(_GO_ON)
            self.wfile.flush()
        deadline_s = time.monotonic() + REQUEST_S
        while len(self._received) < int(length):
            if not self._receive(deadline_s):
                self.close_connection = True
                return None
        body, self._received = self._received[: int(length)], self._received[int(length) :]
        return _pairs(body.decode("latin-1"))

    def _end(self, status: HTTPStatus) -> None:
        """Refuse a request, and end the connection: the rest of the request may follow."""
        self._more_follows = True
        self.send_error(status)

    def _send(self, answer: Reply) -> None:
        self.close_connection = self.close_connection or answer.pieces is not None
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        if answer.pieces is None:
            self.send_header("Content-Length", str(len(answer.body)))
        if all(name != "Cache-Control" for name, _ in answer.headers):
            self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        for name, value in answer.headers:
            self.send_header(name, value)
        if answer.status == HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", ", ".join(METHODS))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command == "HEAD":
            return
        self.wfile.write(answer.body)
        for piece in answer.pieces or ():
            self.wfile.write(piece)
            self.wfile.flush()


def _pairs(text: str) -> Mapping[str, str]:
    """Return the fields of a query or a form; a field given twice has its last value."""
    return dict(parse_qsl(text, max_num_fields=50)) if text.count("&") < 50 else {}
