"""A month's backlog goes behind what is fresh: a real buffer, a real shipper, a server 50 ms away."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from buffer.storage.store import Store
from common.sample import Batch, Sample
from common.settings import Storage
from tests.fake_vm import FakeVm
from tests.harness import ROOT, wait_for
from tests.launcher import program
from tests.patience import Patience
from tests.unit.shipper.stub import BoundBuffer, Row, StubBuffer, rows

MONTH_MS = 30 * 86_400_000
BACKLOG = 60_000
SERIES = 100

Launch = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def launch(run_dir: Path, vm: FakeVm) -> Iterator[Launch]:
    """Start a program with keys of the configuration."""
    made: list[subprocess.Popen[bytes]] = []
    always = {
        "run__dir": str(run_dir), "storage__path": str(run_dir / "metrics.db"), "device__id": "box",
        "remote__url": vm.import_url,
    }  # fmt: skip

    def start(module: str, *arguments: str, **keys: str) -> subprocess.Popen[bytes]:
        settings = {**always, "logging__output": str(run_dir / f"{module}.log"), **keys}
        environment = {**os.environ, **{f"BELABOX_{key.upper()}": value for key, value in settings.items()}}
        process = program([sys.executable, "-m", module, *arguments], cwd=ROOT, env=environment)
        made.append(process)
        return process

    yield start
    for process in made:
        process.kill()
        process.wait()


def fill(database: Path) -> None:
    """Write a backlog of a month."""
    store = Store(Storage(path=database), "box")
    now_ms = time.time_ns() // 1_000_000
    turns = BACKLOG // SERIES
    for turn in range(turns):
        samples = [Sample("backlog", turn, {"slot": str(slot)}) for slot in range(SERIES)]
        at_ms = now_ms - MONTH_MS + turn * (MONTH_MS - 3_600_000) // turns
        store.write([Batch("test", "epoch", turn + 1, at_ms, 1, "boot", urgent=False, samples=samples)])
    store.close()


def test_a_months_backlog_drains_behind_fresh_samples(run_dir: Path, vm: FakeVm, launch: Launch) -> None:
    """All of it arrives, oldest first, and what is fresh is never later than its interval and a request."""
    fill(run_dir / "metrics.db")
    vm.set_state(latency_ms=50)
    patience = Patience(10)
    keys = {"remote__mode": "auto", "remote__priority__normal": "1s", "storage__commit_interval": "200ms"}
    launch("buffer", **keys)
    launch("shipper", **keys)
    launch("tests.oracle", "--ledger", str(run_dir / "ledger"))
    wait_for("the backlog", lambda: sum(r.samples for r in vm.requests()) > BACKLOG, 120)
    wait_for("all of it", lambda: sum(sample.name == "backlog" for sample in vm.samples()) == BACKLOG, 60)
    began_ms = time.time_ns() // 1_000_000 - MONTH_MS // 2
    late_s = [
        sample.first_received_s - sample.timestamp_ms / 1000
        for sample in vm.samples()
        if sample.timestamp_ms > began_ms and sample.name == "oracle_number"
    ]
    assert len(late_s) > 100
    print(f"latest after {max(late_s):.1f} s")  # the commit, the interval, a request, and another interval
    assert max(late_s) < 10 + patience.waited_s()


def test_a_kill_costs_the_budget_nothing_that_was_written(run_dir: Path, vm: FakeVm, launch: Launch) -> None:
    """The next one goes on counting where the file ends, and keeps to the limit."""
    file = run_dir / "budget.json"
    keys = {"remote__budget__daily": "30KB", "remote__chunk_bytes": "2KiB"}
    stub = StubBuffer(rows(10_000, priority=1))
    with BoundBuffer(run_dir, stub):
        first = launch("shipper", **keys)
        wait_for("the file", lambda: file.exists() and _used(file) >= 30 * 1024, 30)
        first.kill()
        first.wait()
        used, uploads = _used(file), len(vm.requests())
        launch("shipper", **keys)
        wait_for("the next one", lambda: stub.hellos == 2)
        stub.pending.append(Row("alert", time.time_ns() // 1_000_000, -1, {}, 0))
        wait_for("P0", lambda: -1 in stub.uploaded)
    assert uploads + 1 == len(vm.requests())
    assert used < 30 * 1024 + 2048 + 2000


def _used(file: Path) -> int:
    """Return what a budget's file says of the day."""
    return sum(json.loads(file.read_text(encoding="ascii"))["daily"]["used"].values())
