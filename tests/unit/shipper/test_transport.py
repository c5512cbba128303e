"""One exchange over real sockets: what goes out, what comes back, and every way in which nothing does."""

from __future__ import annotations

import gzip
import socket
import ssl
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from common import VERSION
from common.config import ConfigError
from common.log import Log
from common.remote import Auth
from shipper.http.token import Token
from shipper.http.transport import MAX_ANSWER_BYTES, MAX_IDLE_S, Transport, TransportError
from tests.fake_vm import FakeVm
from tests.patience import Patience
from tests.unit.shipper.stub import tcp_server

Open = Callable[..., Transport]
BODY = b'{"metric":{"__name__":"m"},"values":[1],"timestamps":[1795000000000]}\n'
OK = b"HTTP/1.1 204 No Content\r\n\r\n"


def send(transport: Transport) -> int:
    """Post one sample, return the status."""
    return transport.post(transport.pack(BODY)).status


def failure(transport: Transport) -> TransportError:
    """Return how a post fails."""
    with pytest.raises(TransportError) as caught:
        send(transport)
    return caught.value


def be_patient(transport: Transport) -> None:
    """Wait long from now on: the server answers as soon as this machine lets it."""
    transport._remote = replace(transport._remote, timeout_s=20.0)


def request_of(connection: socket.socket) -> bytes:
    """Read a whole request; nothing at the end of the connection."""
    got = b""
    while b"\r\n\r\n" not in got:
        part = connection.recv(65536)
        if not part:
            return b""
        got += part
    head, _, body = got.partition(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
    while len(body) < length:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def test_a_body_arrives_with_its_headers(vm: FakeVm, open_transport: Open) -> None:
    """As decision 5 names them."""
    assert send(open_transport()) == 204
    request = vm.requests()[0]
    assert (1, "/api/v1/import") == (request.stored, request.path)
    assert {
        "content-type": "application/json",
        "content-encoding": "gzip",
        "user-agent": f"belabox-metrics/{VERSION}",
        "x-device-id": "box",
        "content-length": str(request.body_bytes),
    } == request.headers


def test_the_token_goes_along(open_transport: Open) -> None:
    """And nothing else does in its place: no .netrc, no proxy."""
    seen = []

    def serve(connection: socket.socket) -> None:
        seen.append(request_of(connection))
        connection.sendall(OK)

    token = Token(Auth("bearer_token"), {"BELABOX_TOKEN": "t0k3n-for-the-server"}, Log("test"))
    with tcp_server(serve) as url:
        send(open_transport(url=url, token=token))
    assert b"\r\nAuthorization: Bearer t0k3n-for-the-server\r\n" in seen[0]


def test_the_environment_changes_nothing(
    vm: FakeVm, open_transport: Open, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A ~/.netrc would replace the token, a proxy variable the server."""
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login somebody password else\n", encoding="ascii")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "")
    assert send(open_transport()) == 204
    assert "authorization" not in vm.requests()[0].headers


def test_the_same_body_is_packed_to_the_same_bytes(open_transport: Open) -> None:
    """A resend is the same to the byte, whatever the time."""
    transport = open_transport()
    packed = transport.pack(BODY)
    assert packed[4:8] == bytes(4)
    assert packed == transport.pack(BODY)
    assert gzip.decompress(packed) == BODY


def test_compression_can_be_off(vm: FakeVm, open_transport: Open) -> None:
    """Then there is no Content-Encoding either."""
    transport = open_transport(compression=False)
    assert transport.pack(BODY) == BODY
    assert send(transport) == 204
    assert "content-encoding" not in vm.requests()[0].headers
    assert vm.requests()[0].stored == 1


def test_an_empty_body_is_a_good_one(vm: FakeVm, open_transport: Open) -> None:
    """It tells a wrong path from a bad sample."""
    for compression in (True, False):
        transport = open_transport(compression=compression)
        assert transport.post(transport.pack(b"")).status == 204
    assert [0, 0] == [request.samples for request in vm.requests()]


def test_the_connection_is_used_again(vm: FakeVm, open_transport: Open) -> None:
    """A handshake costs more than a chunk."""
    transport = open_transport()
    for _ in range(3):
        send(transport)
    assert len({request.connection for request in vm.requests()}) == 1


def test_a_redirect_is_not_followed(vm: FakeVm, open_transport: Open) -> None:
    """The POST would become a GET, whose 200 acknowledges nothing."""
    vm.script([{"redirect": f"{vm.url}/health"}])
    answer = open_transport().post(b"")
    assert (302, f"{vm.url}/health") == (answer.status, answer.headers["location"])


def test_a_connection_that_was_closed_while_idle_is_no_failure(vm: FakeVm, open_transport: Open) -> None:
    """The server does so after a minute; but it may have been restarted, which has to be looked at."""
    with FakeVm(idle_timeout_s=0.05) as hasty:
        transport = open_transport(url=hasty.import_url)
        send(transport)
        time.sleep(0.2)
        assert send(transport) == 204
        assert len({request.connection for request in hasty.requests()}) == 2
        assert 1 == transport.reconnects


def test_a_connection_that_the_server_announced_to_close_is_no_sign_of_a_restart(open_transport: Open) -> None:
    """It makes a new one for each request."""

    def serve(connection: socket.socket) -> None:
        request_of(connection)
        connection.sendall(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))

    with tcp_server(serve) as url:
        transport = open_transport(url=url)
        assert [204, 204] == [transport.post(b"").status for _ in range(2)]
        assert 0 == transport.reconnects


@pytest.mark.parametrize("ending", ["close", "reset"])
def test_a_connection_that_dies_under_a_request_is_replaced_at_once(open_transport: Open, ending: str) -> None:
    """The close was on its way when the request went out."""
    connections = []

    def serve(connection: socket.socket) -> None:
        connections.append(connection)
        request_of(connection)
        connection.sendall(OK)
        if request_of(connection) and len(connections) == 1:
            if ending == "reset":
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            return
        connection.sendall(OK)

    with tcp_server(serve) as url:
        transport = open_transport(url=url)
        assert [204, 204] == [send(transport), send(transport)]
        transport.close()
    assert len(connections) == 2


def test_a_connection_is_not_used_after_a_long_rest(
    vm: FakeVm, open_transport: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At that moment the server closes it, or a carrier's NAT has long forgotten it."""
    transport = open_transport()
    send(transport)
    transport._used_s -= MAX_IDLE_S + 1
    send(transport)
    assert len({request.connection for request in vm.requests()}) == 2


@pytest.mark.parametrize("step", [{"reset": "before"}, {"reset": "mid_body"}, {"drop": "after_store"}])
def test_a_fresh_connection_that_dies_is_a_failure(vm: FakeVm, open_transport: Open, step: dict[str, str]) -> None:
    """It is asked once, not for ever."""
    vm.script([step])
    assert failure(open_transport()).reason == "connection"
    assert len(vm.requests()) == 1


def test_a_connection_that_dies_twice_is_a_failure(vm: FakeVm, open_transport: Open) -> None:
    """The second time it was a fresh one."""
    transport = open_transport()
    send(transport)
    vm.script([{"reset": "before", "repeat": -1}])
    assert failure(transport).reason == "connection"
    assert len(vm.requests()) == 3


def test_nobody_listening_is_a_failure(open_transport: Open) -> None:
    """In words of the operating system."""
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    error = failure(open_transport(url=f"http://127.0.0.1:{port}/api/v1/import?key=topsecret"))
    assert str(error) == "connection: Connection refused"


def test_a_name_without_an_address_is_a_failure(open_transport: Open) -> None:
    """Of its own kind: in a tunnel it is the first to fail."""
    error = failure(open_transport(url="http://nowhere.invalid/api/v1/import?key=topsecret", connect_timeout_s=20.0))
    assert error.reason in {"name_lookup", "timeout"}
    assert "topsecret" not in str(error)


def test_a_server_that_hangs_is_given_up(vm: FakeVm, open_transport: Open) -> None:
    """After the read timeout; the next request makes a new connection."""
    vm.script([{"hang_s": 5.0}])
    transport = open_transport(timeout_s=0.1)
    patience = Patience(1)
    assert failure(transport).reason == "timeout"
    assert not patience.is_over()
    be_patient(transport)
    assert send(transport) == 204


# The deadline may fall into a finalizer, which swallows it; it is repeated until the call ends.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    "text", [b"HTTP/1.1 200 OK\r\nX-Slow: aaaaaaaaaaaaaaaaaa", b"HTTP/1.1 200 OK\r\n\r\nslow and slow"]
)
def test_a_server_that_drips_is_given_up(open_transport: Open, text: bytes) -> None:
    """Each byte comes within the read timeout, the whole answer does not."""

    def serve(connection: socket.socket) -> None:
        request_of(connection)
        for byte in text * 1000:
            connection.sendall(bytes([byte]))
            time.sleep(0.02)

    with tcp_server(serve) as url:
        patience = Patience(2)
        error = failure(open_transport(url=url, timeout_s=0.1, connect_timeout_s=0.1))
    assert ("timeout", "timeout: no whole answer within 0.2 s") == (error.reason, str(error))
    assert not patience.is_over()


def test_a_server_that_does_not_read_is_given_up(open_transport: Open) -> None:
    """A body that does not go out is bounded too."""
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}/api/v1/import"
        transport = open_transport(url=url, timeout_s=0.1, connect_timeout_s=0.1)
        with pytest.raises(TransportError, match="timeout"):
            transport.post(bytes(16 << 20))


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (b"", "Remote end closed connection without response"),
        (b"ICY 200 OK\r\n\r\n", "the answer is not HTTP"),
        (b"\0" * 100, "the answer is not HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", "the answer ended in its middle"),
        (b"HTTP/1.1 99999\r\n\r\n", "the answer is not HTTP"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n", "the answer is not HTTP"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-" + b"9" * 400 + b"\r\nhello\r\n",
            "the answer is not HTTP",
        ),
    ],
)
def test_what_is_no_answer_is_a_failure(open_transport: Open, answer: bytes, text: str) -> None:
    """Whatever it is instead, in words."""

    def serve(connection: socket.socket) -> None:
        request_of(connection)
        connection.sendall(answer)

    with tcp_server(serve) as url:
        assert f"connection: {text}" == str(failure(open_transport(url=url)))


