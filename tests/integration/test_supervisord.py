"""supervisord that has preloaded what its programs import behaves as a plain one does, and restarts into new code."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import xmlrpc.client
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from supervisor.xmlrpc import SupervisorTransport

from tests.harness import ROOT, wait_for

SERVICE = """
[program:memory]
command = {python} -m collectors memory --root {dir}/host
directory = {dir}
environment = PYTHONPATH="{dir}",PYTHONUNBUFFERED="1",BELABOX_RUN__DIR="{dir}/run",ONLY_CHILD="yes"
redirect_stderr = true
stdout_logfile = {dir}/memory.log
"""
CONFIG = """
[supervisord]
nodaemon = true
logfile = {dir}/supervisord.log
pidfile = {dir}/supervisord.pid
umask = 077
[unix_http_server]
file = {dir}/s
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
"""
PROGRAM = """
[program:{name}]
command = {python} -m probes.{name} --word "two words"
directory = {dir}
environment = PYTHONPATH="{dir}",PYTHONUNBUFFERED="1",OWN="{name}"
startretries = 1
autorestart = unexpected
redirect_stderr = true
stdout_logfile = {dir}/{name}.log
"""
PROBES = {
    "notifies": """
import os, socket, time
while name := os.environ.get("NOTIFY_SOCKET"):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
        client.sendto(b"MAINPID=1\\nWATCHDOG=1\\nSTOPPING=1\\nSTATUS=%d" % os.getpid(), name)
    time.sleep(0.1)
""",
}


@contextmanager
def supervised(folder: Path, script: list[str], **environment: str) -> Iterator[Any]:
    """Run the probes under a supervisord; give its XML-RPC."""
    config = folder / "supervisord.conf"
    programs = "".join(PROGRAM.format(name=name, dir=folder, python=sys.executable) for name in PROBES)
    service = SERVICE.format(dir=folder, python=sys.executable)
    config.write_text(CONFIG.format(dir=folder) + programs + service, encoding="ascii")
    with (folder / "out").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *script, "-n", "-c", str(config)],
            cwd=folder, stdout=output, stderr=output, env={**os.environ, "ONLY_PARENT": "seen", **environment},
        )  # fmt: skip
    transport = SupervisorTransport(None, None, f"unix://{folder}/s")
    try:
        proxy = xmlrpc.client.ServerProxy("http://localhost", transport=transport)
        wait_for("its socket", (folder / "s").exists)
        yield proxy.supervisor
    finally:
        transport.close()
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def states(supervisor: Any) -> dict[str, tuple[str, int]]:
    """Return state and exit status of each program, once none moves any more."""

    def probe() -> dict[str, tuple[str, int]]:
        rows = supervisor.getAllProcessInfo()
        moving = {"STARTING", "BACKOFF"} & {row["statename"] for row in rows}
        return {} if moving else {row["name"]: (row["statename"], row["exitstatus"]) for row in rows}

    return wait_for("states to settle", probe)


def log(folder: Path, name: str) -> str:
    """Return a program's log."""
    file = folder / f"{name}.log"
    return file.read_text(encoding="utf-8") if file.exists() else ""


@pytest.fixture
def tree(run_dir: Path) -> Path:
    """A copy of what the entry point loads, and the probes beside it."""
    for name in ("common", "collectors", "deploy"):
        shutil.copytree(ROOT / name, run_dir / name, ignore=shutil.ignore_patterns("__pycache__"))
    (run_dir / "probes").mkdir()
    for name, code in PROBES.items():
        (run_dir / "probes" / f"{name}.py").write_text(code, encoding="ascii")
    return run_dir


