"""Install, run, upgrade with a live database, roll back, uninstall: below a folder, as the unit would start it."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest

from tests.fake_vm import FakeVm
from tests.harness import ROOT, require, wait_for


class Device:
    """A tree with an installation in it, and the service that the unit describes."""

    def __init__(self, root: Path, url: str) -> None:
        self.root = root
        self.prefix, self.releases = root / "opt/belabox-metrics", root / "opt/belabox-metrics.releases"
        self.database = root / "var/lib/belabox-metrics/metrics.db"
        self._run_dir = root / "r"
        self._environment = {
            "PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "RUN_DIR": str(self._run_dir),
            "LOG_DIR": str(root / "var/log/belabox-metrics"), "HOST_ROOT": "/", "SRT_AUTOSTART": "false",
            "CONFIG": str(root / "etc/belabox-metrics/config.yaml"), "PYTHON": str(self.prefix / ".venv/bin/python"),
            "BELABOX_STORAGE__PATH": str(self.database), "BELABOX_REMOTE__URL": url, "BELABOX_HEALTH__PORT": "0",
            "BELABOX_COLLECTORS__CPU__INTERVAL": "1s",
        }  # fmt: skip
        self._service: subprocess.Popen[bytes] | None = None

    def install(self, *options: str, umask: int = 0o022) -> str:
        """Run the installer; return what it says."""
        done = subprocess.run(
            [str(ROOT / "deploy/install.sh"), "--root", str(self.root), *options],
            capture_output=True, text=True, timeout=300, check=False, umask=umask,
        )  # fmt: skip
        assert 0 == done.returncode, done.stdout + done.stderr
        return done.stdout

    def start(self) -> None:
        """Start what the unit's ExecStart starts."""
        self._run_dir.mkdir(mode=0o700, exist_ok=True)
        with (self.root / "service.log").open("ab") as log:
            self._service = subprocess.Popen(
                [self._environment["PYTHON"], str(self.prefix / "deploy/supervisord.py"), "-n", "-c",
                 str(self.prefix / "supervisord.conf")],
                cwd=self.prefix, env=self._environment, stdout=log, stderr=log,
            )  # fmt: skip

    def stop(self) -> None:
        """End it as systemd does."""
        if self._service is not None:
            self._service.send_signal(signal.SIGTERM)
            self._service.wait(60)
            self._service = None

    def times_ms(self) -> list[int]:
        """Return when the processor was looked at, oldest first."""
        if not self.database.exists():
            return []
        query = "SELECT DISTINCT timestamp_ms FROM metrics WHERE metric_name = 'system.load1' ORDER BY timestamp_ms"
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as connection:
            has_tables = connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'metrics'").fetchone()
            rows = connection.execute(query).fetchall() if has_tables else []
        return [time_ms for (time_ms,) in rows]

    def in_use(self) -> str:
        """Return the name of the release in use."""
        return self.prefix.readlink().name


@pytest.fixture
def device(run_dir: Path, vm: FakeVm) -> Iterator[Device]:
    """A tree without anything in it."""
    fresh = Device(run_dir, vm.import_url)
    yield fresh
    fresh.stop()


def test_from_installation_to_removal(device: Device, vm: FakeVm) -> None:
    """Samples go on over an upgrade and a roll back, and what was recorded outlives the program."""
    device.install(umask=0o077)
    device.start()
    wait_for("samples", lambda: len(device.times_ms()) > 5, 60)
    wait_for("uploads", vm.samples)
    said = device.install(umask=0)
    assert "releases/2" in said
    assert not (device.prefix / "deploy/docker").exists()  # where this machine is a server too, its secrets are there
    modes = {path: path.stat().st_mode for path in device.releases.rglob("*") if not path.is_symlink()}
    assert [] == [path for path, mode in modes.items() if mode & 0o022 or not mode & 0o004]
    link = device.root / "usr/local/bin/belabox-metrics"
    assert Path("/opt/belabox-metrics/deploy/belabox-metrics") == link.readlink()
    command = [str(device.prefix / "deploy/belabox-metrics"), "print", "memory", "--count", "1"]
    environment = {**os.environ, "CONFIG": str(device.root / "etc/belabox-metrics/config.yaml")}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)
    assert "memory.total_bytes" in done.stdout, done.stderr
    completion = device.root / "usr/local/share/bash-completion/completions/belabox-metrics"
    assert "complete -F" in completion.read_text(encoding="utf-8")
    device.stop()
    device.start()
    before = len(device.times_ms())
    wait_for("more samples", lambda: len(device.times_ms()) > before + 3, 60)
    device.install("--rollback")
    assert "1" == device.in_use()
    device.stop()
    device.start()
    before = len(device.times_ms())
    wait_for("more samples", lambda: len(device.times_ms()) > before + 3, 60)
    device.stop()
    times_ms = device.times_ms()
    gaps_ms = [after - first for first, after in pairwise(times_ms)]
    print(f"{len(times_ms)} collects, the longest gap {max(gaps_ms) / 1000:.1f} s, over two restarts")
    device.install("--uninstall")
    assert (False, False, True) == (device.prefix.exists(), device.releases.exists(), device.database.exists())
    assert not link.is_symlink()
    device.install("--uninstall", "--purge")
    assert not device.database.parent.exists()
    assert not (device.root / "etc/belabox-metrics").exists()


def test_a_configuration_that_is_not_understood_stops_an_upgrade(device: Device) -> None:
    """Before the switch, with the key; what runs goes on."""
    device.install()
    (device.root / "etc/belabox-metrics/config.yaml").write_text("remote: {urls: x}\n", encoding="utf-8")
    with pytest.raises(AssertionError, match=r"remote\.urls"):
        device.install()
    assert "1" == device.in_use()


def test_a_dry_run_does_nothing(device: Device) -> None:
    """It says what it would do."""
    assert "pip install" in device.install("--dry-run")
    assert [] == list(device.root.iterdir())


def test_the_scripts_are_sound() -> None:
    """`shellcheck` has nothing to say."""
    scripts = [
        str(ROOT / "deploy" / name)
        for name in (
            "install.sh",
            "run.sh",
            "belabox-metrics",
            "docker/up.sh",
            "release.sh",
            "fleet/join.sh",
            "deb/build.sh",
        )
    ]
    done = subprocess.run([require("shellcheck"), *scripts], capture_output=True, text=True, timeout=60, check=False)
    assert "" == done.stdout
