"""`make run` after the venv is there: one folder, one configuration, a server to ship to, then supervisord.

Reads: the environment (`HELP`). Emits: what runs where, on stdout; becomes supervisord.
Fails: says why on stderr and ends, with an exit code of sysexits.h, before anything is started.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import MutableMapping
from pathlib import Path

from collectors import registry
from common import config, starting
from common.config import Config
from deploy.run import folder, ports, programs
from deploy.run.programs import Folders, LocalServer
from deploy.run.refused import EXIT_CONFIG, EXIT_USAGE, RunRefusedError

HELP = """usage: deploy/run.sh

The whole pipeline in one folder, in the foreground; Ctrl-C ends it. From the environment, all optional:

  RUN_DIR    where sockets, database and logs go            (default: run in this tree)
  CONFIG     configuration file                             (default: RUN_DIR/config.yaml, made if missing)
  LOG_DIR    where each process's log goes                  (default: RUN_DIR/log)
  DEMO       play a stream on a recorded board in RUN_DIR/host and read that (`make demo`): its options,
             e.g. "--seed 2 --episode heat", or "--seed 1"
  HOST_ROOT  read HOST_ROOT/proc and HOST_ROOT/sys          (default: /)
  PYTHON     interpreter with the packages                  (default: .venv/bin/python in this tree)
  SERVER     victoria-metrics, bundled, json (remote.type: json) or none: what to start when no remote.url is
             configured (default: victoria-metrics if it is installed, else bundled)
  PLAIN      not empty: supervisord as it is, whose processes share no memory
  BELABOX_<SECTION>__<KEY>  any key of the configuration, e.g. BELABOX_REMOTE__URL, BELABOX_HEALTH__PORT
"""
HERE = Path(__file__).absolute().parents[2]


def main() -> int:
    """Start the pipeline and become supervisord; return an exit code where that is refused."""
    if sys.argv[1:]:
        if sys.argv[1:] not in (["--help"], ["-h"]):
            print(f"unexpected {sys.argv[1]!r}; everything comes from the environment (--help)", file=sys.stderr)
            return EXIT_USAGE
        print(HELP, end="")
        return 0
    os.umask(0o077)
    try:
        command = _prepare(os.environ)
    except RunRefusedError as error:
        print(error, file=sys.stderr)
        return error.code
    sys.stdout.flush()
    os.chdir(HERE)
    os.execv(command[0], command)  # noqa: S606 - a list, no shell
    return 0  # never reached


def _prepare(environ: MutableMapping[str, str]) -> list[str]:
    """Do all that comes before supervisord; return its command."""
    folders = _folders(environ)
    programs.clear(folders)
    if environ.get("DEMO"):
        _demo(environ, folders)
    file = _config_file(environ, folders.run)
    loaded = _load(file, environ)
    server = _server(environ, loaded, folders)
    _health_port(environ, loaded)
    _check(file, environ)
    _export(environ, file, folders)
    _say(environ, folders, server, loaded)
    if environ.get("PLAIN"):
        if re.search(r"[ \[]", f"{HERE}{folders.run}"):
            raise RunRefusedError(EXIT_USAGE, "PLAIN: supervisord as it is cannot be in a folder with a space or [")
        return [sys.executable, "-m", "supervisor.supervisord", "-n", "-c", str(HERE / "supervisord.conf")]
    return [sys.executable, str(HERE / "deploy/supervisord.py"), "-n", "-c", str(HERE / "supervisord.conf")]


def _folders(environ: MutableMapping[str, str]) -> Folders:
    folder.check_name("the folder of this tree", HERE)
    run_dir = Path(os.path.abspath(environ.get("RUN_DIR") or HERE / "run"))  # noqa: PTH100 - as it was written
    folder.prepare("RUN_DIR", run_dir)
    log_dir = Path(os.path.abspath(environ.get("LOG_DIR") or run_dir / "log"))  # noqa: PTH100
    folder.check_name("LOG_DIR", log_dir)
    folder.make("LOG_DIR", log_dir)
    return Folders(HERE, run_dir, log_dir)


def _demo(environ: MutableMapping[str, str], folders: Folders) -> None:
    """Add the player of a recorded board, and read that board."""
    host = folders.run / "host"
    if not host.is_dir():  # the player replaces what it has marked as its own, nothing else
        host.mkdir()
        (host / ".played").touch()
    environ["HOST_ROOT"] = str(host)
    options = shlex.split(environ["DEMO"])
    checked = subprocess.run(  # noqa: S603 - our own player; argparse judges what stands before --help
        [sys.executable, "-m", "tests.demo", str(host), *options, "--help"],
        cwd=HERE, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if checked.returncode:
        raise RunRefusedError(EXIT_USAGE, f"DEMO={environ['DEMO']!r}: {checked.stderr.strip().splitlines()[-1]}")
    if _may_tap():
        options.append("--packets")  # the stream's packets on lo, for the tap to look at
        environ["BELABOX_TEST_TAP"] = "1"
    else:  # what takes the tap's place without the right to it says less
        environ.setdefault("BELABOX_COLLECTORS__SRT__STATS_FILE", "/tmp/srt-stats.json")  # noqa: S108 - below HOST_ROOT
    environ.setdefault("BELABOX_COLLECTORS__RECEIVER__ENABLED", "true")
    environ.setdefault("BELABOX_COLLECTORS__GPS__ENABLED", "true")
    programs.add(folders, "demo", [sys.executable, "-m", "tests.demo", str(host), *options])


def _may_tap() -> bool:
    try:
        socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM).close()
    except OSError:
        return False
    return True


def _config_file(environ: MutableMapping[str, str], run_dir: Path) -> Path:
    """Return the configuration; without one, make one to start from, which is the user's from then on."""
    given = environ.get("CONFIG")
    if given:
        if not os.access(given, os.R_OK):
            raise RunRefusedError(EXIT_CONFIG, f"CONFIG={given}: cannot be read")
        return Path(os.path.abspath(given))  # noqa: PTH100 - as it was written
    file = run_dir / "config.yaml"
    if not file.exists():
        device = re.sub(r"[^A-Za-z0-9._:-]", "-", platform.node())[:64] or "belabox-001"
        file.write_text(
            "# Made by `make run`. Edit it, then `make reload`. Every key with its default: deploy/config.yaml\n"
            f"device:\n  id: {json.dumps(device)}\nstorage:\n  path: {json.dumps(str(run_dir / 'metrics.db'))}\n",
            encoding="utf-8",
        )
    return file


