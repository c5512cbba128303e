"""Random faults against a running pipeline, and the oracle's account at the end.

In: a seed, which decides every fault and its length; a duration. Out: a ledger of faults, samples and events. The
claim under test: every number the oracle published is in the database once and at the server once, at its true time, or
counted as lost with its reason; and every event is at the log server.
"""

from __future__ import annotations

import contextlib
import json
import random
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from buffer.recovery.rescue import LOST_WITH_DATABASE
from common.publisher import LOST_WITH_PROCESS
from tests import log_server, oracle
from tests.chaos.deliveries import Deliveries
from tests.chaos.faults import Faults, World
from tests.chaos.ledger import Ledger
from tests.chaos.portal import portal
from tests.chaos.proxy import Proxy
from tests.chaos.server import RealServer
from tests.harness import Pipeline
from tests.integration.conftest import QUICK
from tests.patience import Patience
from tests.shifted_clock import ShiftedClock

# What a server loses twice within seconds can lie before the grace of its last start: then the span's audit finds it.
SETTLE_S = 480.0
SETTINGS = {**QUICK, "BELABOX_REMOTE__AUDIT__GRACE": "60s"}  # as it is by default
PAUSE_S = 0.7  # mean time between two faults
NAME = oracle.METRIC.replace(".", "_")


@contextlib.contextmanager
def world(binary: str, folder: Path, ledger: Path) -> Iterator[World]:
    """Run the pipeline with an oracle, and everything around it."""
    server = RealServer(binary, folder)
    server.start()
    with contextlib.ExitStack() as stack:
        stack.callback(server.kill)
        between = stack.enter_context(portal(server.port))
        logs = stack.enter_context(log_server.running())
        proxy = Proxy(between.port)
        stack.callback(proxy.close)
        deliveries = Deliveries(lambda: proxy.mode == "deaf")
        between.taken = deliveries.take
        clock = folder / "clock"
        shifted = ShiftedClock(clock)
        own = {"BELABOX_REMOTE__EVENTS__URL": logs.url, "BELABOX_TEST_CLOCK": str(clock)}
        pipeline = Pipeline(folder / "p", f"http://127.0.0.1:{proxy.port}/api/v1/import", {**SETTINGS, **own})
        pipeline.add_program("oracle", f"{sys.executable} -m tests.oracle --ledger {ledger}")
        stack.enter_context(pipeline)
        yield World(pipeline, server, proxy, between, logs, shifted, deliveries)


def run(binary: str, folder: Path, seed: int, duration_s: float, without: Collection[str] = ()) -> Ledger:
    """Run one storm from nothing to its account.

    Args:
        binary: of victoria-metrics.
        folder: fresh, with a short path.
        seed: repeats the same faults.
        duration_s: of the storm itself.
        without: kinds of faults that are left out.
    """
    file = folder / "p" / "ledger"
    with world(binary, folder, file) as around:
        ledger = Ledger(around.deliveries)
        dice = random.Random(seed)
        rage(Faults(around, dice, without), ledger, dice, duration_s)
        account(around, ledger, file)
    return ledger


def rage(faults: Faults, ledger: Ledger, dice: random.Random, duration_s: float) -> None:
    """Do faults until the time is over."""
    began_s, told_s = time.monotonic(), 0.0
    while (gone_s := time.monotonic() - began_s) < duration_s:
        time.sleep(dice.expovariate(1 / PAUSE_S))
        ledger.faults[faults.one()] += 1
        if gone_s - told_s > 30:
            told_s = gone_s
            print(f"{duration_s - gone_s:.0f} s to go, {ledger.faults.total()} faults", flush=True)


def account(around: World, ledger: Ledger, file: Path) -> None:
    """Let the oracle publish no more, wait until everything has arrived or the time is over, and count."""
    pipeline, patience, was_calm = around.pipeline, Patience(SETTLE_S), False
    pipeline.supervisorctl("start", "all")
    oracle.pause(file).touch()
    while True:
        ledger.published = oracle.published_ms(file)
        ledger.arrived = _arrived(around.server)
        ledger.events, ledger.events_arrived = _events(pipeline), _at_log_server(around.logs)
        ledger.counted, ledger.perhaps = _counted(pipeline, ledger.lost), _perhaps(pipeline)
        rows = pipeline.rows("SELECT metric_value FROM metrics WHERE metric_name = ?", oracle.METRIC)
        ledger.stored = Counter(int(row[0]) for row in rows)
        is_settled = not ledger.events_lost and not ledger.lost & ledger.stored.keys()
        is_calm = is_settled and not _is_salvaging(pipeline)
        if (is_calm and was_calm) or patience.is_over():  # what is lost is counted a moment after the salvage
            break
        was_calm = is_calm
        print(f"to arrive: {len(ledger.lost)} samples, {len(ledger.events_lost)} events", flush=True)
        time.sleep(4)


def _is_salvaging(pipeline: Pipeline) -> bool:
    """Return whether rows of a damaged database are still on their way: its file has no report yet."""
    files = list(pipeline.run_dir.glob("metrics.db.corrupt-*"))
    reports = {file.stem for file in files if file.suffix == ".json"}
    return any(file.name.removesuffix("-wal") not in reports for file in files if file.suffix != ".json")


def _arrived(server: RealServer) -> dict[int, list[int]]:
    """Return the times of each number at the server."""
    found: dict[int, list[int]] = defaultdict(list)
    for samples in server.times(f'__name__="{NAME}"').values():
        for timestamp_ms, value in samples.items():
            found[int(value)].append(timestamp_ms)
    return found


def _events(pipeline: Pipeline) -> set[tuple[str, ...]]:
    rows = pipeline.rows("SELECT timestamp_ms, kind, source, text FROM events")
    return {tuple(map(str, row)) for row in rows}


def _at_log_server(logs: log_server.LogServer) -> set[tuple[str, ...]]:
    return {
        (
            str(round(1000 * datetime.fromisoformat(line["_time"]).timestamp())),
            line["kind"],
            line["source"],
            line["_msg"],
        )
        for line in logs.lines
        if "_msg" in line
    }


def _counted(pipeline: Pipeline, lost: set[int]) -> Counter[str]:
    """Return how many samples of the oracle the device says it lost, by reason, from its logs and database."""
    counted: Counter[str] = Counter()
    for line in _log_lines(pipeline, "buffer"):
        if line.get("msg") == LOST_WITH_DATABASE:
            counted["lost with a damaged database"] += int(line["metrics"].get(oracle.METRIC, 0))
    query = "SELECT value FROM samples JOIN series ON series.id = series_id WHERE chunk = -1 AND metric_name = ?"
    counted["in quarantine"] = len(lost & {int(value) for (value,) in pipeline.rows(query, oracle.METRIC)})
    return +counted


def _perhaps(pipeline: Pipeline) -> int:
    """Return how many samples may have been lost by what the device says, and may have not."""
    counts = {("buffer", "salvage is finished"): "samples_lost_estimate", ("oracle", LOST_WITH_PROCESS): "count"}
    return sum(
        int(line[field])
        for (name, message), field in counts.items()
        for line in _log_lines(pipeline, name)
        if line.get("msg") == message
    )


def _log_lines(pipeline: Pipeline, name: str) -> Iterator[dict[str, Any]]:
    for file in sorted((pipeline.run_dir / "log").glob(f"{name}.log*")):
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            with contextlib.suppress(json.JSONDecodeError):
                found = json.loads(line)
                yield found if isinstance(found, dict) else {}
