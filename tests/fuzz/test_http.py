"""The real healthd behind a token, under thousands of odd requests: nothing leaks, nothing is a 500, it stays.

FUZZ_MINUTES says how long, FUZZ_SEED which; the seed is printed.
"""

from __future__ import annotations

import random
import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fuzz.rounds import SEED, rounds
from tests.harness import wait_for
from tests.unit.common.child import Child

REQUESTS = 800
TOKEN, DEVICE = "sesame-5f1c9", "device-77aa"
OPEN = ("/login", "/health/live", "/static/", "/shell", "/sw.js")
PATHS = (
    *("/", "/login", "/health", "/health/live", "/health/ready", "/metrics", "/api/now", "/api/plots"),
    *(
        "/api/events",
        "/api/sessions",
        "/api/report",
        "/shell",
        "/sw.js",
        "/static/page.js",
        "/static/../stage.py",
        "/static/%2e%2e/stage.py",
        "//etc/passwd",
        "/api/../api/now",
    ),
)
ODDITIES = ("%00", "%2f", "é", "\t", "..", "%", "?", "#", "\x7f", "a" * 300)
VERSIONS = ("1.1", "1.1", "1.1", "1.0", "2.0", "0.9")
METHODS = ("GET", "GET", "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "get", "")
HEADERS = (
    b"Host: x", b"Content-Length: 5", b"Content-Length: -1", b"Content-Length: 99999999999999999999",
    b"Content-Length: x",
    b"Transfer-Encoding: chunked", b"Expect: 100-continue", b"Cookie: belabox_metrics=1.2; ;=;x", b"Cookie: \xff\xfe=",
    b"Authorization: Bearer", b"Authorization: Basic eDp5", b"Connection: close, upgrade", b"Upgrade: websocket",
    b"Accept-Encoding: gzip;q=nan", b"Range: bytes=0-", b"If-None-Match: *", b"X: " + b"y" * 3000, b": empty",
    b"no colon",
    b"Content-Type: application/x-www-form-urlencoded", b"Content-Type: multipart/form-data; boundary=",
)  # fmt: skip
QUERIES = (
    *(
        "",
        "?",
        "?span_s=300",
        "?span_s=86400&end_ms=1",
        "?span_s=",
        "?span_s=30&span_s=60",
        "?after_ms=%00",
        "?%ff=%zz",
    ),
    *("?start_ms=1&end_ms=60000", "?" + "a=b&" * 500),
)


@pytest.fixture
def healthd(run_dir: Path) -> Iterator[tuple[Child, int]]:
    """A healthd that wants a token, and its port."""
    token = run_dir / "token"
    token.write_text(TOKEN, encoding="ascii")
    token.chmod(0o600)
    environment = {
        "BELABOX_HEALTH__PORT": "0",
        "BELABOX_HEALTH__TOKEN_FILE": str(token),
        "BELABOX_DEVICE__ID": DEVICE,
    }
    with Child(run_dir, ["-m", "healthd"], environment) as child:
        address = run_dir / "healthd.address"
        wait_for("its address", address.exists)
        yield child, int(address.read_text(encoding="ascii").rpartition(":")[2])


class Odd:
    """Requests that no browser makes."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)

    def request(self, *headers: bytes) -> tuple[str, str, bytes]:
        """Return method and path, and the whole request."""
        chance = self._chance
        method, path = chance.choice(METHODS), self._path()
        line = (
            f"{method} {path}{chance.choice(QUERIES)} HTTP/{chance.choice(('1.1', '1.1', '1.1', '1.0', '2.0', '0.9'))}"
        )
        host = [b"Host: x"] if chance.random() < 0.8 else []
        some = chance.sample(HEADERS, chance.randrange(3))
        body = chance.choice(
            (b"", b"", b"token=x", bytes(chance.randrange(256) for _ in range(40)), b"5\r\nhello\r\n0\r\n\r\n")
        )
        return method, path, b"\r\n".join((line.encode(), *host, *headers, *some, b"Connection: close", b"", body))

    def _path(self) -> str:
        chance = self._chance
        path = chance.choice(PATHS)
        if chance.random() < 0.3:
            at = chance.randrange(len(path) + 1)
            path = (
                path[:at] + chance.choice(("%00", "%2f", "é", "\t", "..", "%", "?", "#", "\x7f", "a" * 300)) + path[at:]
            )
        return path


def send(port: int, request: bytes) -> bytes:
    """Return what is answered to a request, all of it."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        received = b""
        try:
            client.sendall(request)
            client.shutdown(socket.SHUT_WR)
            while piece := client.recv(65_536):
                received += piece
        except ConnectionError:
            pass  # closed before all was read: its right
    return received


def status(answer: bytes) -> int:
    """Return an answer's status, 0 where there is none; "100 Continue" is none yet."""
    line = answer.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n").split(b"\r\n", 1)[0].split(b" ")
    return int(line[1]) if len(line) > 1 and line[0].startswith(b"HTTP/") else 0


def test_without_the_token_nothing_is_told(healthd: tuple[Child, int]) -> None:
    """Every answer is a refusal, or one of the few things that are open; the device's name is in none."""
    child, port = healthd
    odd, seen = Odd(SEED), Counter[int]()
    for _ in rounds(REQUESTS, 0.15):
        method, path, request = odd.request()
        answer = send(port, request)
        seen[status(answer)] += 1
        assert status(answer) < 500 or status(answer) == 505, request
        assert DEVICE.encode() not in answer, request
        if status(answer) == 200:
            assert method in {"GET", "HEAD"}, request
            assert path.strip().startswith(OPEN), request
    print(f"answers by status: {dict(sorted(seen.items()))}")
    assert child.process.poll() is None
    assert seen[401] > seen.total() / 20
    plain = send(port, b"GET /api/now HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert 401 == status(plain)


def test_with_the_token_nothing_is_a_bug(healthd: tuple[Child, int]) -> None:
    """What is odd is refused, or answered; 503 says that there is no database yet."""
    child, port = healthd
    odd, seen = Odd(SEED), Counter[int]()
    for _ in rounds(REQUESTS, 0.15):
        _, _, request = odd.request(f"Authorization: Bearer {TOKEN}".encode())
        answer = send(port, request)
        seen[status(answer)] += 1
        assert status(answer) not in {500, 501, 502}, request
        assert TOKEN.encode() not in answer, request
    print(f"answers by status: {dict(sorted(seen.items()))}")
    assert child.process.poll() is None
    assert seen[200] > seen.total() / 40
    assert "internal" not in child.text
