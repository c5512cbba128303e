"""The pipeline as an operator starts it, for tests: real supervisord, real processes, one private folder.

`Pipeline` does what `deploy/run.sh` does, with a run directory of its own, and ends it again; what comes before the
script becomes supervisord is done in this process, which has the modules already. `wait_for` waits for a state, never
for luck.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
import xmlrpc.client
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from http.client import HTTPException
from io import StringIO
from pathlib import Path
from typing import Any, ClassVar, NoReturn, TypeVar

import pytest
from supervisor.options import ClientOptions
from supervisor.supervisorctl import Controller
from supervisor.xmlrpc import SupervisorTransport

from deploy.run import main as run
from tests import launcher, oracle
from tests.http_answer import answer
from tests.launcher import program
from tests.patience import Patience

ROOT = Path(__file__).resolve().parents[1]
COLLECTORS = ("system", "network", "modem", "media", "events", "derived", "srt")
PROCESSES = ("healthd", "buffer", "shipper", *(f"collectors:{name}" for name in COLLECTORS))
HANGS_S = 300.0  # so long takes nothing that works, however busy the machine is

Result = TypeVar("Result")


def wait_for(what: str, probe: Callable[[], Result], timeout_s: float = 30.0) -> Result:
    """Return the first true result of a probe; fail with its last one, and how each pipeline is, when time is over."""
    patience = Patience(timeout_s)
    while True:
        began_s = time.monotonic()
        result = probe()
        if result:
            return result
        if patience.is_over():
            fail(f"waited {timeout_s:g} s for {what}; last: {result!r}")
        time.sleep(min(1.0, max(0.1, 4 * (time.monotonic() - began_s))))  # what is waited for has most of the core


def fail(text: str) -> NoReturn:
    """Fail with a text and, below it, how each pipeline and process of this test is now."""
    pytest.fail("\n".join([text, *(pipeline.described() for pipeline in Pipeline.running), *launcher.described()]))


def require(command: str) -> str:
    """Return the path of a program that has to be there in CI; elsewhere its absence skips the test, loudly."""
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        if os.access(Path(folder) / command, os.X_OK):
            return str(Path(folder) / command)
    if os.environ.get("CI"):
        pytest.fail(f"{command} is not installed, and CI has to have it")
    pytest.skip(f"{command} IS NOT INSTALLED: this test of the real thing did not run")


def finish(ledger: Path) -> set[int]:
    """Have the oracle publish no more, and deliver what it has; return the numbers that it published."""
    oracle.pause(ledger).touch()
    wait_for("the oracle to pause", oracle.paused(ledger).exists)
    return oracle.published(ledger)


class Pipeline:
    """One running pipeline.

    Attributes:
        running: those that were started and not ended, for the text of a failure.

    Args:
        run_dir: a fresh folder; short, for a Unix socket's path holds 107 bytes.
        url: where to ship to; "" lets run.sh start a server of its own.
        environment: keys to override, e.g. ``BELABOX_COLLECTORS__CPU__INTERVAL``.
    """

    running: ClassVar[list[Pipeline]] = []

    def __init__(self, run_dir: Path, url: str = "", environment: Mapping[str, str] | None = None) -> None:
        self.run_dir = run_dir
        self.database = run_dir / "metrics.db"
        self._control = run_dir / "supervisor.sock"
        self._environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("BELABOX_")},
            "RUN_DIR": str(run_dir),
            "PYTHON": sys.executable,
            "BELABOX_HEALTH__PORT": "0",
            **({"BELABOX_REMOTE__URL": url} if url else {}),
            **(environment or {}),
        }
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Pipeline:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start everything and wait for supervisord to answer."""
        self.run_dir.mkdir(mode=0o700, exist_ok=True)
        environment = dict(self._environment)
        umask = os.umask(0o077)
        try:
            with (self.run_dir / "run.out").open("a", encoding="utf-8") as output:
                with redirect_stdout(output):
                    command = run._prepare(environment)
                self._process = program(
                    command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
                )
        finally:
            os.umask(umask)
        self.running.append(self)
        wait_for("supervisord", self._answers, 60)

    def stop(self) -> int:
        """End it as Ctrl-C does; return the exit code."""
        if self._process is None:
            return 0
        self._process.send_signal(signal.SIGINT)
        try:
            return self._process.wait(HANGS_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise
        finally:
            self._gone()

    def crash(self) -> None:
        """Kill supervisord alone, as out of memory does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(HANGS_S)
            self._gone()

    def _gone(self) -> None:
        self._process = None
        self.running.remove(self)

    def add_program(self, name: str, command: str) -> None:
        """Have supervisord run one more program; before `start`."""
        folder = self.run_dir / "programs"
        for place in (self.run_dir, folder):  # a parent that mkdir makes is open to all
            place.mkdir(mode=0o700, exist_ok=True)
        (folder / f"{name}.conf").write_text(
            f"[program:{name}]\ncommand = {command}\ndirectory = {ROOT}\nautorestart = true\npriority = 50\n"
            f'environment = PYTHONPATH="{ROOT}",BELABOX_RUN__DIR="{self.run_dir}"\n'
            f"redirect_stderr = true\nstdout_logfile = {self.run_dir}/log/{name}.log\n",
            encoding="utf-8",
        )

    def supervisorctl(self, *arguments: str) -> str:
        """Do in this process what supervisorctl does; return what it prints."""
        options, said = ClientOptions(), StringIO()
        options.prompt = "supervisor"
        with self._supervisord() as supervisord:
            options.getServerProxy = lambda: supervisord
            Controller(options, stdout=said).onecmd(" ".join(arguments))
        return said.getvalue()

    def ask(self, method: str, *arguments: str) -> Any:
        """Have supervisord do something, by the call that `supervisorctl` makes; return its answer."""
        with self._supervisord() as supervisord:
            return getattr(supervisord.supervisor, method)(*arguments)

    def _supervisord(self) -> xmlrpc.client.ServerProxy:
        control = SupervisorTransport(serverurl=f"unix://{self._control}")
        return xmlrpc.client.ServerProxy("http://localhost", control)

    def programs(self) -> dict[str, dict[str, Any]]:
        """Return what supervisord says of each program by name, with its group; nothing while it does not answer."""
        try:
            rows = self.ask("getAllProcessInfo")
        except (OSError, HTTPException, xmlrpc.client.Error):
            return {}
        return {row["name"] if row["name"] == row["group"] else f"{row['group']}:{row['name']}": row for row in rows}

    def pid(self, program: str) -> int:
        """Return the process id of a program, 0 if it does not run."""
        return int(self.programs().get(program, {}).get("pid", 0))

    def states(self) -> dict[str, str]:
        """Return supervisord's state of each program by name."""
        return {name: row["statename"] for name, row in self.programs().items()}

    def pids(self) -> dict[str, int]:
        """Return the process id of each program that runs, by name."""
        return {name: row["pid"] for name, row in self.programs().items() if row["pid"]}

    def all_running(self) -> bool:
        """Tell whether every process is up."""
        states = self.states()
        return all(states.get(process) == "RUNNING" for process in PROCESSES)

    def kill(self, program: str, number: int = signal.SIGKILL) -> int:
        """Send a signal to a program's process; return the pid that got it."""
        pid = wait_for(f"{program} to run", lambda: self.pid(program))
        os.kill(pid, number)
        return pid

    def rows(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Read from the live database as `sqlite3` would; nothing while there is none."""
        if not self.database.exists():
            return []
        connection = sqlite3.connect(f"file:{self.database}?mode=ro", uri=True, timeout=10)
        try:
            return connection.execute(query, parameters).fetchall()
        except sqlite3.OperationalError as error:
            if "no such table" not in str(error):  # the buffer is making them at this moment
                raise
            return []
        finally:
            connection.close()

    def log(self, program: str) -> str:
        """Return a program's log."""
        path = self.run_dir / "log" / f"{program}.log"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def health(self, path: str = "/health") -> tuple[int, dict[str, Any]]:
        """Return status code and body of a health endpoint; (0, {}) while nothing answers."""
        status, text = self.get(path)
        return status, json.loads(text) if text else {}

    def wait_status(self, status: str, timeout_s: float = 30.0) -> None:
        """Wait until /health has a status; fail with all that it had meanwhile."""
        seen, patience = Counter[str](), Patience(timeout_s)
        while self.health()[1].get("status") != status:
            seen[self.verdict()] += 1
            if patience.is_over():
                fail(f"waited {timeout_s:g} s for /health to be {status}; it was, and how often: {dict(seen)}")
            time.sleep(0.05)

    def wait_blamed(self, part: str, *, timeout_s: float = 60.0) -> None:
        """Wait until a reason of /health names a part, whatever else it names."""
        wait_for(f"/health to name {part}", lambda: part in self.blamed(), timeout_s)

    def wait_cleared(self, part: str, *, timeout_s: float = 60.0) -> None:
        """Wait until /health answers, and no reason names a part, whatever else they name."""
        wait_for(f"/health to name {part} no more", lambda: self.health()[0] and part not in self.blamed(), timeout_s)

    def blamed(self) -> set[str]:
        """Return the parts that the reasons of /health name."""
        return {reason["part"] for reason in self.health()[1].get("reasons", ())}

    def verdict(self) -> str:
        """Return status and reasons of /health in a line."""
        health = self.health()[1]
        reasons = [f"{reason['part']}: {reason['text']}" for reason in health.get("reasons", ())]
        return f"{health.get('status', 'no answer')} {'; '.join(reasons)}".rstrip()

    def described(self) -> str:
        """Return how everything is, for the text of a failure."""
        states = {name: state for name, state in self.states().items() if state != "RUNNING"}
        lines = [f"{self.run_dir}: /health is {self.verdict()}; not running: {states or 'none'}"]
        for log in sorted((self.run_dir / "log").glob("*.log")):
            bad = re.findall(r'(?m)^.*"level": "(?:WARNING|ERROR|CRITICAL)".*$', self.log(log.stem))
            lines += [f"  {log.stem}: {line[:300]}" for line in bad[-2:]]
        return "\n".join(lines)

    def get(self, path: str) -> tuple[int, str]:
        """Return status code and text of an endpoint; (0, "") while nothing answers."""
        address = self.run_dir / "healthd.address"
        if not address.exists():
            return 0, ""
        url = f"http://{address.read_text(encoding='ascii').strip().removeprefix('http://')}{path}"
        return answer(url, 5)

    def _answers(self) -> bool:
        if self._process is not None and self._process.poll() is not None:
            pytest.fail((self.run_dir / "run.out").read_text(encoding="utf-8"))
        return bool(self.programs())
