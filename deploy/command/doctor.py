"""The command `doctor`: what is missing on this board, what is lost without it, and the command that installs it.

Reads: the configuration, /proc, /dev, group and systemd's state, and `/health` on loopback.
Emits: one line for each check, `ok` or `miss`; never a token, a host's name, an address or a text of the journal.
"""

from __future__ import annotations

import argparse
import grp
import http.client
import os
import platform
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from collectors import registry
from collectors.host import Host
from collectors.system import machine
from common import VERSION, clock, config, untrusted
from common.config import Config
from common.log import SECRETS
from common.plain_text import plain
from common.token_file import TokenFile, reason
from deploy.command.place import DEVICE_USER, HERE, PipelinePlace

TIMEOUT_S = 3.0
SPARE_BYTES = 512 << 20
HOST_NAME = re.compile(r"(?<=://)[^/\s]+|\b\d{1,3}(?:\.\d{1,3}){3}\b")


class Check(NamedTuple):
    """One line.

    Attributes:
        name: what was looked at.
        text: how it is; where it is missing, what is lost without it.
        command: that gives what is missing; "" where all is well, or where no command does.
        is_missing: something is lost.
    """

    name: str
    text: str
    command: str = ""
    is_missing: bool = False


def doctor(place: PipelinePlace, _options: argparse.Namespace) -> int:
    """Print every finding; return 0, since something missing may be as it should."""
    findings = [*_machine(), *_configuration(place), *_running(place), *_rights(place), *_surroundings(place)]
    for finding in findings:
        print("miss" if finding.is_missing else "ok  ", _shown(f"{finding.name}: {finding.text}"))
        if finding.command:
            print("       ", _shown(finding.command))
    missing = sum(finding.is_missing for finding in findings)
    print(f"\n{missing} of {len(findings)} missing; no token, address or name of a server is in these lines.")
    return 0


def _shown(line: str) -> str:
    """Return a line without what identifies somebody, and without what a terminal would obey."""
    return plain(HOST_NAME.sub("***", SECRETS.redact(line)))


def _machine() -> Iterator[Check]:
    found = machine.info(Host(Path("/")))
    yield Check("version", f"belabox-metrics {VERSION}, Python {platform.python_version()}")
    yield Check("machine", ", ".join(filter(None, (platform.machine(), *found.values()))))


def _configuration(place: PipelinePlace) -> Iterator[Check]:
    try:
        loaded = config.load(place.config, os.environ, registry.sections())
    except config.ConfigError as error:
        for message in error.messages:
            yield Check("configuration", message, f"{place.prefix}belabox-metrics check", is_missing=True)
        return
    yield Check("configuration", str(place.config or "the built-in defaults"))
    for warning in loaded.warnings:
        yield Check("configuration", warning, is_missing=True)
    yield from _tokens(loaded)
    yield _disk(loaded)


def _tokens(loaded: Config) -> Iterator[Check]:
    remote, health = loaded.settings.remote, loaded.settings.health
    wanted = {"health.token_file": health.token_file}
    if remote.auth.type != "none":
        wanted["remote.auth.token_file"] = remote.auth.token_file
    for name, file in wanted.items():
        if file is None:
            continue
        try:
            TokenFile(file)
        except (OSError, ValueError) as error:
            fix = f"sudo install -m 600 -o {DEVICE_USER} -g {DEVICE_USER} /dev/stdin {file}"
            yield Check(name, reason(error), fix, is_missing=True)
        else:
            yield Check(name, "a token that only its owner can read")


def _disk(loaded: Config) -> Check:
    folder = loaded.settings.storage.path
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    text = f"{free / 2**30:.1f} GB free below {folder}"
    return Check(
        "disk", text if free >= SPARE_BYTES else f"{text}: the buffer will pause", is_missing=free < SPARE_BYTES
    )


def _running(place: PipelinePlace) -> Iterator[Check]:
    start = "sudo systemctl start belabox-metrics" if place.is_device else "make run"
    try:
        health = _health(place)
    except PermissionError as error:
        yield Check("health", f"{error.filename}: {error.strerror}", "sudo belabox-metrics doctor", is_missing=True)
        return
    except (OSError, http.client.HTTPException, ValueError) as error:
        yield Check("health", f"healthd does not answer ({error or type(error).__name__})", start, is_missing=True)
        return
    status = str(health.get("status"))
    yield Check("health", status, is_missing=status not in {"ok", "starting"})
    for given in health.get("reasons") or ():
        yield Check(str(given.get("part")), str(given.get("text")), is_missing=True)


