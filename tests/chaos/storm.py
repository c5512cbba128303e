"""Random faults against a running pipeline, and the oracle's account at the end.

In: a seed, which decides every fault and its length; a duration. Out: a ledger of faults and samples. The
claim under test: every number the oracle published is in the database once and at the server once.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests import oracle
from tests.chaos.proxy import Proxy
from tests.chaos.server import RealServer
from tests.harness import COLLECTORS, Pipeline
from tests.integration.conftest import QUICK
from tests.patience import Patience

PROCESSES = ("buffer", "shipper", "healthd", "oracle", *(f"collectors:{name}" for name in COLLECTORS))
# The ones that hold samples are hit as often as all others together.
TARGETS = (*PROCESSES, "buffer", "shipper", "oracle", "buffer", "shipper", "oracle")
# What a server loses twice within seconds can lie before the grace of its last start: then the span's audit finds it.
SETTLE_S = 480.0
SETTINGS = {**QUICK, "BELABOX_REMOTE__AUDIT__GRACE": "60s"}  # as it is by default


@dataclass
class Ledger:
    """What was done and what came of it.

    Attributes:
        faults: how many of each kind.
        published: numbers the oracle published.
        stored: how often each number is in the database.
        arrived: how often each number is at the server.
    """

    faults: Counter[str] = field(default_factory=Counter)
    published: set[int] = field(default_factory=set)
    stored: Counter[int] = field(default_factory=Counter)
    arrived: Counter[int] = field(default_factory=Counter)

    @property
    def lost(self) -> set[int]:
        """Published and not at the server."""
        return self.published - self.arrived.keys()

    @property
    def doubled(self) -> set[int]:
        """At the server, or in the database, more than once."""
        return {n for counts in (self.stored, self.arrived) for n, times in counts.items() if times > 1}

    def lines(self) -> list[str]:
        """Return the ledger for people."""
        return [
            f"faults     {sum(self.faults.values())}: "
            + ", ".join(f"{kind} {count}" for kind, count in sorted(self.faults.items())),
            f"published  {len(self.published)}",
            f"stored     {len(self.published & self.stored.keys())}",
            f"arrived    {len(self.published & self.arrived.keys())}",
            f"lost       {len(self.lost)}",
            f"doubled    {len(self.doubled)}",
        ]


class Storm:
    """Faults by a seeded die.

    Args:
        pipeline: running, with the oracle in it.
        server: behind the proxy.
        proxy: the network.
        seed: decides everything.
        pause_s: mean time between two faults.
    """

    def __init__(self, pipeline: Pipeline, server: RealServer, proxy: Proxy, seed: int, pause_s: float) -> None:
        self._pipeline = pipeline
        self._server = server
        self._proxy = proxy
        self._dice = random.Random(seed)
        self._pause_s = pause_s
        self.ledger = Ledger()
        self._faults: list[tuple[int, str, Callable[[], None]]] = [
            (8, "kill -9", self._kill),
            (2, "SIGTERM", self._terminate),
            (3, "SIGSTOP", self._hang),
            (1, "restart", self._restart),
            (4, "network", self._network),
            (2, "server kill -9", self._kill_server),
            (1, "reader stays", lambda: self._keep_open("BEGIN", "SELECT count(*) FROM metrics")),
            (1, "writer stays", lambda: self._keep_open("BEGIN IMMEDIATE")),
        ]

    def rage(self, duration_s: float, tell: Callable[[str], None]) -> None:
        """Do faults until the time is over."""
        end_s = time.monotonic() + duration_s
        told_s = time.monotonic()
        weights = [weight for weight, _, _ in self._faults]
        while time.monotonic() < end_s:
            time.sleep(self._dice.expovariate(1 / self._pause_s))
            _, kind, fault = self._dice.choices(self._faults, weights)[0]
            self.ledger.faults[kind] += 1
            fault()
            if time.monotonic() - told_s > 30:
                told_s = time.monotonic()
                tell(f"{end_s - told_s:.0f} s to go, {sum(self.ledger.faults.values())} faults")
        self._proxy.mode = "pass"

    def account(self, ledger: Path) -> Ledger:
        """Stop the oracle, wait until everything has arrived or the time is over, and count."""
        self._pipeline.supervisorctl("start", "all")
        self._pipeline.supervisorctl("stop", "oracle")
        name = oracle.METRIC.replace(".", "_")
        self.ledger.published = oracle.published(ledger)
        patience = Patience(SETTLE_S)
        while True:
            self.ledger.arrived = self._server.values(name)
            if not self.ledger.lost or patience.is_over():
                break
            time.sleep(1)
        rows = self._pipeline.rows("SELECT metric_value FROM metrics WHERE metric_name = ?", oracle.METRIC)
        self.ledger.stored = Counter(int(row[0]) for row in rows)
        return self.ledger

    def _send(self, number: int) -> int:
        pid = self._pipeline.pid(self._dice.choice(TARGETS))
        if pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        return pid

    def _kill(self) -> None:
        self._send(signal.SIGKILL)

    def _terminate(self) -> None:
        self._send(signal.SIGTERM)

    def _hang(self) -> None:
        pid = self._send(signal.SIGSTOP)
        time.sleep(self._dice.uniform(0.2, 5))
        if pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def _restart(self) -> None:
        self._pipeline.supervisorctl("restart", self._dice.choice(TARGETS))

    def _network(self) -> None:
        self._proxy.mode = self._dice.choice(Proxy.MODES)
        time.sleep(self._dice.uniform(0.2, 4))
        self._proxy.mode = "pass"

    def _keep_open(self, *statements: str) -> None:
        """Keep a transaction on the database open for a while, as a prompt does."""
        file, hold_s = f"file:{self._pipeline.database}?mode=rw", self._dice.uniform(0.2, 4)
        with (
            contextlib.suppress(sqlite3.OperationalError),  # somebody else writes
            contextlib.closing(sqlite3.connect(file, uri=True, isolation_level=None)) as prompt,
        ):
            for statement in statements:
                prompt.execute(statement).fetchall()
            time.sleep(hold_s)

    def _kill_server(self) -> None:
        self._server.kill()
        time.sleep(self._dice.uniform(0, 2))
        self._server.start()


def run(binary: str, folder: Path, seed: int, duration_s: float, environment: dict[str, str]) -> Ledger:
    """Run one storm from nothing to its account.

    Args:
        binary: of victoria-metrics.
        folder: fresh, with a short path.
        seed: repeats the same faults.
        duration_s: of the storm itself.
        environment: settings of the pipeline.
    """
    server = RealServer(binary, folder)
    server.start()
    proxy = Proxy(server.port)
    pipeline = Pipeline(folder / "p", f"http://127.0.0.1:{proxy.port}/api/v1/import", environment)
    ledger = folder / "p" / "ledger"
    pipeline.add_program("oracle", f"{sys.executable} -m tests.oracle --ledger {ledger}")
    try:
        with pipeline:
            storm = Storm(pipeline, server, proxy, seed, pause_s=0.7)
            storm.rage(duration_s, print)
            return storm.account(ledger)
    finally:
        proxy.close()
        server.kill()