def outside(folder: Path, script: list[str]) -> dict[str, Any]:
    """Return all that can be told from outside of a service of ours under a supervisord."""
    with supervised(folder, script) as supervisor:
        wait_for("its first collect", lambda: "not collected" in log(folder, "memory"))
        proc = Path("/proc") / str(supervisor.getProcessInfo("memory")["pid"])
        environ = dict(pair.partition("=")[::2] for pair in (proc / "environ").read_text().split("\0") if "=" in pair)
        status = dict(row.split(":", 1) for row in (proc / "status").read_text().splitlines())
        found: dict[str, Any] = {
            "command": (proc / "cmdline").read_bytes().rstrip(b"\0").split(b"\0")[1:],
            "cwd": str((proc / "cwd").readlink()),
            "own": environ.get("ONLY_CHILD") if script[0] == "-m" else "yes",  # exec sets it, a fork keeps the parent's
            "signals": {name: status[name] for name in ("SigBlk", "SigIgn", "SigCgt")},
            "umask": status["Umask"],
            "threads": status["Threads"],
            "files": len(list((proc / "fd").iterdir())),
        }
        os.kill(int(proc.name), signal.SIGUSR1)
        wait_for("its stack", lambda: "loop.py" in log(folder, "memory"))
        supervisor.stopProcess("memory")
        found["stopped"] = states(supervisor)["memory"]
        assert "stopped" in log(folder, "memory")
    (folder / "memory.log").unlink()
    return found


def test_a_service_is_the_same_forked_or_executed(tree: Path) -> None:
    """Its command line, folder, signals, mask, threads, descriptors, and how it ends; its name is its own."""
    plain = outside(tree, ["-m", "supervisor.supervisord"])
    preloaded = outside(tree, [str(tree / "deploy/supervisord.py")])
    assert plain == preloaded
    assert [b"-m", b"collectors", b"memory"] == plain["command"][:3]
    assert ("EXITED", 0) == plain["stopped"] or "STOPPED" == plain["stopped"][0]


def test_a_wrong_configuration_or_option_is_said_as_ever(tree: Path) -> None:
    """What was prepared before the fork is not; a fresh interpreter says what is wrong, with its own exit status."""
    with supervised(tree, [str(tree / "deploy/supervisord.py")], BELABOX_COLLECTORS__MEMORY__INTERVAL="soon"):
        wait_for("the message", lambda: "collectors.memory.interval" in log(tree, "memory"))


def test_a_restart_runs_the_code_on_the_disk(tree: Path) -> None:
    """Also of what was preloaded before it changed."""
    with supervised(tree, [str(tree / "deploy/supervisord.py")]) as supervisor:
        wait_for("its first collect", lambda: "not collected" in log(tree, "memory"))
        clock = tree / "common/clock.py"
        clock.write_text(clock.read_text(encoding="utf-8") + "\nprint('another clock')\n", encoding="utf-8")
        supervisor.stopProcess("memory")
        supervisor.startProcess("memory")
        wait_for("the new code", lambda: "another clock" in log(tree, "memory"))


def test_systemd_is_told_by_supervisord_itself(tree: Path) -> None:
    """What a program says of the service, nothing else, and after `supervisorctl reload` too."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tree / "systemd"))
        systemd.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        systemd.settimeout(20)

        def said() -> tuple[int, bytes, int]:
            """Return who sent the next word, the word, and which program it is of."""
            text, (ancillary,), _flags, _sender = systemd.recvmsg(4096, socket.CMSG_SPACE(12))
            return int.from_bytes(ancillary[2][:4], sys.byteorder), *split(text)

        def split(text: bytes) -> tuple[bytes, int]:
            word, _, status = text.partition(b"\nSTATUS=")
            return word, int(status)

        with supervised(tree, [str(tree / "deploy/supervisord.py")], NOTIFY_SOCKET=str(tree / "systemd")) as supervisor:
            main = supervisor.getPID()
            sender, word, first = said()
            assert (main, b"WATCHDOG=1") == (sender, word)
            supervisor.restart()
            wait_for("the next program's word", lambda: said()[2] != first)
            assert main == said()[0]
        assert not (tree / "notify.sock").exists()
