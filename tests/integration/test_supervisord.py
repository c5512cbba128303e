"""supervisord that has preloaded what its programs import behaves as a plain one does, and restarts into new code."""

from __future__ import annotations

import json
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
# What a program sees of itself, as JSON; what two interpreters never have in common is left out.
LOOKS = """
import json, logging, os, signal, sys, threading, time
import common.clock
handled = [n for n in range(1, 32) if n not in (9, 19) and signal.getsignal(n) not in (signal.SIG_DFL, signal.SIG_IGN)]
print(json.dumps({
    "argv": sys.argv[1:], "name": __name__, "cwd": os.getcwd(), "path": sys.path[0], "handled": handled,
    "own": os.environ.get("OWN"), "secret": os.environ.get("ONLY_PARENT"), "threads": threading.active_count(),
    "files": sorted(int(n) for n in os.listdir("/proc/self/fd"))[:-1], "blocked": len(signal.pthread_sigmask(0, ())),
    "umask": os.umask(0o77), "leader": os.getpgrp() == os.getpid(), "mark": getattr(common.clock, "MARK", 0),
}))
time.sleep(1000)
"""
PROBES = {
    "looks": LOOKS,
    "leaves": "import sys; sys.exit(3)",
    "words": "import sys; sys.exit('no such thing')",
    "raises": "import time\nprint('before')\nraise RuntimeError('a bug')",
    "returns": "import atexit; atexit.register(print, 'the end')",
    "kills": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    "notifies": """
import os, socket, time
while name := os.environ.get("NOTIFY_SOCKET"):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
        client.sendto(b"MAINPID=1\\nWATCHDOG=1\\nSTOPPING=1\\nSTATUS=%d" % os.getpid(), name)
    time.sleep(0.1)
""",
    "stays": "import time, signal, sys\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\ntime.sleep(1000)",
}


@contextmanager
def supervised(folder: Path, script: list[str], **environment: str) -> Iterator[Any]:
    """Run the probes under a supervisord; give its XML-RPC."""
    config = folder / "supervisord.conf"
    programs = "".join(PROGRAM.format(name=name, dir=folder, python=sys.executable) for name in PROBES)
    config.write_text(CONFIG.format(dir=folder) + programs, encoding="ascii")
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


def seen(folder: Path, script: list[str]) -> dict[str, Any]:
    """Return all that can be told of the probes under a supervisord."""
    with supervised(folder, script) as supervisor:
        found: dict[str, Any] = {"states": states(supervisor)}
        supervisor.stopProcess("stays")
        supervisor.stopProcess("looks")
        found["stopped"] = {name: states(supervisor)[name] for name in ("stays", "looks")}
    found["looks"] = json.loads(log(folder, "looks"))
    found["logs"] = {name: log(folder, name).splitlines()[-1:] for name in PROBES if name != "looks"}
    for name in PROBES:
        (folder / f"{name}.log").unlink()
    return found


def test_it_behaves_as_a_plain_one(tree: Path) -> None:
    """States, exit statuses, logs, signals, environment, arguments, descriptors: all the same."""
    plain = seen(tree, ["-m", "supervisor.supervisord"])
    preloaded = seen(tree, [str(tree / "deploy/supervisord.py")])
    assert plain == preloaded
    assert ("EXITED", 3) == plain["states"]["leaves"] or "FATAL" == plain["states"]["leaves"][0]
    assert (["--word", "two words"], "__main__", 0) == tuple(plain["looks"][key] for key in ("argv", "name", "blocked"))
    assert ["RuntimeError: a bug"] == plain["logs"]["raises"]
    assert [["no such thing"], ["the end"]] == [plain["logs"][name] for name in ("words", "returns")]


def test_a_restart_runs_the_code_on_the_disk(tree: Path) -> None:
    """Also of what was preloaded before it changed."""
    with supervised(tree, [str(tree / "deploy/supervisord.py")]) as supervisor:
        wait_for("a look", lambda: "mark" in log(tree, "looks"))
        clock = tree / "common/clock.py"
        clock.write_text(clock.read_text(encoding="utf-8") + "\nMARK = 7\n", encoding="utf-8")
        supervisor.stopProcess("looks")
        supervisor.startProcess("looks")
        wait_for("a new look", lambda: log(tree, "looks").count("mark") == 2)
    assert [0, 7] == [json.loads(line)["mark"] for line in log(tree, "looks").splitlines()]


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
