"""A server for logs on loopback: takes JSON lines as VictoriaLogs does, or answers what a test says."""

from __future__ import annotations

import gzip
import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import unquote

from tests.http_server import serving

STARTED_S = 1_760_000_000
IN_MEMORY_S = 5.0  # what VictoriaLogs has not written to the disk yet


class LogServer:
    """What came.

    Attributes:
        url: where lines go.
        lines: that were taken, in order.
        started_s: when it was started, Unix seconds.
        is_up: it answers.
        paths, headers: of all requests.
        statuses: to be answered next; after them 200.
    """

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/insert/jsonline"
        self.lines: list[dict[str, Any]] = []
        self.started_s = STARTED_S
        self.is_up = True
        self._in_memory: list[tuple[float, int]] = []  # when a request was taken, and how many lines there were before
        self.paths: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.statuses: list[int] = []

    def kill(self) -> None:
        """Die without warning: what was taken in the last seconds is gone."""
        self.is_up = False
        lost = [before for taken_s, before in self._in_memory if time.monotonic() - taken_s < IN_MEMORY_S]
        del self.lines[min(lost, default=len(self.lines)) :]
        self._in_memory.clear()

    def start(self) -> None:
        """Be there again."""
        self.started_s, self.is_up = int(time.time()), True

    def answer(self, path: str) -> bytes:
        """Answer a question: when it was started, and how many lines it has of a span, each once."""
        if path == "/metrics":
            return b"vm_app_start_timestamp %d\n" % self.started_s
        first, last = re.findall(r"([0-9-]+T[0-9:.]+)Z", unquote(path)) or ("", "~")
        lines = [line for line in self.lines if "_msg" in line and first <= line["_time"].split("+")[0] <= last]
        return b'{"events":"%d"}\n' % len({(line["_time"], line["_msg"]) for line in lines})

    def take(self, path: str, headers: dict[str, str], body: bytes) -> int:
        """Take a request; return its status."""
        self.paths.append(path)
        self.headers.append(headers)
        status = self.statuses.pop(0) if self.statuses else 200
        if status == 200:
            self._in_memory.append((time.monotonic(), len(self.lines)))
            text = gzip.decompress(body) if headers.get("Content-Encoding") == "gzip" else body
            self.lines += [json.loads(line) for line in text.splitlines()]
        return status


@contextmanager
def running() -> Iterator[LogServer]:
    """Run one."""

    class Handler(BaseHTTPRequestHandler):
        """One connection."""

        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            """Take it."""
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self._is_away():
                return
            self.send_response(taken.take(self.path, dict(self.headers), body))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_GET(self) -> None:
            """Answer it."""
            if self._is_away():
                return
            body = taken.answer(self.path)
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _is_away(self) -> bool:
            """Tell whether nobody answers; the connection ends then."""
            self.close_connection = not taken.is_up
            return not taken.is_up

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with serving(Handler) as port:
        taken = LogServer(port)
        yield taken
