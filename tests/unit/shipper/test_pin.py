"""Certificate pinning, and proxies on the way."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from common.remote import Tls
from shipper.http import pin
from shipper.http.transport import Transport, TransportError
from tests.fake_vm import FakeVm
from tests.unit.shipper.stub import tcp_server
from tests.unit.shipper.test_transport import OK, request_of, send

Open = Callable[..., Transport]


def openssl(*arguments: str, text: bytes = b"") -> bytes:
    """Run openssl."""
    return subprocess.run(["openssl", *arguments], input=text, check=True, capture_output=True).stdout


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with a key and a certificate of 127.0.0.1."""
    folder = tmp_path_factory.mktemp("tls")
    openssl(
        "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
        "/CN=127.0.0.1", "-addext",
        "subjectAltName=IP:127.0.0.1", "-keyout", f"{folder}/key.pem", "-out", f"{folder}/cert.pem",
    )  # fmt: skip
    return folder


@pytest.fixture
def secure(certificate: Path) -> Iterator[str]:
    """Give the URL of a server with that certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")

    def serve(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as wrapped:
            if request_of(wrapped):
                wrapped.sendall(OK)

    with tcp_server(serve) as url:
        yield url.replace("http:", "https:")


def key_of(certificate: Path) -> str:
    """Return what curl's manual says of how to make a pin."""
    public = openssl("x509", "-in", f"{certificate}/cert.pem", "-pubkey", "-noout")
    der = openssl("pkey", "-pubin", "-outform", "der", text=public)
    return openssl("base64", text=openssl("dgst", "-sha256", "-binary", text=der)).decode().strip()


def test_a_key_has_the_fingerprint_that_openssl_finds(certificate: Path) -> None:
    """And what is no certificate has none."""
    der = openssl("x509", "-in", f"{certificate}/cert.pem", "-outform", "der")
    assert key_of(certificate) == pin.fingerprint(der)
    for length in range(0, 300, 7):
        with pytest.raises(ssl.SSLError):
            pin.fingerprint(der[:length])


@pytest.mark.parametrize("prefix", ["", "sha256//"])
def test_a_server_with_a_pinned_key_is_trusted(
    secure: str, certificate: Path, open_transport: Open, prefix: str
) -> None:
    """One of two is enough: the other may be the next one."""
    tls = Tls(("A" * 43 + "=", prefix + key_of(certificate)))
    assert 204 == send(open_transport(url=secure, ca_file=certificate / "cert.pem", tls=tls))


def test_a_server_with_another_key_is_not(secure: str, certificate: Path, open_transport: Open) -> None:
    """However valid its certificate; the message says what to compare."""
    tls = Tls(("A" * 43 + "=",))
    with pytest.raises(TransportError, match=r"remote\.tls\.pin") as caught:
        send(open_transport(url=secure, ca_file=certificate / "cert.pem", tls=tls))
    assert "tls" == caught.value.reason


class Proxy:
    """An HTTP proxy that relays one connection after another.

    Attributes:
        url: of it.
        asked: the first line of each request to it.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.asked: list[str] = []


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    """Give a proxy for both ways."""
    running = Proxy("")

    def relay(source: socket.socket, sink: socket.socket) -> None:
        try:
            while part := source.recv(65536):
                sink.sendall(part)
        except OSError:
            pass  # the other end is gone

    def serve(connection: socket.socket) -> None:
        head = connection.recv(65536)
        running.asked.append(head.split(b"\r\n")[0].decode())
        method, target, _ = running.asked[-1].split(" ")
        address = target if method == "CONNECT" else target.split("/")[2]
        host, port = address.split(":")
        with socket.create_connection((host, int(port))) as server:
            if method == "CONNECT":
                connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                server.sendall(head)
            back = threading.Thread(target=relay, args=(server, connection), daemon=True)
            back.start()
            relay(connection, server)
            server.shutdown(socket.SHUT_RDWR)
            back.join(5)

    with tcp_server(serve) as url:
        running.url = url.removesuffix("/api/v1/import")
        yield running


def test_uploads_go_through_a_proxy(vm: FakeVm, proxy: Proxy, open_transport: Open) -> None:
    """And are counted."""
    transport = open_transport(proxy=proxy.url)
    assert 204 == send(transport)
    transport.close()
    assert [f"POST {vm.import_url} HTTP/1.1"] == proxy.asked
    assert transport.meter.read() > 0


def test_tls_goes_through_a_proxy_by_connect(
    secure: str, certificate: Path, proxy: Proxy, open_transport: Open
) -> None:
    """The proxy sees where to and no more; the pin is of the server, not of the proxy."""
    transport = open_transport(
        url=secure, ca_file=certificate / "cert.pem", proxy=proxy.url, tls=Tls((key_of(certificate),))
    )
    assert 204 == send(transport)
    transport.close()
    assert [f"CONNECT {secure.split('/')[2]} HTTP/1.1"] == [
        line.replace("HTTP/1.0", "HTTP/1.1") for line in proxy.asked
    ]


def test_a_proxy_that_is_not_there_is_no_answer(vm: FakeVm, open_transport: Open) -> None:
    """And nothing goes around it."""
    with pytest.raises(TransportError) as caught:
        send(open_transport(proxy="http://127.0.0.1:9"))
    assert ("connection", []) == (caught.value.reason, vm.requests())


def test_the_environments_proxies_are_ignored(
    vm: FakeVm, open_transport: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A variable of somebody's shell is not where a device's data goes."""
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert 204 == send(open_transport())
