"""`deploy/deploy.sh` over a real sshd on loopback; what it calls there is played, or it would change this machine."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from common import VERSION
from deploy.command.waiting import judged
from tests.free_port import free_port
from tests.harness import ROOT, require, wait_for

# Each is told by the package's text how the installation goes; `log` has what was called.
PLAYED = {
    "dpkg": """case $1 in
--print-architecture) echo amd64 ;;
-i) echo "dpkg -i $(cat "$2") downgrade=${BELABOX_DOWNGRADE:-no}" >> "$DEVICE/log"; cp "$2" "$DEVICE/installed" ;;
esac""",
    "dpkg-query": 'cat "$DEVICE/installed" 2>/dev/null',
    "belabox-metrics": """case $1 in
wait) grep -q good "$DEVICE/installed" ;;
page) echo http://127.0.0.1:9100/ ;;
esac""",
}


class Device:
    """What can be reached over ssh, and a tree to deploy from."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.tree = folder / "the tree"
        (self.tree / "deploy/deb").mkdir(parents=True)
        for name in ("deploy.sh", "deb/receive.sh"):
            shutil.copy(ROOT / "deploy" / name, self.tree / "deploy" / name)
        (folder / "bin").mkdir()
        for name, text in PLAYED.items():
            self._script(folder / "bin" / name, text)
        self._script(self.tree / "deploy/deb/build.sh", 'cp "$0.text" "$2/belabox-metrics_1_$1.deb"')
        for key in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key)], check=True)
        (folder / "sshd_config").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nPidFile none\nStrictModes no\n"
            f"AuthorizedKeysFile {folder}/user.pub\nPasswordAuthentication no\nUsePAM no\n"
            f"SetEnv PATH={folder}/bin:/usr/bin:/bin DEVICE={folder} "
            f"BELABOX_DEPLOYED={folder}/kept/deployed.deb\n".replace("\\\n", "\n"),
            encoding="ascii",
        )

    def _script(self, file: Path, text: str) -> None:
        file.write_text(f"#!/bin/sh\n{text}\n", encoding="ascii")
        file.chmod(0o755)

    @property
    def listens(self) -> bool:
        """Return whether its sshd takes connections."""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def deploy(self, package: str) -> subprocess.CompletedProcess[str]:
        """Deploy a package that is no more than its text."""
        (self.tree / "deploy/deb/build.sh.text").write_text(package, encoding="ascii")
        ssh = (
            f"ssh -p {self.port} -i {self.folder}/user -o IdentitiesOnly=yes -o StrictHostKeyChecking=no "
            f"-o UserKnownHostsFile={self.folder}/known -o LogLevel=ERROR"
        )
        return subprocess.run(
            [str(self.tree / "deploy/deploy.sh"), f"{getpass.getuser()}@127.0.0.1"], env={**os.environ, "SSH": ssh},
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip

    def log(self) -> list[str]:
        """Return what was installed, in order."""
        return (self.folder / "log").read_text(encoding="ascii").splitlines()


@pytest.fixture
def device(run_dir: Path) -> Iterator[Device]:
    """Give one whose sshd listens."""
    sshd = require("/usr/sbin/sshd")
    made = Device(run_dir)
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where it locks its child in
    with subprocess.Popen([sshd, "-D", "-e", "-f", str(run_dir / "sshd_config")], stderr=subprocess.PIPE) as running:
        try:
            wait_for("sshd", lambda: made.listens)
            yield made
        finally:
            running.terminate()


def test_a_package_is_installed_and_kept(device: Device) -> None:
    """The address of its page is printed."""
    done = device.deploy("1 good")
    assert 0 == done.returncode, done.stderr
    assert "installed 1 good\nhttp://127.0.0.1:9100/\n" in done.stdout
    done = device.deploy("2 good")
    assert "installed 2 good in place of 1 good\n" in done.stdout
    assert ["dpkg -i 1 good downgrade=no", "dpkg -i 2 good downgrade=no"] == device.log()


def test_where_health_does_not_come_the_one_before_is_back(device: Device) -> None:
    """And the call fails, with the device's name."""
    device.deploy("1 good")
    done = device.deploy("2 bad")
    assert (1, True) == (done.returncode, "going back" in done.stderr), done.stderr
    assert f"not deployed: {getpass.getuser()}@127.0.0.1" in done.stderr
    assert ["dpkg -i 1 good downgrade=no", "dpkg -i 2 bad downgrade=no", "dpkg -i 1 good downgrade=yes"] == device.log()


def test_a_first_package_that_fails_has_nothing_to_go_back_to(device: Device) -> None:
    """It says so."""
    done = device.deploy("1 bad")
    assert (1, True) == (done.returncode, "nothing to go back to" in done.stderr), done.stderr


def test_what_counts_as_running() -> None:
    """This version, every process; a server that is away is no reason to go back."""
    processes = {"buffer": {"state": "running"}, "gps": {"state": "off"}}
    assert "" == judged({"version": VERSION, "status": "error", "processes": processes})
    assert "version 0.0.1 answers" in judged({"version": "0.0.1", "processes": processes})
    assert "shipper is fatal" == judged({"version": VERSION, "processes": {"shipper": {"state": "fatal"}}})
