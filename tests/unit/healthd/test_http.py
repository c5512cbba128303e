"""The HTTP server on a real socket: what it answers, and what slow, endless or wrong clients cost."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from common.log import Log
from common.token_file import TokenFile
from healthd.http import connection as http_connection
from healthd.http.access import Access
from healthd.http.connection import JSON, Reply, Request
from healthd.http.endpoints import Endpoints
from healthd.http.places import MAX_CONNECTIONS
from healthd.http.server import HttpServer
from healthd.page.history import History
from healthd.programs import Snapshot
from healthd.report import View
from healthd.verdict.rollup import assess
from tests.harness import wait_for
from tests.unit.healthd.build import LIMITS, NOW_S, beat, known
from tests.unit.healthd.test_report import view


def answer(request: Request) -> Reply:
    """Echo the path; two of them are special."""
    path = request.path
    if path == "/bug":
        raise KeyError(path)
    body = b"x" * 3_000_000 if path == "/large" else path.encode()
    return Reply(200, JSON, body)


@pytest.fixture
def server() -> Iterator[HttpServer]:
    """A server that echoes paths."""
    running = HttpServer("127.0.0.1", 0, answer, Log("test"), {"/form"})
    yield running
    running.close()


def connection(server: HttpServer) -> http.client.HTTPConnection:
    """A client of it."""
    return http.client.HTTPConnection(*server.server_address[:2], timeout=30)  # type: ignore[arg-type]


def get(server: HttpServer, path: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    """Ask once; return status, headers and body."""
    client = connection(server)
    try:
        client.request(method, path)
        response = client.getresponse()
        return response.status, dict(response.getheaders()), response.read()
    finally:
        client.close()


def raw(server: HttpServer, request: bytes) -> bytes:
    """Send bytes, return all that comes back until the server closes."""
    with socket.create_connection(server.server_address[:2], timeout=30) as client:  # type: ignore[arg-type]
        client.sendall(request)
        received = b""
        while piece := client.recv(65_536):
            received += piece
        return received


def test_get_and_head(server: HttpServer) -> None:
    """HEAD is GET without the body; nothing may be cached and no version is told."""
    status, headers, body = get(server, "/health?verbose=1")
    assert (200, b"/health") == (status, body)
    assert ("no-store", JSON, "7", "belabox-metrics") == (
        headers["Cache-Control"], headers["Content-Type"], headers["Content-Length"], headers["Server"],
    )  # fmt: skip
    status, headers, body = get(server, "/health", "HEAD")
    assert (200, "7", b"") == (status, headers["Content-Length"], body)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "BREW"])
def test_other_methods_are_refused(server: HttpServer, method: str) -> None:
    """Any other method is 405 with what is allowed, as JSON."""
    status, headers, body = get(server, "/health", method)
    assert (405, "GET, HEAD", {"error": "method not allowed"}) == (status, headers["Allow"], json.loads(body))


def test_a_connection_is_kept(server: HttpServer) -> None:
    """Several requests go over one connection, pipelined ones too."""
    client = connection(server)
    bodies = []
    for path in ("/a", "/b"):
        client.request("GET", path)
        bodies.append(client.getresponse().read())
    client.close()
    pipelined = b"GET /c HTTP/1.1\r\nHost: x\r\n\r\nGET /d HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    received = raw(server, pipelined)
    assert ([b"/a", b"/b"], 2, True) == (bodies, received.count(b"200 OK"), received.endswith(b"/d"))


AMBIGUOUS = {
    "two lengths": b"Host: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n",
    "the same length twice": b"Host: x\r\nContent-Length: 1\r\nContent-Length: 1\r\n",
    "a list of lengths": b"Host: x\r\nContent-Length: 1, 1\r\n",
    "a signed length": b"Host: x\r\nContent-Length: +1\r\n",
    "a length and chunks": b"Host: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n",
    "two hosts": b"Host: x\r\nHost: x\r\n",
    "no host": b"Accept: */*\r\n",
    "a space before the colon": b"Host: x\r\nContent-Length : 1\r\n",
    "a folded line": b"Host: x\r\nA: b\r\n c\r\n",
    "a line that ends with a line feed alone": b"Host: x\r\nA: b\nContent-Length: 1\r\n",
    "a carriage return alone": b"Host: x\r\nA: b\rc\r\n",
    "a line without a colon": b"Host: x\r\nhello\r\n",
}


@pytest.mark.parametrize("case", AMBIGUOUS)
def test_what_a_proxy_could_understand_otherwise_is_refused(server: HttpServer, case: str) -> None:
    """With 400 and the end of the connection, whatever the method."""
    for line in (b"GET / HTTP/1.1\r\n", b"POST /form HTTP/1.1\r\n"):
        received = raw(server, line + AMBIGUOUS[case] + b"\r\nxGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (True, 1) == (received.startswith(b"HTTP/1.1 400 "), received.count(b"HTTP/1.1 ")), received
        assert b"Connection: close" in received


def test_http_1_0_needs_no_host(server: HttpServer) -> None:
    """Chunks it does not know."""
    assert raw(server, b"GET /a HTTP/1.0\r\n\r\n").endswith(b"\r\n\r\n/a")
    assert raw(server, b"GET /a HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n").startswith(b"HTTP/1.1 400 ")


def test_an_expectation_is_answered(server: HttpServer) -> None:
    """A form is asked for, a body that nobody wants is not; another expectation is refused."""
    expects = b"Host: x\r\nExpect: 100-continue\r\nContent-Length: 7\r\n\r\n"
    with socket.create_connection(server.server_address[:2], timeout=30) as client:  # type: ignore[arg-type]
        client.sendall(b"POST /form HTTP/1.1\r\n" + expects)
        assert b"HTTP/1.1 100 Continue\r\n\r\n" == client.recv(1000)
        client.sendall(b"token=x")
        assert client.recv(1000).startswith(b"HTTP/1.1 200 ")
    assert raw(server, b"GET /a HTTP/1.1\r\n" + expects).startswith(b"HTTP/1.1 200 ")
    assert raw(server, b"GET /a HTTP/1.1\r\nHost: x\r\nExpect: tea\r\n\r\n").startswith(b"HTTP/1.1 417 ")


BAD_REQUESTS = {
    "no HTTP": (b"hello\r\n\r\n", b"400"),
    "wrong version": (b"GET / HTTP/9.9\r\n\r\n", b"505"),
    "a large header": (b"GET / HTTP/1.1\r\nX: " + b"x" * 60_000 + b"\r\n\r\n", b"431"),
    "a long path": (b"GET /" + b"x" * 60_000 + b" HTTP/1.1\r\n\r\n", b"431"),
    "endless": (b"x" * 60_000, b"431"),
    "many headers": (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n", b"431"),
    "binary": (bytes(range(256)) + b"\r\n\r\n", b"400"),
    "a body": (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 50000\r\n\r\n" + b"x" * 50_000, b"405"),
}


@pytest.mark.parametrize("case", BAD_REQUESTS)
def test_bad_requests_are_refused(server: HttpServer, case: str) -> None:
    """A request that is no request, or too large, gets a JSON error and the end of the connection."""
    request, code = BAD_REQUESTS[case]
    head, _, body = raw(server, request).partition(b"\r\n\r\n")
    assert code == head.split(b" ")[1]
    assert ["error"] == list(json.loads(body))
    assert b"Connection: close" in head
    assert 200 == get(server, "/")[0]


def test_a_body_of_get_is_not_taken_for_a_request(server: HttpServer) -> None:
    """What follows a GET with a body is not answered."""
    smuggled = b"GET /second HTTP/1.1\r\nHost: x\r\n\r\n"
    received = raw(
        server, b"GET /first HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(smuggled), smuggled)
    )
    assert (1, True) == (received.count(b"HTTP/1.1 "), received.endswith(b"/first"))


def test_slow_clients_block_nobody(server: HttpServer) -> None:
    """While clients dribble and one does not read its answer, another is served at once."""
    slow = [socket.create_connection(server.server_address[:2]) for _ in range(MAX_CONNECTIONS - 2)]  # type: ignore[arg-type]
    for client in slow:
        client.sendall(b"GET / HT")
    slow[0].sendall(b"TP/1.1\r\nHost: x\r\n\r\n" + b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
    assert 200 == get(server, "/")[0]
    for client in slow:
        client.close()


def test_half_requests_keep_nobody_out(server: HttpServer) -> None:
    """However many there are: those that have waited longest give up their places."""
    half = [socket.create_connection(server.server_address[:2]) for _ in range(2 * MAX_CONNECTIONS)]  # type: ignore[arg-type]
    for client in half:
        with suppress(OSError):
            client.sendall(b"GET / HT")
    assert 200 == get(server, "/")[0]
    for client in half:
        client.close()


def test_connections_are_bounded(server: HttpServer) -> None:
    """While all places are at work one too many is told to come back; when another ends, it is served."""
    working = [socket.create_connection(server.server_address[:2]) for _ in range(MAX_CONNECTIONS)]  # type: ignore[arg-type]
    for client in working:
        client.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n" * 5)
        assert client.recv(1)  # it is at work; the rest is never read
    assert 503 == wait_for("the last one to be turned away", lambda: busy(server), 5)
    working.pop().close()
    assert wait_for("a free place", lambda: get(server, "/")[0] == 200, 5)
    for client in working:
        client.close()


def busy(server: HttpServer) -> int:
    """Return 503 once no more connections are taken."""
    status = get(server, "/")[0]
    return status if status == 503 else 0


def test_a_request_that_never_ends_is_ended(monkeypatch: pytest.MonkeyPatch, server: HttpServer) -> None:
    """The time for a request counts as a whole: a byte now and then does not stretch it."""
    monkeypatch.setattr(http_connection, "REQUEST_S", 0.3)
    with socket.create_connection(server.server_address[:2], timeout=30) as client:  # type: ignore[arg-type]
        stop = threading.Event()

        def dribble() -> None:
            while not stop.wait(0.05):
                try:
                    client.send(b"x")
                except OSError:
                    return

        dribbling = threading.Thread(target=dribble)
        dribbling.start()
        try:
            assert client.recv(100) == b""
        except ConnectionResetError:
            pass  # closed with bytes unread
        finally:
            stop.set()
            dribbling.join()


def test_a_bug_is_an_answer_too(server: HttpServer) -> None:
    """An exception of an endpoint is 500 and the server goes on."""
    assert (500, {"error": "internal server error"}) == (get(server, "/bug")[0], json.loads(get(server, "/bug")[2]))
    assert 200 == get(server, "/")[0]


def test_a_port_in_use_is_an_error(server: HttpServer) -> None:
    """Two servers do not share a port; after the first is closed the port is free at once."""
    port = int(server.server_address[1])
    with pytest.raises(OSError, match="in use"):
        HttpServer("127.0.0.1", port, answer, Log("test"))
    first = HttpServer("127.0.0.1", 0, answer, Log("test"))
    first.close()
    again = HttpServer("127.0.0.1", int(first.server_address[1]), answer, Log("test"))
    assert (200, f"127.0.0.1:{first.server_address[1]}") == (get(again, "/")[0], again.address)
    again.close()


def test_ipv6_is_listened_on() -> None:
    """An IPv6 address works and is written as in a URL."""
    try:
        running = HttpServer("::1", 0, answer, Log("test"))
    except OSError as error:
        pytest.skip(f"NO IPv6 ON THIS MACHINE: {error}")
    assert (200, "[::1]:") == (get(running, "/")[0], running.address[:6])
    running.close()


def endpoints_of(of: View) -> Endpoints:
    """The paths as loopback has them, with no database behind them."""
    door = Access(None, Path("/nowhere/login-code"), Log("test"))
    return Endpoints(of, History(Path("/nowhere/metrics.db"), {}), {"id": "test", "name": ""}, door)


def ask(endpoints: Endpoints, path: str) -> Reply:
    """GET a path."""
    return endpoints.answer(Request(path))


LONG_AGO = Snapshot(NOW_S - 99, {})
ENDPOINTS = {
    "all is well": (known(), True, {"/health": 200, "/health/live": 200, "/health/ready": 200}),
    "nothing uploaded yet": (known(), False, {"/health": 200, "/health/ready": 503}),
    "degraded": (known(beat("healthd", age_s=60)), True, {"/health": 200, "/health/ready": 503}),
    "error": (LONG_AGO, True, {"/health": 503, "/health/live": 200, "/health/ready": 503}),
    "pages": (known(), True, {"/": 200, "/metrics": 200, "/metrics/samples": 404, "/nope": 404, "/health/": 404}),
}


@pytest.mark.parametrize("case", ENDPOINTS)
def test_endpoints(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each endpoint has its status code for each status of the whole, and JSON or text in it."""
    status, uploaded, expected = ENDPOINTS[case]
    monkeypatch.setattr("time.monotonic", lambda: NOW_S)
    endpoints = endpoints_of(view(status, uploaded=uploaded))
    answers = {path: ask(endpoints, path) for path in expected}
    assert expected == {path: one.status for path, one in answers.items()}
    for one in answers.values():
        assert one.content_type != JSON or isinstance(json.loads(one.body), dict)


