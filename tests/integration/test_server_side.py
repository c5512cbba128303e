"""The compose files, without an engine: docker-compose understands them, and the same flags run with real binaries."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request

import pytest
import yaml

from common import VERSION
from tests.fake_vm import FakeVm
from tests.free_port import free_port
from tests.harness import ROOT, Pipeline, finish, require, wait_for
from tests.http_answer import answer
from tests.integration.test_faults import arrived

DOCKER, RULES = ROOT / "deploy/docker", ROOT / "deploy/vmalert"
SINGLE, CLUSTER, TLS = (DOCKER / f"compose{name}.yaml" for name in ("", ".cluster", ".tls"))
LISTEN = "--httpListenAddr="
BINARIES = {"victoriametrics": "victoria-metrics", "vmauth": "vmauth", "vmalert": "vmalert"}
NEWER = {  # than Debian's 1.79.5: what that has instead
    "--notifier.url=http://alertmanager:9093": "--notifier.url=http://127.0.0.1:1",
    "--configCheckInterval=5s": "--loggerLevel=INFO",  # SIGHUP
}


def services(file: Path) -> dict[str, Any]:
    """Return the services of a compose file, with the defaults of its variables."""
    text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", file.read_text(encoding="utf-8"))
    found: dict[str, Any] = yaml.safe_load(text)["services"]
    return found


@pytest.mark.parametrize("file", [SINGLE, CLUSTER], ids=lambda file: file.name)
def test_docker_compose_understands_it(file: Path, tmp_path: Path) -> None:
    """By its own schema; nothing is started."""
    shutil.copytree(DOCKER, tmp_path / "docker")
    (tmp_path / "docker/.env").write_text("GRAFANA_PASSWORD=x\n", encoding="ascii")  # as up.sh makes it
    files = [f"--file={tmp_path}/docker/{name}" for name in (file.name, TLS.name)]
    command = [require("docker-compose"), *files, "--profile", "tls", "config", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (0, "") == (done.returncode, done.stderr)


@pytest.mark.parametrize("file", [SINGLE, CLUSTER, TLS], ids=lambda file: file.name)
def test_what_is_sent_twice_counts_once(file: Path) -> None:
    """Whatever stores or answers has the dedup flag, images are pinned, and vmauth alone is within reach."""
    found = services(file)
    holding = {"victoriametrics", "vmstorage-1", "vmstorage-2", "vmselect"} & found.keys()
    assert [name for name in holding if "--dedup.minScrapeInterval=1ms" not in found[name]["command"]] == []
    assert [name for name, service in found.items() if not re.search(r":v?\d+\.\d+\.\d+", service["image"])] == []
    assert found.get("receiver", {}).get("image") in {None, f"belabox-metrics-receiver:{VERSION}"}
    ports = [port for service in found.values() for port in service.get("ports", [])]
    assert (["80:80", "443:443"] if file is TLS else []) == [
        port for port in ports if not port.startswith("127.0.0.1:")
    ]


def test_an_outage_is_tried_with_the_name_of_the_requirement_documents() -> None:
    """`docker stop victoriametrics`, as MILESTONE-2 has it."""
    assert "victoriametrics" == services(SINGLE)["victoriametrics"]["container_name"]


def test_a_cluster_behind_its_vmauth(run_dir: Path, vm: FakeVm, quick: dict[str, str]) -> None:
    """The cluster's addresses and its tokens: everything arrives once, and the audit is answered."""
    users = (DOCKER / "auth.cluster.example.yml").read_text(encoding="utf-8")
    (run_dir / "auth.yml").write_text(re.sub(r"http://vm(insert|select):\d+", vm.url, users), encoding="utf-8")
    token = run_dir / "token"
    token.write_text("change-me", encoding="ascii")
    token.chmod(0o600)
    address = f"127.0.0.1:{free_port()}"
    settings = {
        "BELABOX_DEVICE__ID": "belabox-001",  # whose token it is: another's samples are written under this name
        "BELABOX_REMOTE__AUTH__TYPE": "bearer_token", "BELABOX_REMOTE__AUTH__TOKEN_FILE": str(token),
        "BELABOX_REMOTE__AUDIT__QUERY_URL": f"http://{address}/select/0/prometheus/api/v1/query",
        "BELABOX_REMOTE__AUDIT__GRACE": "1s",
    }  # fmt: skip
    command = [require("vmauth"), f"--auth.config={run_dir / 'auth.yml'}", f"{LISTEN}{address}"]
    pipeline = Pipeline(run_dir / "p", f"http://{address}/insert/0/prometheus/api/v1/import", {**quick, **settings})
    ledger = run_dir / "ledger"
    pipeline.add_program("oracle", f"{sys.executable} -m tests.oracle --age 600 --ledger {ledger}")
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as proxy:
        try:
            with pipeline:
                wait_for("samples", lambda: arrived(vm))
                expected = finish(ledger)
                wait_for("all of them", lambda: expected <= arrived(vm).keys())
                verified = "SELECT count(*) FROM windows WHERE state = 1"
                wait_for("an audit", lambda: pipeline.rows(verified)[0][0] > 0, 60)
        finally:
            proxy.terminate()
    assert set(arrived(vm).values()) == {1}


