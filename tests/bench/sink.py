"""A server that takes everything at once and notes when the numbers of one metric came."""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

from tests.http_server import serving

SMALL_BYTES = 16 * 1024  # larger bodies are backlog, and not looked into


class Sink:
    """What came.

    Attributes:
        url: of the import.
    """

    def __init__(self, metric: str, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/api/v1/import"
        self._mark = f'"__name__":"{metric}"'
        self._came_s: dict[float, float] = {}
        self._news = threading.Condition()

    def take(self, body: bytes) -> None:
        """Look through a body."""
        if len(body) > SMALL_BYTES:
            return
        lines = [line for line in gzip.decompress(body).decode().splitlines() if self._mark in line]
        with self._news:
            for line in lines:
                for value in json.loads(line)["values"]:
                    self._came_s.setdefault(value, time.perf_counter())
            self._news.notify_all()

    def came_s(self, value: float, timeout_s: float = 30.0) -> float:
        """Wait for a number; return when it came, by time.perf_counter."""
        with self._news:
            if not self._news.wait_for(lambda: value in self._came_s, timeout_s):
                raise TimeoutError(f"{value} did not come in {timeout_s:g} s")
            return self._came_s[value]


@contextmanager
def running(metric: str) -> Iterator[Sink]:
    """Run one on loopback."""

    class Handler(BaseHTTPRequestHandler):
        """One connection."""

        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            """Take it."""
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(204)
            self.end_headers()
            sink.take(body)

        def do_GET(self) -> None:
            """Know nothing."""
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with serving(Handler) as port:
        sink = Sink(metric, port)
        yield sink
