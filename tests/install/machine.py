"""A clean Debian with systemd as its first process, in a container of systemd-nspawn.

The network is this machine's, or a cable to this machine and nothing else.

Reads: Debian's archive, through debootstrap. Needs root, debootstrap and systemd-nspawn (`systemd-container`).
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.harness import ROOT, wait_for

SUITE = "bookworm"  # what BELABOX's images of today are beside; its Python is 3.11
PACKAGES = "systemd,systemd-sysv,dbus,python3,python3-venv,sudo,curl,iproute2"
BUILD_S, BOOT_S = 900, 60
HOST, ADDRESS, INSIDE = "10.93.7.1", "10.93.7.2", "cable0"
PROGRAMS = ("debootstrap", "systemd-nspawn", "nsenter")


def missing() -> list[str]:
    """Return what keeps this machine from having another one in it."""
    lacking = [name for name in PROGRAMS if shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin") is None]
    return [*lacking, *(["root"] if os.geteuid() else [])]


def copy_tree(folder: Path) -> None:
    """Copy the files of this tree that git knows."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True)
    for name in filter(None, listed.stdout.split("\0")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name, follow_symlinks=False)


@contextmanager
def clean_machine(
    run_dir: Path, prepare: Callable[[Machine], None] = lambda _: None, *, has_cable: bool = False
) -> Iterator[Machine]:
    """Give a clean machine that has started, with this tree and its packages; `prepare` is called before it starts."""
    if lacking := missing():
        pytest.skip(f"A REAL MACHINE WAS NOT TRIED, it needs: {', '.join(lacking)}")
    if sys.version_info[:2] != (3, 11):
        pytest.skip("A REAL MACHINE WAS NOT TRIED: its packages are fetched with its own Python, 3.11")
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--require-hashes",
         "--dest", str(run_dir / "wheels"), "-r", str(ROOT / "requirements.lock")],
        check=True, timeout=300,
    )  # fmt: skip
    made = Machine(run_dir / "machine", has_cable=has_cable)
    try:
        made.build(run_dir / "wheels")
        prepare(made)
        made.boot()
        yield made
    finally:
        made.stop()
        shutil.rmtree(made.root, ignore_errors=True)


class Machine:
    """A machine below a folder.

    Args:
        root: of its files; made by `build`.
        has_cable: it has a network of its own, ADDRESS, in which this machine is HOST.
    """

    def __init__(self, root: Path, *, has_cable: bool = False) -> None:
        self.root = root
        self._cable = f"bm{os.getpid()}" if has_cable else ""
        self._container: subprocess.Popen[bytes] | None = None

    def build(self, wheels: Path) -> None:
        """Install Debian, and put this tree and its packages into it, below /root."""
        subprocess.run(
            ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, str(self.root)],
            check=True, timeout=BUILD_S, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        shutil.copytree(wheels, self.root / "root/wheels")
        copy_tree(self.root / "root/source")

    def boot(self) -> None:
        """Start it and wait until its systemd has nothing left to do."""
        self._container = subprocess.Popen(
            ["systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--boot", f"--directory={self.root}",
             *([f"--network-veth-extra={self._cable}:{INSIDE}"] if self._cable else [])],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        wait_for("its systemd", lambda: "running" in self.try_run("systemctl", "is-system-running"), BOOT_S)
        if self._cable:
            for end, address, run in ((self._cable, HOST, _here), (INSIDE, ADDRESS, self.run)):
                run("ip", "address", "add", f"{address}/24", "dev", end)
                run("ip", "link", "set", end, "up")

    def run(self, *command: str, timeout_s: float = 300.0) -> str:
        """Run a command as its root; return what it says. Fails where the command does."""
        done = self._entered(command, timeout_s)
        assert 0 == done.returncode, f"{' '.join(command)}: {done.stdout[-4000:]}"
        return done.stdout

    def try_run(self, *command: str) -> str:
        """Run a command that may fail; return what it says."""
        return self._entered(command, 60.0).stdout if self._leader() else ""

    def stop(self) -> None:
        """Shut it down."""
        if self._container is not None:
            self._container.send_signal(signal.SIGTERM)
            self._container.wait(90)
            self._container = None

    def _leader(self) -> int:
        """Return the process id of its systemd, 0 before there is one."""
        if self._container is None:
            return 0
        pid = self._container.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
        return int(children[0]) if children else 0

    def _entered(self, command: tuple[str, ...], timeout_s: float) -> subprocess.CompletedProcess[str]:
        environment = ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8"]
        return subprocess.run(
            ["nsenter", f"--target={self._leader()}", "--all", "--root", "--wd", *environment, *command],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout_s, check=False,
        )  # fmt: skip


def _here(*command: str) -> None:
    subprocess.run(command, check=True, timeout=30)
