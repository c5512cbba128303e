"""A device from its first day to its last: a clean Debian, the real systemd, the units with all their restrictions."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest

from tests.fake_vm import FakeVm
from tests.free_port import free_port
from tests.harness import wait_for
from tests.install.machine import Machine, clean_machine

MINUTES = float(os.environ.get("MINUTES", "2"))  # it runs before it is upgraded
INSTALL = ("sudo", "/root/source/deploy/install.sh", "--wheels", "/root/wheels")
SUPERVISORCTL = "cd /opt/belabox-metrics && exec sudo -u metrics .venv/bin/supervisorctl"
UNITS = ("belabox-metrics", "belabox-metrics-srt")
NET_RAW = 1 << 13


@pytest.fixture
def machine(run_dir: Path) -> Iterator[Machine]:
    """A clean machine that has started."""
    with clean_machine(run_dir) as made:
        yield made


@pytest.mark.timeout(1800)
def test_from_the_first_day_to_the_last(machine: Machine, vm: FakeVm) -> None:
    """Install, run, reload, be killed, upgrade, roll back, remove: samples go on, and nothing is left."""
    folder = machine.root / "etc/belabox-metrics"
    folder.mkdir()
    (folder / "config.yaml").write_text(
        f"remote: {{url: '{vm.import_url}'}}\nhealth: {{port: {free_port()}}}\n"
        "collectors: {cpu: {interval: 1s}, gps: {enabled: false}}\n",
        encoding="utf-8",
    )
    machine.run(*INSTALL)
    wait_for("uploads", vm.samples, 60)
    confined(machine)
    at_work(machine)
    time.sleep(60 * MINUTES)

    machine.run(*INSTALL)  # an upgrade: its restart is over when samples move again
    more(machine)
    machine.run(*INSTALL[:2], "--rollback")
    more(machine)
    gaps_s = [(after - before) / 1000 for before, after in pairwise(times_ms(machine))]
    print(f"{len(gaps_s)} collects, each second; the longest gaps, one for each restart: {sorted(gaps_s)[-3:]} s")

    machine.run(*INSTALL[:2], "--uninstall", "--purge")
    assert "" == machine.try_run("systemctl", "--failed", "--quiet", "--no-legend").strip()
    assert "no such user" in machine.try_run("id", "metrics")
    left = [path for path in machine.root.rglob("*belabox*") if not path.is_relative_to(machine.root / "root")]
    assert left == []


def confined(machine: Machine) -> None:
    """What systemd was told is what the processes live with; what a streaming program leaves in /tmp is seen."""
    denied = machine.run("systemctl", "show", "--property=IPAddressDeny", "--value", UNITS[1])
    assert {"::/0", "0.0.0.0/0"} == set(denied.split())
    machine.run("sh", "-c", "echo shown > /tmp/state")
    for unit, capabilities in zip(UNITS, (0, NET_RAW), strict=True):
        active(machine, unit)
        pid = main_pid(machine, unit)
        status = dict(line.split(":\t", 1) for line in machine.run("cat", f"/proc/{pid}/status").splitlines())
        assert (capabilities, "1", "2") == (int(status["CapEff"], 16), status["NoNewPrivs"], status["Seccomp"])
        assert "shown" == machine.run("nsenter", f"--target={pid}", "--mount", "cat", "/tmp/state").strip()
        refused = machine.try_run("nsenter", f"--target={pid}", "--mount", "touch", "/etc/written", "/tmp/written")
        assert 2 == refused.count("Read-only file system"), refused


def at_work(machine: Machine) -> None:
    """An operator's commands do what they say, and a pipeline that is killed comes back."""
    essential = {"buffer", "shipper", "healthd", "collectors:system", "collectors:events", "collectors:media"}
    wait_for("all to run", lambda: essential <= running(machine), 60)
    machine.run("sh", "-c", f"{SUPERVISORCTL} restart shipper healthd")
    assert "config.yaml unchanged" in machine.run("env", "EDITOR=cat", "sudoedit", "/etc/belabox-metrics/config.yaml")
    machine.run("sudo", "systemctl", "reload", UNITS[0])
    active(machine, UNITS[0])  # and not on its way out
    machine.run("systemctl", "kill", "--signal=KILL", UNITS[0])
    more(machine)
    for unit in UNITS:
        active(machine, unit)
    hung = main_pid(machine, UNITS[1])
    machine.run("systemctl", "kill", "--signal=STOP", UNITS[1])
    wait_for("its watchdog", lambda: main_pid(machine, UNITS[1]) not in {hung, "0"}, 90)


def running(machine: Machine) -> set[str]:
    """Return what supervisord says runs."""
    states = machine.try_run("sh", "-c", f"{SUPERVISORCTL} status").splitlines()
    return {line.split()[0] for line in states if " RUNNING " in line}


def main_pid(machine: Machine, unit: str) -> str:
    """Return the process of a unit, "0" while it has none."""
    return machine.run("systemctl", "show", "--property=MainPID", "--value", unit).strip()


def active(machine: Machine, unit: str) -> None:
    """Wait until a unit runs."""
    wait_for(unit, lambda: "active" == machine.try_run("systemctl", "is-active", unit).strip(), 90)


def times_ms(machine: Machine) -> list[int]:
    """Return when the processor was looked at, oldest first."""
    database = machine.root / "var/lib/belabox-metrics/metrics.db"
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=10)) as connection:
        query = "SELECT DISTINCT timestamp_ms FROM metrics WHERE metric_name = 'system.load1' ORDER BY timestamp_ms"
        return [time_ms for (time_ms,) in connection.execute(query).fetchall()]


def more(machine: Machine) -> None:
    """Wait until samples have gone on."""
    before = len(times_ms(machine))
    wait_for("more samples", lambda: len(times_ms(machine)) > before + 5, 120)
