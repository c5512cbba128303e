"""Programs that run beside the pipeline in a development tree: a server, and the player of `make demo`.

Emits: `RUN_DIR/programs/<name>.conf`, which supervisord includes.
"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.run import ports
from deploy.run.refused import EXIT_UNAVAILABLE, EXIT_USAGE, RunRefusedError

CONF = """[program:{name}]
priority = 5
command = {command}
directory = {here}
autorestart = true
redirect_stderr = true
stdout_logfile = {log_dir}/{name}.log
stdout_logfile_maxbytes = 5MB
stdout_logfile_backups = 1
"""
NAMES = ("server", "demo")  # of the files that a run replaces; all others are the user's
PORT = 8428  # of VictoriaMetrics
SERVERS = ("victoria-metrics", "bundled", "json", "none")


@dataclass(frozen=True)
class LocalServer:
    """A server that this run starts.

    Attributes:
        what: it is, for people.
        url: its address; "" where there is none.
        command: that starts it.
        look: where to see what arrived.
    """

    what: str
    url: str = ""
    command: tuple[str, ...] = ()
    look: str = ""


@dataclass(frozen=True)
class Folders:
    """Where a run has its things.

    Attributes:
        here: the tree.
        run: the run directory.
        log: of the processes' logs.
    """

    here: Path
    run: Path
    log: Path


def clear(folders: Folders) -> None:
    """Remove the programs of the run before."""
    (folders.run / "programs").mkdir(mode=0o700, exist_ok=True)
    for name in NAMES:
        (folders.run / "programs" / f"{name}.conf").unlink(missing_ok=True)


def add(folders: Folders, name: str, command: Sequence[str]) -> None:
    """Have supervisord run one more program."""
    values = {
        "name": name,
        "command": shlex.join(command),
        "here": str(folders.here),
        "log_dir": str(folders.log),
    }
    text = CONF.format(**{key: value.replace("%", "%%") for key, value in values.items()})
    (folders.run / "programs" / f"{name}.conf").write_text(text, encoding="utf-8")


def server(kind: str, python: str, run_dir: Path) -> LocalServer:
    """Return the server to start.

    Args:
        kind: one of `SERVERS`, or "" for victoria-metrics where it is installed, else bundled.
        python: the interpreter.
        run_dir: where it keeps what it gets.

    Raises:
        RefusedError: there is no such server, or it is not installed.
    """
    installed = shutil.which("victoria-metrics") or shutil.which("victoria-metrics-prod")
    kind = kind or ("victoria-metrics" if installed else "bundled")
    if kind not in SERVERS:
        raise RunRefusedError(EXIT_USAGE, f"SERVER={kind}: expected {', '.join(SERVERS[:-1])} or {SERVERS[-1]}")
    if kind == "none":
        return LocalServer("none: samples stay on this device")
    port = ports.free(PORT)
    taken = f" ({PORT} is taken)" if port != PORT else ""
    url = f"http://127.0.0.1:{port}"
    look = f"curl '{url}/api/v1/query?query=system_load1'"
    if kind in ("bundled", "json"):
        receiver = (python, "-m", "tests.fake_vm", "--port", str(port), "--data", str(run_dir / "received.jsonl"))
        return LocalServer(f"bundled receiver{taken}", url, receiver, look)
    if installed is None:
        raise RunRefusedError(
            EXIT_UNAVAILABLE,
            "SERVER=victoria-metrics, but it is not installed (Debian: apt-get install victoria-metrics)",
        )
    # Without the dedup flag a chunk that is sent again counts twice; latencyOffset hides the newest 30 s.
    command = (
        installed, f"-storageDataPath={run_dir}/victoria-metrics", f"-httpListenAddr=127.0.0.1:{port}",
        "-retentionPeriod=1y", "-dedup.minScrapeInterval=1ms", "-search.latencyOffset=0s",
    )  # fmt: skip
    return LocalServer(f"victoria-metrics{taken}", url, command, f"{url}/vmui or {look}")
