"""What the whole pipeline takes on this machine, the usual pair beside it, into the same server.

Reads: /proc of the processes while they collect this machine with the default configuration, while the demo's stream
    plays, and with intervals that give some 10,000 samples a minute.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from collectors import registry
from tests.bench import daily, peers, usage
from tests.bench.figures import Figure
from tests.bench.usage import Use, Watch
from tests.harness import Pipeline, wait_for
from tests.scratch import MEMORY, scratch

BESIDE = frozenset({"demo", "server"})  # started by the same supervisord
WARM_UP_S = 20.0  # first chunks, first scrape
ON = [name for name in registry.names() if registry.load(name).Config().enabled]
BUSY = {f"BELABOX_COLLECTORS__{name.upper()}__INTERVAL": "0.7s" for name in ON}


class Default(NamedTuple):
    """The pipeline in its default configuration, which runs on while other things are measured.

    Attributes:
        pipeline: runs, and has uploaded something.
        began_s: when it was started, of the monotonic clock.
        first_s: from then to the first upload, seconds.
    """

    pipeline: Pipeline
    began_s: float
    first_s: float

    def pids(self) -> dict[str, int]:
        """Return the process ids of supervisord and of all that it runs, by name."""
        return _pids(self.pipeline)

    def memory(self) -> Iterator[Figure]:
        """Give what each process has by now, and all together."""
        yield from _memory(self.pipeline, "at rest", self.began_s)


@contextmanager
def default(folder: Path, url: str) -> Iterator[Default]:
    """Run the pipeline in its default configuration, into a server."""
    began_s = time.monotonic()
    with _run(folder / "run", url, {}) as pipeline:
        yield Default(pipeline, began_s, time.monotonic() - began_s - WARM_UP_S)


def plain(folder: Path, url: str) -> float:
    """Return the memory that it takes under plain supervisord, MiB."""
    with _run(folder / "plain", url, {"PLAIN": "yes"}) as pipeline:
        return usage.memory(_pids(pipeline).values())


def figures(folder: Path, url: str, run: Default, seconds: float, plain_mib: float) -> Iterator[Figure]:
    """Watch it, beside the pair; another one while a stream plays; and another one that is busy."""
    yield Figure("from start to the first upload", run.first_s, "s")
    with peers.running(folder, url) as pair:
        before, theirs = (pair.tally(), Watch(pair.pids)) if pair else (None, None)
        yield from _watched(run.pipeline, "at rest", seconds, ("0.5", "15", "100"))
        yield Figure("memory, under plain supervisord", plain_mib, "MiB")
        if pair is not None and before is not None and theirs is not None:
            yield from _pair(theirs.use(), before, pair.tally())
        else:
            yield Figure("vmagent and node_exporter", 0, "measured", "", f"not installed: {', '.join(peers.missing())}")
    rest = daily.watch(run.pids().values(), url, seconds)
    yield from daily.figures(rest, "at rest", seconds, "300")
    began_s = time.monotonic()
    with _run(folder / "stream", url, {"DEMO": "--seed 1"}) as pipeline:
        yield from _watched(pipeline, "stream playing", seconds, ("1.0", "", "100"))
        both = daily.watch(_pids(pipeline).values(), url, seconds)  # the other one uploads to the same server
        yield from daily.figures(both._replace(wire=both.wire - rest.wire), "stream playing", seconds, "800")
        yield from _memory(pipeline, "stream playing", began_s)
    with _run(folder / "busy", url, BUSY) as pipeline:
        yield from _watched(pipeline, "every source each 0.7 s", seconds / 2, ("2", "", ""))


def _watched(pipeline: Pipeline, how: str, seconds: float, budgets: tuple[str, str, str]) -> Iterator[Figure]:
    """Give what it takes in some seconds; budgets are of CPU, wake-ups and memory."""
    pids = _pids(pipeline)
    samples, watch = _stored(pipeline), Watch(pids.values())
    time.sleep(seconds)
    use = watch.use()
    rate = 60 * (_stored(pipeline) - samples) / use.seconds
    cpu, wakeups, memory = budgets
    yield Figure(f"CPU, {how}", use.cpu_percent, "% of a core", cpu, f"{rate:,.0f} samples/min")
    yield Figure(f"wake-ups, {how}", use.wakeups, "/s", wakeups)
    yield Figure(f"memory, {how}: sum of PSS, supervisord included", use.memory_mib, "MiB", memory)


def _memory(pipeline: Pipeline, how: str, began_s: float) -> Iterator[Figure]:
    """Give what each process has by now, and all together."""
    minutes = (time.monotonic() - began_s) / 60
    pids = _pids(pipeline)
    yield Figure(f"memory after {minutes:.0f} min, {how}: sum of PSS", usage.memory(pids.values()), "MiB", "100")
    for name, pid in pids.items():
        yield Figure(f"  {name}", usage.memory([pid]), "MiB")


def _pair(use: Use, before: peers.Tally, after: peers.Tally) -> Iterator[Figure]:
    samples = after.samples - before.samples
    rate = f"{60 * samples / use.seconds:,.0f} samples/min"
    yield Figure("  the pair: CPU", use.cpu_percent, "% of a core", "", rate)
    yield Figure("  the pair: wake-ups", use.wakeups, "/s")
    yield Figure("  the pair: memory", use.memory_mib, "MiB")
    if samples:
        wire = (after.sent_bytes - before.sent_bytes) / samples
        yield Figure("  the pair: on the wire", wire, "bytes/sample", "", "remote write, heads included")


@contextmanager
def _run(folder: Path, url: str, environment: Mapping[str, str]) -> Iterator[Pipeline]:
    """Give a pipeline that has uploaded something and come to rest.

    Its files are where a device has them: sockets and spools in memory, database and logs on the disk.
    """
    folder.mkdir()
    own = {"BELABOX_STORAGE__PATH": str(folder / "metrics.db"), "LOG_DIR": str(folder / "log")}
    with (
        scratch(MEMORY if MEMORY.is_dir() else folder.parent) as run_dir,
        Pipeline(run_dir, f"{url}/api/v1/import", {**own, **environment}) as pipeline,
    ):
        pipeline.database = folder / "metrics.db"
        wait_for("an upload", lambda: _stored(pipeline, "chunk > 0"), 60)
        time.sleep(WARM_UP_S)
        yield pipeline


def _pids(pipeline: Pipeline) -> dict[str, int]:
    """Return the process ids of supervisord and of all that is ours below it, by name."""
    ours = {name: pid for name, pid in pipeline.pids().items() if name not in BESIDE}
    return {"supervisord": int(pipeline.supervisorctl("pid")), **ours}


def _stored(pipeline: Pipeline, where: str = "1") -> int:
    if not pipeline.database.exists():
        return 0
    with closing(sqlite3.connect(f"file:{pipeline.database}?mode=ro", uri=True, timeout=10)) as connection:
        try:
            return int(connection.execute(f"SELECT count(*) FROM samples WHERE {where}").fetchone()[0])
        except sqlite3.OperationalError:
            return 0  # the buffer is making the tables
