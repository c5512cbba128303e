"""The faults of a storm, each with its weight: processes, network, server, disk, clock, and what stands between."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import sqlite3
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import NamedTuple

from tests import log_server
from tests.chaos import damage
from tests.chaos.deliveries import Deliveries
from tests.chaos.portal import PORTALS, Portal
from tests.chaos.proxy import Proxy
from tests.chaos.server import RealServer
from tests.harness import COLLECTORS, Pipeline
from tests.shifted_clock import ShiftedClock

PROCESSES = ("buffer", "shipper", "healthd", "oracle", *(f"collectors:{name}" for name in COLLECTORS))
# The ones that hold samples are hit as often as all others together.
TARGETS = (*PROCESSES, "buffer", "shipper", "oracle", "buffer", "shipper", "oracle")
BAD_STATUSES = ("400", "404", "413", "502")
YEAR_MS = 365 * 86_400_000


class World(NamedTuple):
    """What faults are done to."""

    pipeline: Pipeline
    server: RealServer
    proxy: Proxy  # the network
    portal: Portal  # between the network and the server
    logs: log_server.LogServer
    clock: ShiftedClock
    deliveries: Deliveries


class Faults:
    """One method for each kind of fault; it returns when the fault is over.

    Args:
        world: what they are done to.
        dice: decides the details.
        without: kinds that are left out.
    """

    def __init__(self, world: World, dice: random.Random, without: Collection[str] = ()) -> None:
        self._world, self._dice = world, dice
        kinds: list[tuple[float, str, Callable[[], object]]] = [
            (8, "kill -9", lambda: self._send(signal.SIGKILL)),
            (2, "SIGTERM", lambda: self._send(signal.SIGTERM)),
            (3, "SIGSTOP", self._hang),
            (1, "restart", lambda: self._restart(dice.choice(TARGETS))),
            (0.5, "supervisord kill -9", self._kill_supervisord),
            (4, "network", self._network),
            (1, "portal", lambda: self._stand_between(dice.choice(list(PORTALS)))),
            (1, "bad backend", lambda: self._stand_between(dice.choice(BAD_STATUSES))),
            (1, "partial answer", lambda: self._stand_between("partial")),
            (2, "server kill -9", lambda: self._without_server(world.server.kill)),
            (0.3, "server backup", lambda: self._without_server(world.server.back_up)),
            (0.3, "server rollback", lambda: self._without_server(world.server.roll_back)),
            (0.2, "server wipe", lambda: self._without_server(world.server.wipe)),
            (1, "log server kill -9", self._kill_log_server),
            (1, "reader stays", lambda: self._keep_open("BEGIN", "SELECT count(*) FROM metrics")),
            (1, "writer stays", lambda: self._keep_open("BEGIN IMMEDIATE")),
            (0.3, "bit flip in the database", lambda: self._flip(world.pipeline.database)),
            (0.3, "bit flip in the log", lambda: self._flip(world.pipeline.database.with_name("metrics.db-wal"))),
            (1, "spool lost", self._lose_spool),
            (1, "clock years ahead", self._step_clock),
        ]
        self._kinds = [kind for kind in kinds if kind[1] not in without]

    def one(self) -> str:
        """Do one fault; return its kind."""
        _, kind, fault = self._dice.choices(self._kinds, [weight for weight, _, _ in self._kinds])[0]
        fault()
        return kind

    def _send(self, number: int) -> int:
        pid = self._world.pipeline.pid(self._dice.choice(TARGETS))
        if pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        return pid

    def _hang(self) -> None:
        pid = self._send(signal.SIGSTOP)
        time.sleep(self._dice.uniform(0.2, 5))
        if pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def _restart(self, name: str) -> None:
        self._world.pipeline.supervisorctl("restart", name)

    def _kill_supervisord(self) -> None:
        self._world.pipeline.crash()
        self._world.pipeline.start()

    def _network(self) -> None:
        self._world.proxy.mode = self._dice.choice(Proxy.MODES)
        time.sleep(self._dice.uniform(0.2, 4))
        self._world.proxy.mode = "pass"

    def _stand_between(self, mode: str) -> None:
        self._world.portal.mode = mode
        time.sleep(self._dice.uniform(0.2, 4))
        self._world.portal.mode = "pass"

    def _without_server(self, end: Callable[[], None]) -> None:
        """Take the server away, and compare what it has afterwards with what it had acknowledged."""
        world = self._world
        world.portal.mode = "gone"
        end()
        time.sleep(self._dice.uniform(0, 2))
        if not world.server.pid:
            world.server.start()
        world.deliveries.compare(world.server.times())
        world.portal.mode = "pass"

    def _kill_log_server(self) -> None:
        self._world.logs.kill()
        time.sleep(self._dice.uniform(0, 2))
        self._world.logs.start()

    def _keep_open(self, *statements: str) -> None:
        """Keep a transaction on the database open for a while, as a prompt does."""
        file, hold_s = f"file:{self._world.pipeline.database}?mode=rw", self._dice.uniform(0.2, 4)
        with (
            contextlib.suppress(sqlite3.DatabaseError),  # somebody else writes, or it was just damaged
            contextlib.closing(sqlite3.connect(file, uri=True, isolation_level=None)) as prompt,
        ):
            for statement in statements:
                prompt.execute(statement).fetchall()
            time.sleep(hold_s)

    def _flip(self, file: Path) -> None:
        with contextlib.suppress(FileNotFoundError):  # it is being replaced
            if size := file.stat().st_size:
                damage.flip_one(file, self._dice, size)

    def _lose_spool(self) -> None:
        shutil.rmtree(self._world.pipeline.run_dir / "spool", ignore_errors=True)

    def _step_clock(self) -> None:
        self._world.clock.set(self._dice.randrange(1, 4) * YEAR_MS, synchronised=False)
        time.sleep(self._dice.uniform(1, 4))
        self._world.clock.set(0, synchronised=True)
