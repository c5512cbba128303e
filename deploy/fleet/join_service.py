"""`python3 -m deploy.fleet serve`: what a machine asks that joins the fleet, over HTTP; a proxy before it has the TLS.

`GET /join`: the script of the line that `invite` prints. `GET /join/packages/arm64.deb`: the newest package there is.
`POST /join`, JSON: `code` and `machine` (64 hexadecimal digits) get `device`, `config` and `token`; with `done: true`
the invitation is erased. A refusal is a line of text.

Logs the name of a device and the address that asked, never a code or a token. An address gets ten answers to wrong
codes in ten minutes, then none: for the load; 128 bits are not guessed.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from deploy.fleet.invitations import Invitations, RefusedError
from deploy.fleet.vmauth import VmauthFile

SCRIPT = Path(__file__).resolve().with_name("join.sh")
MAX_BODY = 1024
TIMEOUT_S, EXPIRE_EVERY_S = 30.0, 60.0
WRONG_CODES, WRONG_CODES_S, MAX_ADDRESSES = 10, 600.0, 10_000
BAD_REQUEST, TOO_MANY, NOT_FOUND, DONE = 400, 429, 404, 204
PACKAGE = re.compile(r"/join/packages/([a-z0-9]+)\.deb")
CODE, MACHINE = re.compile(r"[\w-]{1,64}", re.ASCII), re.compile(r"[0-9a-f]{64}")


class WrongCodes:
    """When each address sent wrong codes, of the last ten minutes."""

    def __init__(self) -> None:
        self._times_s: dict[str, list[float]] = {}

    def add(self, address: str, now_s: float) -> None:
        """Count one."""
        recent = [*self._recent(address, now_s), now_s]
        self._times_s.pop(address, None)
        self._times_s[address] = recent
        if len(self._times_s) > MAX_ADDRESSES:
            del self._times_s[next(iter(self._times_s))]

    def are_too_many(self, address: str, now_s: float) -> bool:
        """Return whether an address gets no answer for now."""
        return len(self._recent(address, now_s)) >= WRONG_CODES

    def _recent(self, address: str, now_s: float) -> list[float]:
        return [time_s for time_s in self._times_s.get(address, ()) if time_s > now_s - WRONG_CODES_S]


class JoinService(ThreadingHTTPServer):
    """The server.

    Args:
        address: host and port.
        invitations: which it hands out.
        packages: folder of the Debian packages.
        is_proxied: every request comes from a proxy, which names who asks.
    """

    daemon_threads = True

    def __init__(self, address: tuple[str, int], invitations: Invitations, packages: Path, *, is_proxied: bool) -> None:
        super().__init__(address, Handler)
        self.invitations, self.packages, self.is_proxied = invitations, packages, is_proxied
        self.lock, self.wrong_codes = threading.Lock(), WrongCodes()
        self._expired_s = 0.0

    def service_actions(self) -> None:
        """Erase what has expired, once a minute."""
        now_s = time.time()
        if abs(now_s - self._expired_s) >= EXPIRE_EVERY_S:
            self._expired_s = now_s
            with self.lock:
                self.invitations.expire(now_s)

    def answer(self, address: str, asked: dict[str, str]) -> str:
        """Return the body for a request, "" for a confirmation; one at a time.

        Raises:
            RefusedError: there is nothing for it.
        """
        code, machine, now_s = asked["code"], asked["machine"], time.time()
        with self.lock:
            if self.wrong_codes.are_too_many(address, now_s):
                raise RefusedError(TOO_MANY, "too many wrong codes from this address; wait ten minutes")
            try:
                if asked.get("done"):
                    say(f"{self.invitations.confirm(code, machine, now_s)} has joined, from {address}")
                    return ""
                given = self.invitations.claim(code, machine, now_s)
            except RefusedError as error:
                self.wrong_codes.add(address, now_s)
                say(f"{error.device or 'a code'} refused to {address}: {error}")
                raise
        say(f"configuration of {given['device']} given to {address}")
        return json.dumps(given)


class Handler(BaseHTTPRequestHandler):
    """One request."""

    timeout = TIMEOUT_S
    server: JoinService

    def do_GET(self) -> None:
        """Give the script, or a package."""
        package = PACKAGE.fullmatch(self.path)
        file = SCRIPT if self.path == "/join" else self._newest(package[1]) if package else None
        if file is None:
            self._say(NOT_FOUND, "not here\n")
            return
        with file.open("rb") as stream:
            self._head(200, file.stat().st_size)
            shutil.copyfileobj(stream, self.wfile)

    def do_POST(self) -> None:
        """Give configuration and token for a code."""
        try:
            body = self.server.answer(self._address(), self._asked())
        except RefusedError as error:
            self._say(error.status, f"{error}\n")
        else:
            self._say(200 if body else DONE, body)

    def _asked(self) -> dict[str, str]:
        length = self.headers.get("Content-Length", "")
        is_short = length.isdecimal() and int(length) <= MAX_BODY
        try:
            asked = json.loads(self.rfile.read(int(length)) if is_short and self.path == "/join" else b"")
            is_right = CODE.fullmatch(asked["code"]) and MACHINE.fullmatch(asked["machine"])
        except (ValueError, TypeError, KeyError, RecursionError):
            is_right = None
        if not is_right:
            raise RefusedError(BAD_REQUEST, "expected what `belabox-metrics join` sends")
        return dict(asked)

    def _address(self) -> str:
        """Return who asks: the last that a proxy names is the one that it saw itself."""
        named = self.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip() if self.server.is_proxied else ""
        return named if re.fullmatch(r"[0-9a-fA-F.:]{2,45}", named) else str(self.client_address[0])

    def _newest(self, arch: str) -> Path | None:
        found = self.server.packages.glob(f"*_{arch}.deb")
        return max(found, key=lambda file: file.stat().st_mtime, default=None)

    def _say(self, status: int, text: str) -> None:
        body = text.encode()
        self._head(status, len(body))
        self.wfile.write(body)

    def _head(self, status: int, length: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Log nothing of requests as such: a mistyped one may have a code in it."""


def serve(_auth: VmauthFile, options: argparse.Namespace) -> int:
    """Serve until Ctrl-C or SIGTERM; return the exit code."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    host, _, port = options.listen.rpartition(":")
    with JoinService(
        (host, int(port)), Invitations(options.invitations), options.packages, is_proxied=options.proxied
    ) as service:
        say(f"listening on {host}:{service.server_port}; without TLS before it, whoever is on the way reads along")
        try:
            service.serve_forever()
        except KeyboardInterrupt:
            return 0
    return 0


def say(line: str) -> None:
    """Log a line, at once."""
    print(line, file=sys.stdout, flush=True)
