"""Somebody between the device and its server: a captive portal that opens and closes, a proxy with a bad backend.

In: a port to relay to, and a mode that can change at any time. Out: a port to connect to. `python -m
tests.chaos.portal` opens and closes it at random in front of victoria-metrics, which takes uploads and answers no
question: at every closing as many samples are marked uploaded as are at the server, to the sample; then lets every
second upload meet a page: nothing is quarantined, everything arrives.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from tests import oracle
from tests.chaos.device import Device
from tests.chaos.server import RealServer
from tests.harness import require, wait_for
from tests.http_server import serving

PAGE = b"<html><head><title>Log in</title></head></html>"
NAME = oracle.METRIC.replace(".", "_")

# What portals and proxies answer to everything: a status, headers, a body.
PORTALS: dict[str, tuple[int, dict[str, str], bytes]] = {
    "json": (200, {"Content-Type": "application/json"}, b'{"captive":true,"user-portal-url":"https://p.example/"}'),
    "text": (200, {"Content-Type": "text/plain"}, b"Please log in at http://10.0.0.1/login"),
    "empty": (200, {}, b""),
    "refresh": (200, {"Refresh": "0;url=http://portal.example/"}, b""),
    "html": (200, {"Content-Type": "text/html"}, PAGE),
    "moved": (302, {"Location": "http://portal.example/login"}, b""),
    "page204": (204, {}, b""),
}
HOP_BY_HOP = ("content-length", "connection", "transfer-encoding", "date", "server", "host")


class Portal:
    """Relay HTTP to a port of this machine, as well as the mode allows.

    Modes: ``pass``; ``down``, which answers 503; ``gone``, where nobody answers; ``partial``: queries get a part of
    their answer, as of a cluster with a node away; ``blind``: they get 503, as of one whose vmselect is away; one of
    `PORTALS`, which answers everything; a status such as ``413``: every second upload meets a backend that answers with
    a page.

    Args:
        target_port: of the server.
        write_only: questions are answered 401, by somebody who is not the server.
        cluster: the server has the addresses of vminsert and vmselect, and does not say when it was started.

    Attributes:
        port: to connect to; see `portal`.
        mode: as above.
        answered: requests by mode.
        taken: called with the body of each upload that the server took.
    """

    def __init__(self, target_port: int, *, write_only: bool, cluster: bool) -> None:
        self.target_port, self.write_only, self.cluster = target_port, write_only, cluster
        self.taken: Callable[[bytes], None] = lambda _body: None
        self.port = 0
        self.mode = "pass"
        self.answered: Counter[str] = Counter()
        self.uploads = itertools.count()

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        """Return what a request gets."""
        if self.cluster:
            path = path.replace("/insert/0/prometheus", "").replace("/select/0/prometheus", "")
        mode, is_upload = self.mode, path.startswith("/api/v1/import")
        if mode == "gone":
            raise ConnectionResetError
        if mode.isdecimal() and (not is_upload or next(self.uploads) % 2):
            mode = "pass"
        self.answered[mode] += 1
        if mode.isdecimal():
            return int(mode), {"Content-Type": "text/html", "Server": "nginx"}, PAGE
        if mode == "down" or (mode == "blind" and not is_upload):
            return 503, {}, b""
        if mode in PORTALS:
            return PORTALS[mode]
        return self._by_server(method, path, headers, body)

    def _by_server(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        is_upload, is_partial = path.startswith("/api/v1/import"), self.mode == "partial"
        if self.write_only and not is_upload and path != "/health":
            return 401, {}, b""
        if self.cluster and path == "/metrics":
            return 200, {"X-Server-Hostname": "vminsert"}, b"vm_app_start_timestamp 1760000000\n"
        if is_partial:
            headers = {name: value for name, value in headers.items() if name.lower() != "accept-encoding"}
        status, found, text = self._relayed(method, path, headers, body)
        if is_upload and status == http.client.NO_CONTENT:
            self.taken(body)
        is_query = path.startswith("/api/v1/query") and status == http.client.OK
        return status, found, part_of(text) if is_partial and is_query else text

    def _relayed(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        with closing(http.client.HTTPConnection("127.0.0.1", self.target_port, timeout=30)) as connection:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            found = {name: value for name, value in answer.getheaders() if name.lower() not in HOP_BY_HOP}
            return answer.status, found, answer.read()


def part_of(answer: bytes) -> bytes:
    """Return the answer to a query without every second series, as vmselect gives it while a vmstorage is away."""
    found = json.loads(answer)
    found["data"]["result"] = found["data"]["result"][::2]
    return json.dumps({**found, "isPartial": True}).encode()


@contextmanager
def portal(target_port: int, *, write_only: bool = False, cluster: bool = False) -> Iterator[Portal]:
    """Run one in front of a port."""
    running = Portal(target_port, write_only=write_only, cluster=cluster)

    class Handler(BaseHTTPRequestHandler):
        """One connection."""

        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            """Answer any method."""
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            sent = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP}
            try:
                self._send(*running.answer(self.command, self.path, sent, body))
            except (OSError, http.client.HTTPException):  # the server is away, or the device
                self.close_connection = True

        def _send(self, status: int, headers: dict[str, str], text: bytes) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if status != http.client.NO_CONTENT:
                self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_POST = do_GET  # noqa: N815 - the name http.server looks for

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with serving(Handler) as port:
        running.port = port
        yield running


def closings(device: Device, server: RealServer, way: Portal, dice: random.Random, duration_s: float) -> int:
    """Close and open the portal at random; at each closing compare what is marked with what is there; return how often.

    Raises:
        AssertionError: they differ.
    """
    end_s, count = time.monotonic() + duration_s, 0
    while time.monotonic() < end_s:
        time.sleep(dice.uniform(0.3, 2.5))
        way.mode = dice.choice(list(PORTALS))
        seen = way.answered[way.mode]
        wait_for(f"uploads to meet {way.mode}", lambda: way.answered[way.mode] > seen + 1, 30)  # noqa: B023
        marked, there = device.uploaded(), server.values(NAME)
        assert marked == there.keys(), f"{way.mode}: {len(marked)} marked, {len(there)} at the server"
        count += 1
        way.mode = "pass"
    return count


def bad_backend(device: Device, way: Portal, status: int, duration_s: float) -> None:
    """Let every second upload meet a page for some time."""
    way.mode = str(status)
    time.sleep(duration_s)
    wait_for(f"pages with {status}", lambda: way.answered[str(status)] > 1, 30)
    way.mode = "pass"
    assert device.quarantined() == 0


def settled(device: Device, server: RealServer) -> dict[str, int]:
    """Stop the oracle, wait until everything has arrived; return the account."""
    device.stop("oracle")
    published = oracle.published(device.ledger)
    wait_for("everything at the server", lambda: published <= server.values(NAME).keys(), 120)
    wait_for("everything to be marked", lambda: published <= device.uploaded(), 30)
    arrived = server.values(NAME)
    return {
        "published": len(published),
        "lost": len(published - arrived.keys()),
        "doubled": sum(times > 1 for times in arrived.values()),
        "quarantined": device.quarantined(),
    }


@contextmanager
def set_up(folder: Path, binary: str, *, write_only: bool, **keys: str) -> Iterator[tuple[Device, RealServer, Portal]]:
    """Run a device with a portal between it and victoria-metrics."""
    (folder / "vm").mkdir()
    server = RealServer(binary, folder / "vm")
    server.start()
    try:
        with (
            portal(server.port, write_only=write_only) as way,
            Device(folder / "p", f"http://127.0.0.1:{way.port}/api/v1/import", **keys) as device,
        ):
            device.publish()
            wait_for("samples flowing", lambda: len(server.values(NAME)) > 20, 60)
            yield device, server, way
    finally:
        server.kill()


def main() -> int:
    """Run both for half of the time; print the account; exit code 1 when anything is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.portal", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="bm-", dir="/tmp"))
    print(f"portal: seed {options.seed}, {options.minutes:g} minutes", flush=True)
    try:
        with set_up(folder, require("victoria-metrics"), write_only=True) as (device, server, way):
            count = closings(device, server, way, random.Random(options.seed), 30 * options.minutes)
            for status in (400, 413, 404, 502):
                bad_backend(device, way, status, 30 * options.minutes / 4)
            account = settled(device, server)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"closings {count}, " + ", ".join(f"{name} {number}" for name, number in account.items()))
    return int(any(account[name] for name in ("lost", "doubled", "quarantined")))


if __name__ == "__main__":
    sys.exit(main())
