"""Through the real thing: shipper, TLS and a token, vmauth, victoria-metrics; and each way to be refused."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from tests import oracle
from tests.chaos.server import RealServer
from tests.free_port import free_port
from tests.harness import Pipeline, finish, require, wait_for

TOKEN = "sesame-71c0de"
USERS = """
users:
  - name: belabox-001
    bearer_token: {token}
    url_prefix: {url}
"""


class Authority:
    """A certificate authority of its own, and certificates for the proxy."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self.certificate, self._key = folder / f"{name}.pem", folder / f"{name}.key"
        curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
        self._openssl("req", "-x509", *curve, "-subj", f"/CN={name}", "-days", "2", out=self.certificate, key=self._key)

    def issue(self, name: str, san: str = "IP:127.0.0.1", days: int = 2) -> tuple[Path, Path]:
        """Return a certificate and its key; one of negative days has expired."""
        certificate, key = self._folder / f"{name}.crt", self._folder / f"{name}.key"
        request, extensions = self._folder / f"{name}.csr", self._folder / f"{name}.ext"
        extensions.write_text(f"subjectAltName={san}\n", encoding="ascii")
        curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
        self._openssl("req", *curve, "-subj", "/CN=proxy", out=request, key=key)
        signed = ("-CA", str(self.certificate), "-CAkey", str(self._key), "-CAcreateserial")
        asked = ("-in", str(request), "-days", str(days), "-extfile", str(extensions))
        self._openssl("x509", "-req", *asked, *signed, out=certificate)
        return certificate, key

    def _openssl(self, *arguments: str, out: Path, key: Path | None = None) -> None:
        made = ("-keyout", str(key)) if key else ()
        command = [require("openssl"), *arguments, *made, "-out", str(out)]
        subprocess.run(command, check=True, capture_output=True, timeout=30)


class Vmauth:
    """The real vmauth on a port of its own."""

    def __init__(self, folder: Path, server: str) -> None:
        self._config = folder / "auth.yml"
        self._config.write_text(USERS.format(token=TOKEN, url=server), encoding="ascii")
        self._log = folder / "vmauth.log"
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def serve(self, certificate: tuple[Path, Path]) -> None:
        """Listen with a certificate; what listened before ends."""
        self.end()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    require("vmauth"), f"-auth.config={self._config}", f"-httpListenAddr=127.0.0.1:{self.port}",
                    "-tls", f"-tlsCertFile={certificate[0]}", f"-tlsKeyFile={certificate[1]}",
                ],
                stdout=log, stderr=log,
            )  # fmt: skip
        wait_for("vmauth", self._listens)

    def end(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def _listens(self) -> bool:
        try:
            with urlopen(f"https://127.0.0.1:{self.port}/health", timeout=5):
                return True
        except URLError as error:
            return "refused" not in str(error)  # a certificate that we do not know is an answer


@pytest.fixture
def vmauth(run_dir: Path, server: RealServer) -> Iterator[Vmauth]:
    """A real vmauth before it."""
    proxy = Vmauth(run_dir, server.url)
    yield proxy
    proxy.end()


def test_each_refusal_is_named_and_loses_nothing(
    run_dir: Path, server: RealServer, vmauth: Vmauth, quick: dict[str, str]
) -> None:
    """Expired, for another host, of another authority, a wrong token: health says which; then all of it arrives."""
    ours, theirs = Authority(run_dir, "ours"), Authority(run_dir, "theirs")
    good = ours.issue("good")
    token = run_dir / "token"
    token.write_text(TOKEN, encoding="ascii")
    token.chmod(0o600)
    environment = {
        **quick,
        "BELABOX_REMOTE__AUTH__TYPE": "bearer_token",
        "BELABOX_REMOTE__AUTH__TOKEN_FILE": str(token),
        "BELABOX_REMOTE__CA_FILE": str(ours.certificate),
    }
    ledger = run_dir / "ledger"
    pipeline = Pipeline(run_dir / "p", f"https://127.0.0.1:{vmauth.port}/api/v1/import", environment)
    pipeline.add_program("oracle", f"{sys.executable} -m tests.oracle --ledger {ledger}")

    def arrived() -> set[int]:
        return set(server.values(oracle.METRIC.replace(".", "_")))

    def wait_flowing() -> None:
        before = len(arrived())
        wait_for("samples flowing", lambda: len(arrived()) > before + 20, 60)

    def wait_named(word: str) -> None:
        said: list[str] = []

        def is_named() -> bool:
            said[:] = [str(pipeline.health()[1].get("uploader", {}).get("last_error")).lower()]
            return word in said[0]

        try:
            wait_for(word, is_named, 60)
        finally:
            print(f"health: {said[0]}")

    vmauth.serve(good)
    with pipeline:
        wait_flowing()
        for word, certificate in {
            "expired": ours.issue("expired", days=-1),
            "ip address mismatch": ours.issue("other", san="DNS:other.example"),
            "unable to get local issuer": theirs.issue("foreign"),
        }.items():
            vmauth.serve(certificate)
            wait_named(word)
            vmauth.serve(good)
            wait_flowing()
        token.write_text("wrong", encoding="ascii")
        wait_named("http_40")  # older ones say 400 where newer ones say 401
        assert "wrong" not in str(pipeline.health()[1])
        token.write_text(TOKEN, encoding="ascii")
        wait_flowing()
        expected = finish(ledger)
        wait_for("everything at the server", lambda: expected <= arrived(), 60)
    assert dict.fromkeys(expected, 1) == dict(server.values(oracle.METRIC.replace(".", "_")))
