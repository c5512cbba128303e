"""A real VictoriaMetrics that can be killed and started again on the same data and port."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path
from urllib.parse import quote
from urllib.request import urlopen

from tests.free_port import free_port
from tests.harness import wait_for


class RealServer:
    """One `victoria-metrics` process.

    Args:
        binary: its path.
        folder: for data and log.
    """

    def __init__(self, binary: str, folder: Path) -> None:
        self._binary = binary
        self._folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Its process id, 0 while it does not run."""
        return self._process.pid if self._process else 0

    def start(self) -> None:
        """Start it and wait until it answers."""
        with (self._folder / "victoria-metrics.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    self._binary,
                    f"-storageDataPath={self._folder / 'victoria-metrics'}",
                    f"-httpListenAddr=127.0.0.1:{self.port}",
                    "-retentionPeriod=100y",
                    "-dedup.minScrapeInterval=1ms",
                    "-search.latencyOffset=0s",
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        wait_for("victoria-metrics", self._answers, 30)

    def kill(self, number: int = signal.SIGKILL) -> None:
        """End it, by default without warning: what it had acked in its last seconds is gone."""
        if self._process is not None:
            os.kill(self._process.pid, number)
            self._process.wait(30)
            self._process = None

    def values(self, name: str) -> Counter[int]:
        """Count each value of a metric that is visible, by export."""
        self._get("/internal/force_flush")
        found: Counter[int] = Counter()
        # The server remembers which series a filter matched; one that it was never asked knows the newest too.
        selector = quote(f'{{__name__="{name}",asked!="{time.time_ns()}"}}')
        for line in self._get(f"/api/v1/export?match[]={selector}&start=0&end=4102444800").splitlines():
            found.update(int(value) for value in json.loads(line)["values"])
        return found

    def _answers(self) -> bool:
        try:
            return self._get("/health") == "OK"
        except OSError:
            return False

    def _get(self, path: str) -> str:
        with urlopen(f"{self.url}{path}", timeout=60) as answer:
            return str(answer.read().decode())