def test_a_long_answer_is_read_in_part(open_transport: Open) -> None:
    """A portal's page of a megabyte is not worth its data."""

    def serve(connection: socket.socket) -> None:
        request_of(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1_000_000)

    with tcp_server(serve) as url:
        transport = open_transport(url=url)
        assert [MAX_ANSWER_BYTES, MAX_ANSWER_BYTES] == [len(transport.post(b"").body) for _ in range(2)]


def test_cookies_are_not_kept(open_transport: Open) -> None:
    """The server is told nothing but the samples."""
    seen = []

    def serve(connection: socket.socket) -> None:
        while request := request_of(connection):
            seen.append(request)
            connection.sendall(b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n")

    with tcp_server(serve) as url:
        transport = open_transport(url=url)
        for _ in range(2):
            send(transport)
        transport.close()
    assert len(seen) == 2
    assert b"Cookie" not in seen[1]


def test_the_token_goes_to_its_own_server_only(vm: FakeVm, open_transport: Open) -> None:
    """A clock is asked of anybody."""
    seen = []

    def serve(connection: socket.socket) -> None:
        seen.append(connection.recv(65536))
        connection.sendall(OK)

    token = Token(Auth("bearer_token"), {"BELABOX_TOKEN": "t0k3n-for-the-server"}, Log("test"))
    with tcp_server(serve) as url:
        open_transport(token=token).get(url, 1.0)
        own = open_transport(token=token, url=url)
        own.get(f"{url.removesuffix('/api/v1/import')}/health", 1.0)
    assert [False, True] == [b"t0k3n" in request for request in seen]


def test_the_endpoint_is_shown_without_its_query(open_transport: Open) -> None:
    """A key in it is not for a log."""
    transport = open_transport(url="https://h:8443/insert/0/prometheus/api/v1/import?authKey=x&extra_label=a=b")
    assert transport.endpoint == "https://h:8443/insert/0/prometheus/api/v1/import"


class Tls:
    """A server with a certificate of its own making."""

    def __init__(self, folder: Path) -> None:
        self.certificate, key = folder / "certificate.pem", folder / "key.pem"
        subprocess.run(
            [
                "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
                "-keyout", str(key), "-out", str(self.certificate),
            ],
            check=True, capture_output=True,
        )  # fmt: skip
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(self.certificate, key)

    def serve(self, connection: socket.socket) -> None:
        """Answer requests until the client has had enough."""
        with self.context.wrap_socket(connection, server_side=True) as secure:
            while request_of(secure):
                secure.sendall(OK)


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    """A certificate is made once."""
    return Tls(tmp_path_factory.mktemp("tls"))


def test_an_own_authority_is_trusted(tls: Tls, open_transport: Open) -> None:
    """`ca_file` holds the certificate."""
    with tcp_server(tls.serve) as url:
        transport = open_transport(url=url.replace("http", "https"), ca_file=tls.certificate)
        assert [204, 204] == [send(transport), send(transport)]
        transport.close()


def test_an_unknown_authority_is_a_failure(tls: Tls, open_transport: Open) -> None:
    """Nothing is sent to whoever cannot prove who they are."""
    with tcp_server(tls.serve) as url:
        error = failure(open_transport(url=url.replace("http", "https")))
    assert error.reason == "tls"
    assert "tls: the server's certificate is not trusted: self-signed certificate" == str(error)


def test_a_server_that_speaks_no_tls_is_a_failure(vm: FakeVm, open_transport: Open) -> None:
    """TLS to a port that does not speak it."""
    assert failure(open_transport(url=vm.import_url.replace("http", "https"))).reason in {"tls", "connection"}


@pytest.mark.parametrize("content", [None, b"", b"not PEM"])
def test_an_authority_that_cannot_be_read_is_a_configuration_error(
    tmp_path: Path, open_transport: Open, content: bytes | None
) -> None:
    """At the start, not with the first upload."""
    if content is not None:
        (tmp_path / "ca.pem").write_bytes(content)
    with pytest.raises(ConfigError, match=r"remote\.ca_file: .*ca\.pem"):
        open_transport(ca_file=tmp_path / "ca.pem")
