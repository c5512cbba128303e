"""A buffer in this process on a database of your choice, with a producer and a shipper of its own.

The same objects that `python -m buffer` builds, turned by hand: a test sees everything and waits for states.
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import signal
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import apsw

from buffer.service import Buffer
from common import wire
from common.instruments import Instruments
from common.log import Log
from common.publisher import Publisher
from common.sample import PRIORITIES, Sample
from common.service import Service
from tests.patience import Patience

WAIT_S = 20.0
SLOTS = 100  # series
FIRST_MS = 1_760_900_000_000
QUICK = {"commit_interval": "50ms"}


class Patient:
    """The buffer.

    Args:
        home: folder of the database.
        run_dir: folder of the sockets.
        settings: keys of section storage, as in the environment.
    """

    def __init__(self, home: Path, run_dir: Path, **settings: str) -> None:
        root = logging.getLogger()
        self._before = dict(os.environ), root.handlers[:], root.level, signal.getsignal(signal.SIGHUP)
        os.environ.update(
            BELABOX_RUN__DIR=str(run_dir),
            BELABOX_STORAGE__PATH=str(home / "metrics.db"),
            BELABOX_LOGGING__LEVEL="error",
            **{f"BELABOX_STORAGE__{key.upper()}": value for key, value in {**QUICK, **settings}.items()},
        )
        self.home = home
        self.process = Service("buffer", argparse.Namespace(config=None))
        self.process.publishes()
        self.buffer = Buffer(self.process)
        self.process.loop.every(0.002, lambda: None)  # so that no turn waits longer
        self._instruments = Instruments()
        self._publisher = Publisher("patient", run_dir, self._instruments, Log("patient"), 200_000)
        self._numbers = count(1)
        self.published = 0
        self.bad_answers: list[dict[str, Any]] = []

    @property
    def stored(self) -> int:
        """How many samples there are, besides those that count the buffer's own events."""
        query = (
            "SELECT count(*) FROM samples WHERE id AND series_id NOT IN "  # by the table, whatever an index says
            "(SELECT id FROM series WHERE metric_name = 'events_total')"
        )
        return int(self.buffer.store._connection.execute(query).get)

    def is_well(self) -> bool:
        """Tell whether nothing is paused, damaged or waiting to be salvaged."""
        buffer = self.buffer
        return (
            buffer.ingest.paused is None
            and buffer.store.damage is None
            and not buffer.rescue.busy
            and not buffer.rescue._aside.unfinished()
        )

    def counted_lost(self) -> float:
        """Return how many samples were counted as lost, each by its name."""
        counter = self.process.instruments.counter
        return sum(counter("storage.lost_samples_total", reason="damaged", priority=str(one)) for one in PRIORITIES)

    def turn(self) -> None:
        """Let the buffer and the producer do what is due, once."""
        self.process.loop.turn()
        self._publisher.receive()

    def wait_until(self, what: str, is_so: Callable[[], bool], timeout_s: float = WAIT_S) -> None:
        """Turn until something is so.

        Raises:
            AssertionError: it does not become so.
        """
        patience = Patience(timeout_s)
        while not is_so():
            assert not patience.is_over(), f"waited {timeout_s:g} s until {what}; {self.buffer.status}"
            self.turn()

    def publish(self, samples: int, name: str = "patient.number") -> Callable[[], bool]:
        """Publish numbers in batches of 100; return what tells whether all is acked."""
        end = self.published + samples
        while self.published < end:
            numbers = range(self.published, min(end, self.published + SLOTS))
            self.published = numbers.stop
            batch = [Sample(name, number, {"slot": str(number % SLOTS)}) for number in numbers]
            self._publisher.publish(batch, FIRST_MS + numbers.start)
        return lambda: not self._publisher.unacked_samples

    def ask(self, **request: Any) -> dict[str, Any]:
        """Ask the drain, as the shipper does; note an answer that no shipper should get."""
        answer: dict[str, Any] = self.buffer.drain.answer(wire.unpack(wire.pack({"v": 1, "id": 1, **request})))
        if answer.get("error") not in {None, "storage", "unknown_lease"}:
            self.bad_answers.append({**request, **answer})
        return answer

    def use(self, chance: random.Random) -> None:
        """Do what an ordinary second consists of: samples in, leases out, marks, sizes, checkpoints."""
        for _ in range(5):
            self.publish(20)
            lease = self.ask(op="lease", priority=2, max_samples=chance.choice((50, 500)), before_ms=None)
            self.turn()
            if lease.get("lease"):
                samples = sum(len(group[3]) for group in lease["groups"])
                self.ask(op="done", lease=lease["lease"], upto=samples, batch_id="use", chunk_index=0)
            self.ask(op="stats", intervals_s=[0, 10, 60, 600])
            self.buffer.measure()
        self.buffer.checkpoints.checkpoint()

    def drain_everything(self) -> None:
        """Lease and mark until nothing is pending; damage that only a lease meets is replaced first.

        Raises:
            AssertionError: it does not end.
        """
        patience = Patience(WAIT_S)
        while any("error" in self._drain(priority, patience) for priority in PRIORITIES):
            self.wait_until("what a lease met is replaced, and salvaged", self.is_well)
        assert [0] * len(PRIORITIES) == self.ask(op="stats", intervals_s=[0, 0, 0, 0])["pending"]
        assert [] == self.bad_answers

    def _drain(self, priority: int, patience: Patience) -> dict[str, Any]:
        """Lease and mark what is pending of a priority; return the answer that is no lease."""
        while (lease := self.ask(op="lease", priority=priority, max_samples=5_000, before_ms=None)).get("lease"):
            assert not patience.is_over(), f"still leases: {lease['lease']}"
            samples = sum(len(group[3]) for group in lease["groups"])
            self.ask(op="done", lease=lease["lease"], upto=samples, batch_id="all", chunk_index=0)
        return lease

    def look_at_everything(self) -> None:
        """Have SQLite look at every page; what it finds is noticed as it would be when the page is needed."""
        store = self.buffer.store
        try:
            store._connection.execute("PRAGMA shrink_memory")  # else it would look at what it remembers
            answer = store._connection.execute("PRAGMA integrity_check(1)").get
            if answer != "ok":
                raise apsw.CorruptError(answer)
        except apsw.Error as error:
            store.notice(error)

    def close(self) -> dict[str, Any]:
        """End as on SIGTERM, leave environment, log and signals as they were; return what was counted."""
        instruments = self.process.instruments
        aside = [path.name for path in self.home.iterdir() if ".corrupt-" in path.name and path.suffix != ".json"]
        self._publisher.close()
        self.process.close()
        environment, handlers, level, on_reload = self._before
        os.environ.clear()
        os.environ.update(environment)
        logging.getLogger().handlers[:] = handlers
        logging.getLogger().setLevel(level)
        signal.signal(signal.SIGHUP, on_reload)
        return {
            "set_aside": len(aside),
            "salvaged": instruments.counter("storage.salvaged_samples_total"),
            "lost": instruments.counter("storage.unsalvaged_samples_total") + self.counted_lost(),
        }