class Running:
    """Services of compose.yaml on loopback, with the flags that they have there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._services = services(SINGLE)
        self._addresses: dict[str, str] = {}
        self._started: list[subprocess.Popen[bytes]] = []

    def start(self, name: str) -> str:
        """Start one, after those that it refers to; return its address."""
        address = self._addresses[name] = f"127.0.0.1:{free_port()}"
        users = (DOCKER / "auth.example.yml").read_text(encoding="utf-8")
        (self._folder / "auth.yml").write_text(self._here(users), encoding="utf-8")
        command = [NEWER.get(flag, self._here(flag)) for flag in self._services[name]["command"]]
        flags = [f"{LISTEN}{address}" if flag.startswith(LISTEN) else flag for flag in command]
        with (self._folder / f"{name}.log").open("wb") as log:
            self._started.append(subprocess.Popen([require(BINARIES[name]), *flags], stdout=log, stderr=log))
        wait_for(" ".join(flags), lambda: status(f"http://{address}/health") == 200)
        return f"http://{address}"

    def stop(self) -> None:
        """End all of them."""
        for process in reversed(self._started):
            process.terminate()
            process.wait(30)

    def _here(self, text: str) -> str:
        """Return a text with the folders and addresses of this machine in place of the containers'."""
        places = {"=/storage": f"={self._folder}/storage", "/etc/vmauth/auth.yml": f"{self._folder}/auth.yml"}
        for inside, outside in {**places, "/etc/rules": f"{RULES}"}.items():
            text = text.replace(inside, outside)
        for name, address in self._addresses.items():
            text = re.sub(rf"\b{name}:\d+", address, text)
        return text


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    """Services to be started; they end with the test."""
    made = Running(tmp_path)
    yield made
    made.stop()


def test_the_flags_are_those_of_the_real_programs(running: Running) -> None:
    """A device's token lets it write and look; nothing does without one."""
    running.start("victoriametrics")
    auth = running.start("vmauth")
    running.start("vmalert")
    line = b'{"metric":{"__name__":"tried"},"values":[1],"timestamps":[1795000000000]}\n'
    assert 401 == status(f"{auth}/api/v1/import", data=line)
    token = {"Authorization": "Bearer change-me"}
    assert 204 == status(f"{auth}/api/v1/import", token, line)
    assert 200 == status(f"{auth}/api/v1/query?query=tried", token)
    assert 400 <= status(f"{auth}/api/v1/admin/tsdb/delete_series?match[]=tried", token)


def status(url: str, headers: dict[str, str] | None = None, data: bytes | None = None) -> int:
    """Return the status of an answer, 0 while there is none."""
    return answer(Request(url, data=data, headers=headers or {}))[0]


