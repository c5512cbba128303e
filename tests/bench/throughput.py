"""How fast samples come in and go out, through real processes, sockets and a real server.

Reads: a buffer process that takes samples from this one until all are acked; a shipper that drains a backlog to a
    victoria-metrics; the time from publishing an urgent sample to the 204 for it, idle and behind a backlog.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

from buffer.storage.store import Store
from common import clock
from common.instruments import Instruments
from common.log import Log
from common.publisher import Publisher
from common.sample import Batch, Sample
from common.settings import Storage
from tests.bench import acked, sink, target
from tests.bench.figures import Figure
from tests.bench.usage import Watch
from tests.harness import ROOT, wait_for

SERIES = 200
INGEST = 1_000_000
IN_FLIGHT = 100_000  # samples of a producer that are not acked
URGENT = 200  # samples whose way is timed
ENDED_MS = 3_600_000  # a backlog ended so long ago: none of it is fresh, and waits for its lane
STARTING = 10  # of them wait until both processes are there
BETWEEN_S = 0.02
P0 = "events_total"  # a number that the catalogue calls critical
# A server that has just been started is sent its first seconds again.
NO_AUDIT = {"BELABOX_REMOTE__AUDIT__ENABLED": "false"}
UNPACED = {"BELABOX_REMOTE__BACKFILL__BANDWIDTH_LIMIT": "100%", "BELABOX_REMOTE__BACKFILL__RATE_LIMIT": "1000/s"}


def figures(folder: Path, backlogs: Sequence[int], paced: int, behind: Sequence[int], server: str) -> Iterator[Figure]:
    """Measure ingest, drain of each backlog, and the way of urgent samples before others."""
    folder.mkdir()
    yield _ingest(folder / "in")
    for samples in backlogs:
        yield _drain(folder / f"out-{samples}", samples, server)
    if paced:
        yield _drain(folder / "paced", paced, server, paced=True)
    for backlog in behind:
        yield _urgent(folder / f"urgent-{backlog}", backlog)


def _ingest(folder: Path) -> Figure:
    """Publish batches as fast as they are acked."""
    with _processes(folder, "buffer") as pids:
        publisher = Publisher("bench", folder, Instruments(), Log("bench"), 2 * IN_FLIGHT)
        try:
            batches = [_samples(number) for number in range(100)]
            watch, began_s = Watch(pids), time.monotonic()
            start_ms, sent = clock.wall_ms() - 3_600_000, 0
            while sent < INGEST or publisher.unacked_samples:
                if sent < INGEST and publisher.unacked_samples < IN_FLIGHT:
                    publisher.publish(batches[sent // SERIES % len(batches)], start_ms + sent // SERIES)
                    sent += SERIES
                else:
                    publisher.socket.poll(1000)
                publisher.receive()
            seconds = time.monotonic() - began_s
            cpu = f"buffer: {watch.use().cpu_percent:.0f} % of a core, {_rows(folder):,} of {sent:,} stored"
        finally:
            publisher.close()
    return Figure("ingest: publisher to COMMIT and ack", sent / seconds, "samples/s", "150,000", cpu)


def _drain(folder: Path, samples: int, server: str, *, paced: bool = False) -> Figure:
    """Upload a backlog to a real server: as fast as it goes, or as the default leaves room for the stream."""
    folder.mkdir()
    _backlog(folder, samples)
    with target.running(folder, server) as url:
        settings = {"BELABOX_REMOTE__URL": f"{url}/api/v1/import", **NO_AUDIT, **({} if paced else UNPACED)}
        with _processes(folder, "buffer", "shipper", settings=settings) as pids:
            wait_for("the first of them", lambda: _rows(folder, "chunk IS NULL") < samples, 60)
            left, watch, began_ms = _rows(folder, "chunk IS NULL"), Watch(pids), clock.wall_ms()
            wait_for("the last of them", lambda: _rows(folder, "chunk IS NULL") == 0, 600)
            use = watch.use()
    # The last marks wait for the next commit, with which they are written: the time of the acknowledgement is in them.
    seconds = (_one(folder, "SELECT max(upload_time) FROM upload_checkpoints") - began_ms) / 1000
    beside = f"buffer and shipper: {use.cpu_percent:.0f} % of a core"
    what, budget = (", with the default's pauses", "") if paced else ("", "200,000")
    return Figure(f"drain of {samples:,}{what}", left / seconds, "samples/s", budget, beside)


def _urgent(folder: Path, backlog: int) -> Figure:
    """Time urgent samples to the server, one after another."""
    folder.mkdir()
    _backlog(folder, backlog)
    with (
        sink.running(P0) as server,
        _processes(folder, "buffer", "shipper", settings={"BELABOX_REMOTE__URL": server.url}),
    ):
        publisher = Publisher("bench", folder, Instruments(), Log("bench"), 1_000_000)
        try:
            times_s = [_way(publisher, server, number) for number in range(URGENT)]
        finally:
            publisher.close()
    quantiles = statistics.quantiles([1000 * one for one in times_s[STARTING:]], n=100)
    what = "P0: published to 204, p99" + (f", behind {backlog:,}" if backlog else ", idle")
    return Figure(what, quantiles[98], "ms", "20", f"median {quantiles[49]:.1f} ms of {URGENT}")


def _way(publisher: Publisher, server: sink.Sink, number: int) -> float:
    """Return how long one urgent sample takes until the server has it."""
    began_s = time.perf_counter()
    acked.publish(publisher, Sample(P0, number))
    seconds = server.came_s(number) - began_s
    time.sleep(BETWEEN_S)
    return seconds


@contextmanager
def _processes(folder: Path, *stages: str, settings: Mapping[str, str] | None = None) -> Iterator[list[int]]:
    """Run stages by themselves, on the database of a folder; give their process ids."""
    folder.mkdir(exist_ok=True)
    environment = {
        **os.environ, "BELABOX_RUN__DIR": str(folder), "BELABOX_STORAGE__PATH": str(folder / "metrics.db"),
        **(settings or {}),
    }  # fmt: skip
    with (folder / "log").open("wb") as log:
        started = [
            subprocess.Popen([sys.executable, "-m", stage], cwd=ROOT, env=environment, stdout=log, stderr=log)
            for stage in stages
        ]
    try:
        wait_for("the buffer", (folder / "ingest.ipc").exists, 30)
        yield [process.pid for process in started]
    finally:
        for process in reversed(started):
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def _backlog(folder: Path, samples: int) -> None:
    """Have a database with samples of the last hours that wait."""
    store = Store(replace(Storage(), path=folder / "metrics.db"), "bench")
    rounds = samples // SERIES
    start_ms = clock.wall_ms() - ENDED_MS - rounds * 1000
    for first in range(0, rounds, 50):
        numbers = range(first, min(first + 50, rounds))
        store.write(Batch("bench", "e", n, start_ms + 1000 * n, 0, "", False, _samples(n)) for n in numbers)
    store.checkpoint()
    store.close()


def _samples(number: int) -> list[Sample]:
    return [Sample("bench.value", number + slot / 10, {"slot": str(slot)}) for slot in range(SERIES)]


def _rows(folder: Path, where: str = "1") -> int:
    return _one(folder, f"SELECT count(*) FROM samples WHERE {where}")


def _one(folder: Path, query: str) -> int:
    with closing(sqlite3.connect(f"file:{folder / 'metrics.db'}?mode=ro", uri=True, timeout=10)) as connection:
        return int(connection.execute(query).fetchone()[0])
