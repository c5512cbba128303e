"""A machine joins a fleet with a one-time code: the real command and service, and the real Caddy before it with TLS."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from ssl import create_default_context
from typing import NamedTuple
from urllib.request import Request

import pytest

from deploy.command.join import _machine as this_machine
from tests.free_port import free_port
from tests.harness import ROOT, require, wait_for
from tests.http_answer import answer

LINE = re.compile(r"curl -fsS (\S+) \| sudo sh -s (\S+#(\S+))")
GLOBAL = "{{\n\tadmin off\n\tauto_https disable_redirects\n\tskip_install_trust\n}}\n{}"
OTHER_MACHINE = "ab" * 32


class Said(NamedTuple):
    """What a command ended with."""

    code: int
    out: str
    err: str


class Server:
    """The host of the server side: its service, Caddy before it, and the command of its administrator."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log = folder, folder / "serve.log"
        self._inside, port = free_port(), free_port()
        self.url = f"https://localhost:{port}"
        self.authority = folder / "caddy/pki/authorities/local/root.crt"
        caddyfile = (ROOT / "deploy/docker/Caddyfile").read_text(encoding="utf-8").replace("join:8600", self.inside)
        (folder / "Caddyfile").write_text(GLOBAL.format(caddyfile), encoding="utf-8")
        self._started: list[subprocess.Popen[bytes]] = []

    @property
    def inside(self) -> str:
        """Return where the service listens, before which Caddy is."""
        return f"127.0.0.1:{self._inside}"

    def start(self) -> None:
        """Start both; wait until they answer."""
        serve = [sys.executable, "-m", "deploy.fleet", "serve", "--proxied", "--listen", self.inside]
        self._run([*serve, "--invitations", f"{self.folder}/invitations", "--packages", f"{self.folder}/packages"], {})
        self._run(
            [require("caddy"), "run", "--adapter", "caddyfile", "--config", f"{self.folder}/Caddyfile"],
            {"DOMAIN": self.url, "XDG_DATA_HOME": str(self.folder)},
        )
        wait_for("Caddy", lambda: self.authority.exists() and self.ask("/join")[0] == 200)

    def stop(self) -> None:
        """End both."""
        for process in self._started:
            process.terminate()
            process.wait(30)

    def fleet(self, *arguments: str) -> Said:
        """Call the administrator's command."""
        places = ("--invitations", f"{self.folder}/invitations", *self._out(arguments[0]))
        command = ["-m", "deploy.fleet", "--auth", f"{self.folder}/auth.yml", *arguments, *places]
        return said([sys.executable, *command], {})

    def invite(self, device: str, *options: str) -> tuple[str, str]:
        """Add and invite a device; return the URL with the code, and the code."""
        done = self.fleet("add", device, "--server", self.url, "--invite", *options)
        assert (0, "") == (done.code, done.err)
        script, url, code = LINE.findall(done.out)[0]
        assert f"{self.url}/join" == script
        return url, code

    def ask(self, path: str, asked: dict[str, object] | None = None) -> tuple[int, str]:
        """Return status and text of an answer; 0 while there is none."""
        headers = {"X-Forwarded-For": f"203.0.113.{os.urandom(1)[0]}"}  # a stranger's own word
        request = Request(self.url + path, json.dumps(asked).encode() if asked else None, headers)
        return answer(request, context=create_default_context(cafile=self.authority))

    def _out(self, command: str) -> tuple[str, ...]:
        return ("--out", f"{self.folder}/devices") if command != "revoke" else ()

    def _run(self, command: list[str], environment: dict[str, str]) -> None:
        with self.log.open("ab") as log:
            started = subprocess.Popen(command, stdout=log, stderr=log, cwd=ROOT, env={**os.environ, **environment})
        self._started.append(started)


@pytest.fixture
def server(run_dir: Path) -> Iterator[Server]:
    """A server that answers."""
    made = Server(run_dir)
    try:
        made.start()
        yield made
    finally:
        made.stop()
        print(made.log.read_text(encoding="utf-8")[-3000:])


def said(command: list[str], environment: dict[str, str]) -> Said:
    """Run a command; return what it ended with."""
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, timeout=90, check=False
    )
    return Said(done.returncode, done.stdout, done.stderr)


def join(server: Server, folder: Path, *arguments: str, text: str | None = None) -> Said:
    """Call the command on a machine whose configuration is as it was installed, or a text of its own."""
    (folder / "run").mkdir(parents=True, exist_ok=True)
    config = folder / "config.yaml"
    if text is not None:
        config.write_text(text, encoding="utf-8")
    elif not config.exists():
        shutil.copy(ROOT / "deploy/config.yaml", config)
    environment = {"RUN_DIR": f"{folder}/run", "CONFIG": str(config), "SSL_CERT_FILE": str(server.authority)}
    command = [str(ROOT / "deploy/belabox-metrics"), "join", *arguments]
    return said(command, {**environment, "BELABOX_METRICS_PYTHON": sys.executable})


