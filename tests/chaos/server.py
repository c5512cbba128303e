"""A real VictoriaMetrics that can be killed and started again on the same data and port."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
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
        self._data, self._copy = folder / "victoria-metrics", folder / "victoria-metrics.backup"
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
                    f"-storageDataPath={self._data}",
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

    def back_up(self) -> None:
        """Stop it as one should, keep a copy of its data, and start it."""
        self.kill(signal.SIGTERM)
        shutil.rmtree(self._copy, ignore_errors=True)
        shutil.copytree(self._data, self._copy)
        self.start()

    def roll_back(self) -> None:
        """Put the data back as of the last copy, or none where there is no copy; it is to be started."""
        self.wipe()
        if self._copy.exists():
            shutil.copytree(self._copy, self._data)

    def wipe(self) -> None:
        """Lose all data; it is to be started."""
        self.kill()
        shutil.rmtree(self._data)

    def values(self, name: str) -> Counter[int]:
        """Count each value of a metric that is visible, by export."""
        found: Counter[int] = Counter()
        for line in self._export(f'__name__="{name}"'):
            found.update(map(int, line["values"]))
        return found

    def times(self, selector: str = '__name__!=""') -> dict[frozenset[tuple[str, str]], dict[int, float]]:
        """Return what is visible of each series: values by time, in Unix milliseconds."""
        found: dict[frozenset[tuple[str, str]], dict[int, float]] = {}
        for line in self._export(selector):
            samples = found.setdefault(frozenset(line["metric"].items()), {})
            samples.update(zip(line["timestamps"], line["values"], strict=True))
        return found

    def _export(self, selector: str) -> Iterator[dict[str, Any]]:
        self._get("/internal/force_flush")
        # The server remembers which series a filter matched; one that it was never asked knows the newest too.
        matched = quote(f'{{{selector},asked!="{time.time_ns()}"}}')
        yield from map(json.loads, self._get(f"/api/v1/export?match[]={matched}&start=0&end=4102444800").splitlines())

    def _answers(self) -> bool:
        try:
            return self._get("/health") == "OK"
        except OSError:
            return False

    def _get(self, path: str) -> str:
        with urlopen(f"{self.url}{path}", timeout=60) as answer:
            return str(answer.read().decode())
