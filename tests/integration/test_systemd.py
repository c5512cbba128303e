"""The systemd units: what systemd itself says of them, and that the processes need nothing they are refused."""

from __future__ import annotations

import configparser
import os
import subprocess
from pathlib import Path

import pytest

from tests.fake_vm import FakeVm
from tests.harness import ROOT, Pipeline, require, wait_for

UNITS = {"belabox-metrics": 15, "belabox-metrics-srt": 16}  # `systemd-analyze security`, tenths: lower is tighter


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units as installed, but for an interpreter that is here."""
    for name in UNITS:
        text = (ROOT / f"deploy/systemd/{name}.service").read_text(encoding="utf-8")
        text = text.replace("/opt/belabox-metrics/.venv/bin/python", "/usr/bin/env").replace("User=metrics\n", "")
        (tmp_path / f"{name}.service").write_text(text.replace("Group=metrics\n", ""), encoding="utf-8")
    return tmp_path


def test_systemd_finds_no_mistake(units: Path) -> None:
    """`systemd-analyze verify`: no unknown key, no value it does not understand."""
    done = subprocess.run(
        [require("systemd-analyze"), "verify", "--man=no", *sorted(units.glob("*.service"))],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    about_ours = [line for line in (done.stdout + done.stderr).splitlines() if "belabox" in line]
    assert [] == about_ours


@pytest.mark.parametrize("unit", UNITS)
def test_exposure_is_low(unit: str) -> None:
    """`systemd-analyze security`: what is open is what the collectors read and the one server."""
    command = [require("systemd-analyze"), "security", "--offline=true", f"--threshold={UNITS[unit]}"]
    done = subprocess.run(
        [*command, str(ROOT / f"deploy/systemd/{unit}.service")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert 0 == done.returncode, done.stdout


def test_the_processes_use_what_their_unit_allows(run_dir: Path, quick: dict[str, str]) -> None:
    """What they hold open for writing is theirs, and their threads are few."""
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read(ROOT / "deploy/systemd/belabox-metrics.service", encoding="utf-8")
    with FakeVm() as vm, Pipeline(run_dir, vm.import_url, quick) as pipeline:
        wait_for("samples at the server", vm.samples)
        wait_for("all processes", pipeline.all_running)
        pids = [pid for name, pid in pipeline.pids().items() if name != "collectors:srt"]
        written = {path for pid in pids for path in writable(pid)}
        tasks = sum(len(list(Path(f"/proc/{pid}/task").iterdir())) for pid in pids)
    strange = {path for path in written if not path.startswith((str(run_dir), "/dev/null"))}
    assert set() == strange
    assert written
    assert tasks + 32 < int(unit["Service"]["TasksMax"])  # and 32 connections to the page


def targets(pid: int) -> dict[str, str]:
    """Return what each descriptor of a process leads to."""
    found = {}
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found[descriptor.name] = str(descriptor.readlink())
        except OSError:
            continue  # closed meanwhile
    return found


def writable(pid: int) -> set[str]:
    """Return the files that a process holds open for writing."""
    found = set()
    for number, target in targets(pid).items():
        if target.startswith("/"):
            try:
                lines = Path(f"/proc/{pid}/fdinfo/{number}").read_text(encoding="ascii").splitlines()
            except OSError:
                continue  # closed meanwhile
            flags = next((line.split()[1] for line in lines if line.startswith("flags")), "0")
            if int(flags, 8) & (os.O_WRONLY | os.O_RDWR):
                found.add(target)
    return found