def test_ready_without_uploads_follows_the_status(monkeypatch: pytest.MonkeyPatch) -> None:
    """With remote.enabled false there is no first upload to wait for."""
    monkeypatch.setattr("time.monotonic", lambda: NOW_S)
    assert 200 == ask(endpoints_of(view(known(), uploads=False, uploaded=False)), "/health/ready").status


def test_the_path_is_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    """health.path moves the report and what is below it."""
    monkeypatch.setattr("time.monotonic", lambda: NOW_S)
    endpoints = endpoints_of(view(known(), path="/status"))
    paths = ("/status", "/status/live", "/status/ready", "/health")
    assert [200, 200, 200, 404] == [ask(endpoints, path).status for path in paths]


def test_the_verdict_is_only_read() -> None:
    """Answering changes nothing of the view."""
    before = view(known())
    for path in ("/health", "/metrics"):
        ask(endpoints_of(before), path)
    assert before == view(known())
    assert assess(known(), LIMITS, NOW_S) == before.verdict


def test_another_token_ends_what_the_old_one_began(tmp_path: Path) -> None:
    """A phone that watches is asked to log in again, within a second."""
    secret = tmp_path / "token"
    secret.write_text("sesame\n", encoding="ascii")
    secret.chmod(0o600)
    endpoints = Endpoints(
        view(known()), History(tmp_path / "no.db", {}), {"id": "d", "name": ""},
        Access(TokenFile(secret), tmp_path / "login-code", Log("test")),
    )  # fmt: skip
    pieces = endpoints.answer(Request("/api/live", headers={"authorization": "Bearer sesame"})).pieces
    assert pieces is not None
    assert next(pieces).startswith(b"data: ")
    secret.write_text("another\n", encoding="ascii")
    endpoints.show(view(known()))
    assert [] == list(pieces)
    assert 401 == endpoints.answer(Request("/api/live", headers={"authorization": "Bearer sesame"})).status


@pytest.mark.parametrize(
    ("path", "query", "expected"),
    [
        ("/api/plots", {"span_s": "300"}, 503),
        ("/api/plots", {"span_s": "1e3"}, 400),
        ("/api/plots", {"span_s": "5"}, 400),
        ("/api/report", {}, 400),
        ("/api/report", {"start_ms": "9", "end_ms": "3"}, 400),
        ("/api/report", {"start_ms": "1", "end_ms": "999999999999"}, 400),
        ("/api/report", {"start_ms": "1", "end_ms": "60000"}, 503),
        ("/api/events", {"before": "x"}, 400),
        ("/api/sessions", {}, 503),
    ],
)
def test_what_was_is_asked_for_with_sense(path: str, query: dict[str, str], expected: int) -> None:
    """A wrong question is said to be one; without a database there is no answer now."""
    assert expected == endpoints_of(view(known())).answer(Request(path, query=query)).status