def test_one_command_makes_what_is_missing_and_nothing_twice(tmp_path: Path) -> None:
    """A token, a password and their modes; the second time they stay, and docker is called with what was given."""
    docker = tmp_path / "deploy/docker"
    for name in ("docker", "fleet"):
        shutil.copytree(ROOT / "deploy" / name, tmp_path / "deploy" / name)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/docker").write_text('#!/bin/sh\necho "$@"\n', encoding="ascii")
    (tmp_path / "bin/docker").chmod(0o755)
    secrets = [docker / ".env", docker / "auth/auth.yml"]
    told = docker / "alertmanager/alertmanager.yml"

    def up(*arguments: str) -> str:
        done = subprocess.run(
            [str(docker / "up.sh"), *arguments], env={"PATH": f"{tmp_path}/bin:/usr/bin:/bin"},
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert 0 == done.returncode, done.stderr
        return done.stdout

    first, made = up(), [file.read_bytes() for file in secrets]
    assert 0o644 == told.stat().st_mode & 0o777  # another user's inside
    told.write_text("mine", encoding="ascii")
    assert [0o600, 0o600] == [file.stat().st_mode & 0o777 for file in secrets]
    assert f"compose -f {docker}/compose.yaml -f {docker}/compose.tls.yaml up -d" in first
    assert not any(line.partition(b"=")[2].decode() in first for line in made[0].splitlines())
    second = up("--cluster", "--profile", "logs")
    assert f"compose -f {docker}/compose.cluster.yaml -f {docker}/compose.tls.yaml --profile logs up -d" in second
    assert made == [file.read_bytes() for file in secrets]
    assert "mine" == told.read_text(encoding="ascii")


def test_alerts_go_to_who_is_named(tmp_path: Path) -> None:
    """Alertmanager's own checker takes the example; each receiver has a way of its own, and nobody is the first."""
    text = (DOCKER / "alertmanager.example.yml").read_text(encoding="utf-8")
    found = yaml.safe_load(text)
    assert "nobody" == found["route"]["receiver"]
    assert [1, 2, 2, 2] == [len(receiver) for receiver in found["receivers"]]
    (tmp_path / "config.yml").write_text(text.replace("bot_token_file: /", "bot_token: /"), encoding="utf-8")  # of 0.26
    checked = subprocess.run([require("amtool"), "check-config", str(tmp_path / "config.yml")], check=False)
    assert 0 == checked.returncode


def test_without_compose_it_says_so_before_it_makes_anything(tmp_path: Path) -> None:
    """Docker alone is what many a package brings."""
    shutil.copytree(DOCKER, tmp_path / "docker", ignore=shutil.ignore_patterns(".env", "auth", "alertmanager"))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/dirname").symlink_to("/usr/bin/dirname")
    command, environment = [str(tmp_path / "docker/up.sh")], {"PATH": f"{tmp_path}/bin"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (69, True) == (done.returncode, "docker compose is not installed" in done.stderr)
    assert not (tmp_path / "docker/.env").exists()


def test_the_receivers_image_holds_all_it_needs(tmp_path: Path) -> None:
    """What its Dockerfile copies runs by itself, as its command says, with Python's own library alone."""
    dockerfile = (DOCKER / "receiver.Dockerfile").read_text(encoding="utf-8")
    for source, target in re.findall(r"(?m)^COPY (\S+) (\S+)$", dockerfile):
        copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copy
        (tmp_path / target.removeprefix("/app/")).parent.mkdir(parents=True, exist_ok=True)
        copy(ROOT / source, tmp_path / target.removeprefix("/app/"))
    (command,) = re.findall(r"(?m)^CMD (\[.*\])$", dockerfile)
    address = free_port()
    places = {"9090": str(address), "0.0.0.0": "127.0.0.1", "/data/received.jsonl": str(tmp_path / "received.jsonl")}
    arguments = [places.get(word, word) for word in yaml.safe_load(command)]
    with subprocess.Popen([sys.executable, "-S", *arguments[1:]], cwd=tmp_path, stdout=subprocess.DEVNULL) as receiver:
        try:
            wait_for("the receiver", lambda: status(f"http://127.0.0.1:{address}/health") == 200)
        finally:
            receiver.terminate()