def test_a_machine_joins_with_one_line_and_once(server: Server, run_dir: Path) -> None:
    """It becomes the device; no log, no output and no file of the server has the token or the code after that."""
    url, code = server.invite("box-1")
    done = join(server, run_dir / "box", url)
    assert (0, "") == (done.code, done.err), done
    (token,) = re.findall(r"bearer_token: (\S+)", (run_dir / "auth.yml").read_text(encoding="utf-8"))
    secret, config = run_dir / "box/api-token", (run_dir / "box/config.yaml").read_text(encoding="utf-8")
    assert (token, 0o600) == (secret.read_text(encoding="ascii").strip(), secret.stat().st_mode & 0o777)
    assert {"id: box-1", f"url: {server.url}/api/v1/import", f'token_file: "{secret}"'} <= set(
        map(str.strip, config.split("\n"))
    )
    log = server.log.read_text(encoding="utf-8")
    assert "box-1 has joined" in log
    kept = "".join(file.read_text(encoding="utf-8") for file in (run_dir / "invitations").iterdir())
    assert [False] * 8 == [word in text for word in (token, code) for text in (log, done.out, done.err, kept)]
    again = join(server, run_dir / "box", url, "--replace")
    assert (77, True, config) == (
        again.code,
        "this code has been used" in again.err,
        (run_dir / "box/config.yaml").read_text("utf-8"),
    )
    assert (ROOT / "deploy/fleet/join.sh").read_text(encoding="utf-8") == server.ask("/join")[1]


def test_a_network_that_is_lost_half_way_costs_nothing(server: Server, run_dir: Path) -> None:
    """The answer was lost: the same machine gets it again; another one is refused, and the log says so."""
    url, code = server.invite("box-1")
    asked = {"code": code, "machine": this_machine(code)}
    body = json.dumps(asked).encode()
    with socket.create_connection(("127.0.0.1", int(server.inside.rpartition(":")[2]))) as lost:
        lost.sendall(b"POST /join HTTP/1.0\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    wait_for("the answer that nobody reads", lambda: "given to" in server.log.read_text(encoding="utf-8"))
    status, words = server.ask("/join", {**asked, "machine": OTHER_MACHINE})
    assert (410, True) == (status, "another machine has used this code" in words)
    assert "box-1 refused to" in server.log.read_text(encoding="utf-8")
    assert 0 == join(server, run_dir / "box", url).code


def test_settings_of_its_own_are_kept(server: Server, run_dir: Path) -> None:
    """Nothing is asked until somebody says that they may go; then they lie beside the new ones."""
    url, _ = server.invite("box-1")
    own = "collectors: {cpu: {interval: 7s}}\n"
    refused = join(server, run_dir / "box", url, text=own)
    assert (64, True) == (refused.code, "--replace" in refused.err), refused
    assert own == (run_dir / "box/config.yaml").read_text(encoding="utf-8")
    assert 0 == join(server, run_dir / "box", url, "--replace").code
    assert own == (run_dir / "box/config.yaml.old").read_text(encoding="utf-8")


def test_what_is_refused_is_named(server: Server, run_dir: Path) -> None:
    """Expired, revoked, no code at all; and after ten of them this address gets no answer, whatever it claims to be."""
    (late, _), (gone, _) = server.invite("box-1", "--minutes", "0"), server.invite("box-2")
    assert 0 == server.fleet("revoke", "box-2").code
    for url, words in {late: "has expired", gone: "no such code"}.items():
        refused = join(server, run_dir / "box", url)
        assert (77, True) == (refused.code, words in refused.err), refused
    assert 64 == join(server, run_dir / "box", "metrics.example.com").code
    asked: dict[str, object] = {"code": "wrong", "machine": OTHER_MACHINE}
    assert {404} == {server.ask("/join", asked)[0] for _ in range(8)}
    good, _ = server.invite("box-3")
    refused = join(server, run_dir / "box", good)
    assert (77, True) == (refused.code, "too many wrong codes" in refused.err), refused
    assert (400, 404) == (server.ask("/join", {"code": "x"})[0], server.ask("/join/packages/arm64.deb")[0])
    assert not (run_dir / "box/api-token").exists()


def test_a_thousand_are_invited_in_one_go(run_dir: Path) -> None:
    """A line for each, in a file that its owner alone reads; no two codes are alike."""
    (run_dir / "list").write_text("\n".join(f"box-{number}" for number in range(1000)), encoding="ascii")
    done = Server(run_dir).fleet("add", "--list", f"{run_dir}/list", "--invite")
    file = run_dir / "devices/join-lines.txt"
    assert (0, True, 0o600) == (done.code, str(file) in done.out, file.stat().st_mode & 0o777)
    lines = file.read_text(encoding="ascii").splitlines()
    assert [f"box-{number}" for number in range(1000)] == [line.partition("\t")[0] for line in lines]
    codes = {found[1] for line in lines if (found := re.search(r"#([\w-]{22})$", line))}
    assert (1000, False) == (len(codes), any(code in done.out for code in codes))