def _usable(place: PipelinePlace) -> Config:
    """Return what can be used of the configuration, as healthd takes it; `_configuration` says what is wrong."""
    try:
        return config.load(place.config, os.environ)
    except config.ConfigError as error:
        if error.usable is None:
            raise
        return error.usable


def _health(place: PipelinePlace) -> dict[str, Any]:
    """Return /health as healthd answers it on this machine."""
    settings = _usable(place).settings.health
    address = (place.run_dir / "healthd.address").read_text(encoding="ascii").strip()
    host, _, port = address.rpartition(":")
    local = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host)  # noqa: S104 - what it listens on
    headers = {"Authorization": f"Bearer {TokenFile(settings.token_file).text}"} if settings.token_file else {}
    connection = http.client.HTTPConnection(f"{local}:{port}", timeout=TIMEOUT_S)
    try:
        connection.request("GET", settings.path, headers=headers)
        return untrusted.json_object(connection.getresponse().read())
    finally:
        connection.close()


def _rights(place: PipelinePlace) -> Iterator[Check]:
    user = DEVICE_USER if place.is_device else "$USER"
    for group, lost in {
        "systemd-journal": "what the kernel and belaUI log does not become events",
        "video": "whether the HDMI input has a signal is not known",
    }.items():
        held = place.is_device or os.geteuid() == 0 or group in _groups()
        # On a device the unit gives the groups, whatever /etc/group says.
        yield (
            Check(f"group {group}", "held", is_missing=False)
            if held
            else Check(f"group {group}", lost, f"sudo usermod -aG {group} {user}", is_missing=True)
        )
    yield _packets(place)


def _groups() -> set[str]:
    return {grp.getgrgid(number).gr_name for number in os.getgroups() if _is_known(number)}


def _is_known(number: int) -> bool:
    try:
        grp.getgrgid(number)
    except KeyError:
        return False
    return True


def _packets(place: PipelinePlace) -> Check:
    lost = "round trip, loss and rates of SRT and of each link are not known"
    if place.is_device:
        active = _systemctl("is-active", "belabox-metrics-srt") == "active"
        command = "" if active else "sudo systemctl enable --now belabox-metrics-srt"
        return Check("packet headers", "belabox-metrics-srt runs" if active else lost, command, is_missing=not active)
    may = os.geteuid() == 0
    return Check("packet headers", "may be read" if may else lost, "" if may else "sudo make run", is_missing=not may)


def _surroundings(place: PipelinePlace) -> Iterator[Check]:
    yield _file("ModemManager", Path("/usr/sbin/ModemManager"), "modems but Huawei's HiLink dongles are not seen",
                "sudo apt-get install modemmanager")  # fmt: skip
    yield _file(
        "D-Bus", Path("/run/dbus/system_bus_socket"), "ModemManager cannot be asked", "sudo apt-get install dbus"
    )
    yield _file("memory pressure", Path("/proc/pressure"), "pressure.* is absent: this kernel has no PSI", "")
    yield _file("HDMI input", Path("/dev/hdmirx"), "hdmi.* is absent: no such input, or its driver is not loaded", "")
    kept = clock.is_kept()
    yield Check(
        "clock", "a service keeps it right" if kept else "nothing keeps it right: wrong times after a boot",
        "" if kept else "sudo apt-get install systemd-timesyncd", is_missing=not kept,
    )  # fmt: skip
    yield _file("sqlite3", Path(shutil.which("sqlite3") or "/usr/bin/sqlite3"), "the database cannot be queried",
                "sudo apt-get install sqlite3")  # fmt: skip
    if not place.is_device:
        on_path = shutil.which("belabox-metrics") is not None
        yield Check(
            "command", "on PATH" if on_path else "belabox-metrics is not on PATH",
            "" if on_path else f"export PATH={shlex.quote(str(HERE / '.venv/bin'))}:$PATH", is_missing=not on_path,
        )  # fmt: skip


def _file(name: str, path: Path, lost: str, command: str) -> Check:
    if path.exists():
        return Check(name, f"{path} is there")
    return Check(name, lost, command, is_missing=True)


def _systemctl(*arguments: str) -> str:
    """Return what systemctl says, "" where there is none."""
    program = shutil.which("systemctl")
    if program is None:
        return ""
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False, timeout=10)  # noqa: S603
    return done.stdout.strip()
