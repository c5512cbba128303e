"""One stage as supervisord starts it: a child process with a private run directory and a log that can be read."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.harness import ROOT, wait_for
from tests.launcher import program

TIMEOUT_S = 300.0  # ends what hangs


class Child:
    """`python -m …` in a run directory.

    Args:
        run_dir: sockets, log and, if nothing else is said, the database.
        arguments: what follows `python`, e.g. ``["-m", "buffer"]``.
        environment: variables to override, e.g. ``BELABOX_LOGGING__LEVEL``; None leaves one out.
    """

    def __init__(
        self, run_dir: Path, arguments: Sequence[str], environment: Mapping[str, str | None] | None = None
    ) -> None:
        self.output = run_dir / f"{'-'.join(arguments).strip('-').replace('/', '')[:40]}.log"
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("BELABOX_")}
        own = {
            "BELABOX_RUN__DIR": str(run_dir),
            "BELABOX_RUN__HEARTBEAT_INTERVAL": "200ms",
            "BELABOX_STORAGE__PATH": str(run_dir / "metrics.db"),
            "BELABOX_STORAGE__COMMIT_INTERVAL": "50ms",
            **(environment or {}),
        }
        with self.output.open("ab") as output:
            self.process = program(
                [sys.executable, *arguments],
                cwd=ROOT,
                env={**inherited, **{name: value for name, value in own.items() if value is not None}},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def __enter__(self) -> Child:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            print(f"{self.output}: exit code {self.process.poll()}\n{self.text[-4000:]}")
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(TIMEOUT_S)

    @property
    def pid(self) -> int:
        """The process id."""
        return self.process.pid

    @property
    def text(self) -> str:
        """Everything it has written."""
        return self.output.read_text(encoding="utf-8")

    def lines(self, message: str) -> list[dict[str, Any]]:
        """Return the log lines with a message, as fields."""
        lines = (json.loads(line) for line in self.text.splitlines() if line.startswith("{"))
        return [line for line in lines if line["msg"] == message]

    def wait_for_line(self, message: str, count: int = 1) -> dict[str, Any]:
        """Wait until a message has been logged a number of times; return the last one's fields."""
        wait_for(f"{message!r} in {self.output}", lambda: len(self.lines(message)) >= count, TIMEOUT_S)
        return self.lines(message)[-1]

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """End it as a power cut does."""
        self.process.kill()
        self.process.wait(TIMEOUT_S)

    def stop(self) -> int:
        """End it as supervisord does; return the exit code."""
        self.send(signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        """Wait for its end; return the exit code."""
        return self.process.wait(TIMEOUT_S)


def buffer(run_dir: Path, environment: Mapping[str, str | None] | None = None, *arguments: str) -> Child:
    """Start the real buffer."""
    return Child(run_dir, ["-m", "buffer", *arguments], environment)


def memory(run_dir: Path, environment: Mapping[str, str | None] | None = None, *arguments: str) -> Child:
    """Start the real collector of memory."""
    return Child(run_dir, ["-m", "collectors", "memory", *arguments], environment)