def _load(file: Path, environ: MutableMapping[str, str]) -> Config:
    environ["BELABOX_RUN__DIR"] = environ.get("BELABOX_RUN__DIR", "") or os.path.abspath(  # noqa: PTH100
        environ.get("RUN_DIR") or HERE / "run"
    )
    try:
        loaded = config.load(file, environ, registry.sections())
    except config.ConfigError as error:
        raise RunRefusedError(EXIT_CONFIG, "\n".join(error.messages)) from error
    for warning in loaded.warnings:
        print(f"{file}: {warning}")
    return loaded


def _server(environ: MutableMapping[str, str], loaded: Config, folders: Folders) -> LocalServer:
    """Start a server where the configuration names none."""
    asked = environ.get("SERVER", "")
    if "remote.url" in loaded.given:
        ignored = f"; SERVER={asked} has no effect" if asked else ""
        shown = loaded.settings.remote.url.partition("?")[0]  # a query can hold a key
        return LocalServer(f"{shown} (remote.url{ignored})")
    if not loaded.settings.remote.enabled:
        return LocalServer("none: remote.enabled is false, samples stay on this device")
    server = programs.server(asked, sys.executable, folders.run)
    if not server.url:
        environ["BELABOX_REMOTE__ENABLED"] = "false"
        return server
    environ["BELABOX_REMOTE__URL"] = f"{server.url}/api/v1" if asked == "json" else f"{server.url}/api/v1/import"
    if asked == "json":
        environ["BELABOX_REMOTE__TYPE"] = "json"
    programs.add(folders, "server", server.command)
    return server


def _health_port(environ: MutableMapping[str, str], loaded: Config) -> None:
    """Take a free port where the configuration names none."""
    port = loaded.settings.health.port
    environ["BELABOX_HEALTH__PORT"] = str(port if "health.port" in loaded.given else ports.free(port))


def _check(file: Path, environ: MutableMapping[str, str]) -> None:
    """Refuse what a start would end with; say what it goes on with."""
    found = starting.check(config.load(file, environ).settings, environ)
    if found.errors:
        raise RunRefusedError(EXIT_CONFIG, "\n".join(f"{file}: {text}" for text in found.errors))
    for text in found.warnings:
        if text.startswith("health.port:"):  # on a device it may be free a moment later; here somebody looks at it
            raise RunRefusedError(EXIT_CONFIG, f"{file}: {text}")
        print(f"{file}: {text}")


def _export(environ: MutableMapping[str, str], file: Path, folders: Folders) -> None:
    """Give supervisord.conf what it needs; commands are split as a shell does, so paths in them are quoted."""
    host_root = Path(os.path.abspath(environ.get("HOST_ROOT") or "/"))  # noqa: PTH100
    if not host_root.is_dir():
        raise RunRefusedError(EXIT_USAGE, f"HOST_ROOT={host_root}: no such folder")
    environ["RUN_DIR"] = str(folders.run)
    environ["LOG_DIR"] = str(folders.log)
    environ["SRT_AUTOSTART"] = "true"
    for name, path in {"PYTHON": sys.executable, "CONFIG": str(file), "HOST_ROOT": str(host_root)}.items():
        folder.check_name(name, Path(path))
        environ[name] = shlex.quote(path)


def _say(environ: MutableMapping[str, str], folders: Folders, server: LocalServer, loaded: Config) -> None:
    port = environ["BELABOX_HEALTH__PORT"]
    run_dir = shlex.quote(str(folders.run))
    lines = [f"belabox-metrics runs in {folders.run}; Ctrl-C ends it.", f"  server    {server.what}"]
    lines += [f"            {server.look}"] if server.look else []
    if port != "0" and loaded.settings.health.enabled:
        wanted = str(loaded.settings.health.port)
        lines.append(f"  page      http://127.0.0.1:{port}/" + (f" ({wanted} is taken)" if port != wanted else ""))
        lines.append(f"  health    curl http://127.0.0.1:{port}{loaded.settings.health.path}")
    database = shlex.quote(str(loaded.settings.storage.path))
    lines += [
        f"  database  sqlite3 {database} 'SELECT * FROM metrics ORDER BY id DESC LIMIT 10'",
        f"  control   make status RUN_DIR={run_dir}, or .venv/bin/supervisorctl -s unix://{run_dir}/supervisor.sock",
        f"  logs      make logs RUN_DIR={run_dir}, or tail -f {shlex.quote(str(folders.log))}/*.log",
    ]
    print("\n".join(lines))
