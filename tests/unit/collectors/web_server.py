"""A small HTTP server on loopback that answers as a test says."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import NamedTuple

from tests import http_server


class Asked(NamedTuple):
    """One request."""

    path: str
    headers: Mapping[str, str]


Answers = Callable[[Asked], tuple[int, str]]


@contextmanager
def serving(answers: Answers) -> Iterator[str]:
    """Answer on a port of loopback; give ``127.0.0.1:<port>``."""

    class Handler(BaseHTTPRequestHandler):
        """One request."""

        def do_GET(self) -> None:
            """Answer as the test says."""
            status, text = answers(Asked(self.path, dict(self.headers)))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http_server.serving(Handler) as port:
        yield f"127.0.0.1:{port}"
