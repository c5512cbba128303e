"""Buffer, shipper and an oracle as plain processes: a device without supervisord and collectors."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests import oracle
from tests.harness import ROOT, Pipeline
from tests.launcher import program


class Device:
    """Buffer, shipper and an oracle as plain processes in a folder.

    Args:
        folder: fresh, with a short path.
        url: of the import.
        keys: of the configuration, e.g. ``REMOTE__PROOF="header"``.
    """

    def __init__(self, folder: Path, url: str, **keys: str) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / "log").mkdir(exist_ok=True)
        self.folder, self.ledger = folder, folder / "ledger"
        self._files = Pipeline(folder, url)  # reads the database and the logs
        settings = {
            "RUN__DIR": str(folder),
            "STORAGE__PATH": str(folder / "metrics.db"),
            "STORAGE__COMMIT_INTERVAL": "200ms",
            "REMOTE__URL": url,
            "REMOTE__UPLOAD_INTERVAL": "1s",
            "REMOTE__BACKFILL__RATE_LIMIT": "20/s",
            "REMOTE__RETRY__INITIAL_BACKOFF": "200ms",
            "REMOTE__RETRY__MAX_BACKOFF": "1s",
            "LOGGING__LEVEL": "debug",
            **keys,
        }
        own = {name: value for name, value in os.environ.items() if not name.startswith("BELABOX_")}
        self._environment = {**own, **{f"BELABOX_{name}": value for name, value in settings.items()}}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Device:
        self.start("buffer", "buffer")
        self.start("shipper", "shipper")
        return self

    def __exit__(self, *_: object) -> None:
        for name in ("oracle", "shipper", "buffer"):
            self.stop(name)

    def start(self, name: str, module: str, *arguments: str) -> None:
        """Start a process."""
        with (self.folder / "log" / f"{name}.log").open("ab") as log:
            command = [sys.executable, "-m", module, *arguments]
            self._processes[name] = program(
                command, cwd=ROOT, env=self._environment, stdout=log, stderr=subprocess.STDOUT
            )

    def publish(self, *arguments: str) -> None:
        """Start the oracle."""
        self.start("oracle", "tests.oracle", "--ledger", str(self.ledger), *arguments)

    def stop(self, name: str) -> None:
        """End a process as supervisord does."""
        process = self._processes.pop(name, None)
        if process is not None:
            process.terminate()
            process.wait(30)

    def log(self, name: str) -> str:
        """Return a process' log."""
        return self._files.log(name)

    def rows(self, query: str) -> list[tuple[object, ...]]:
        """Read from the live database."""
        return self._files.rows(query)

    def uploaded(self) -> set[int]:
        """Return the numbers that are marked uploaded."""
        query = "SELECT metric_value FROM metrics WHERE metric_name = ? AND uploaded = 1"
        return {int(value) for (value,) in self._files.rows(query, oracle.METRIC)}

    def quarantined(self) -> int:
        """Return how many samples were quarantined."""
        return self.log("buffer").count('"quarantined"')
