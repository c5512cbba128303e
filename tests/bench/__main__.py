"""`make bench`: what the pipeline costs on this machine, each figure beside its budget.

Measured on real processes with the default configuration; nothing here passes or fails.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from buffer.store import Store
from common import clock
from common.sample import Batch, Sample
from common.settings import Storage
from tests.fake_vm import FakeVm
from tests.harness import Pipeline, wait_for

SERIES, BATCHES = 200, 1_000


def footprint(folder: Path, seconds: float) -> list[tuple[str, str, str]]:
    """Run the default configuration and return CPU, memory and bytes on the wire."""
    plain = plain_memory(folder.with_name("plain"))
    with FakeVm() as vm, Pipeline(folder, vm.import_url) as pipeline:
        wait_for("samples at the server", vm.samples, 60)
        pids = processes(pipeline)
        used_s, began_s, sent, bodies = sum(map(cpu_s, pids)), time.monotonic(), len(vm.samples()), body_bytes(vm)
        time.sleep(seconds)
        share = (sum(map(cpu_s, pids)) - used_s) / (time.monotonic() - began_s)
        samples = len(vm.samples()) - sent
        wire = (body_bytes(vm) - bodies) / samples if samples else 0.0
        return [
            ("CPU, default configuration", f"{100 * share:.2f} % of a core", "1.0 %"),
            ("memory, sum of PSS, supervisord included", memory(pids), f"90 MiB; plain supervisord: {plain}"),
            ("bodies on the wire", f"{wire:.1f} bytes/sample", "3.0 at 60 s"),
        ]


def plain_memory(folder: Path) -> str:
    """Return what the same processes take when each of them is an interpreter of its own."""
    with FakeVm() as vm, Pipeline(folder, vm.import_url, {"PLAIN": "yes"}) as pipeline:
        wait_for("samples at the server", vm.samples, 60)
        time.sleep(15)
        return memory(processes(pipeline))


def processes(pipeline: Pipeline) -> list[int]:
    """Return the process ids of supervisord and of all that it runs."""
    return [int(pid) for pid in (pipeline.supervisorctl("pid", "all") + pipeline.supervisorctl("pid")).split()]


def memory(pids: list[int]) -> str:
    """Return the memory of processes, shared pages counted once."""
    return f"{sum(map(pss_kib, pids)) / 1024:.0f} MiB"


def storage(folder: Path) -> list[tuple[str, str, str]]:
    """Write and mark samples through the store and return rates and sizes."""
    store = Store(replace(Storage(), path=folder / "bench.db"), "bench")
    samples = [Sample("bench.value", number * 1.1, {"slot": str(number)}) for number in range(SERIES)]
    now_ms, total = clock.wall_ms() - BATCHES * 1000, SERIES * BATCHES
    batches = [Batch("bench", "e", n, now_ms + 1000 * n, 0, "", False, samples) for n in range(BATCHES)]
    began_s = time.perf_counter()
    for first in range(0, BATCHES, 5):
        store.write(batches[first : first + 5])
    written_s = time.perf_counter() - began_s
    store.checkpoint()
    pending = store.database_bytes() / total
    began_s = time.perf_counter()
    while rows := store.pending_rows(2, clock.wall_ms() + 1, 25_000):
        store.mark_uploaded(2, rows, "bench", 0)
    marked_s = time.perf_counter() - began_s
    store.close()
    return [
        ("store: batches to COMMIT", f"{total / written_s:,.0f} samples/s", "50,000"),
        ("store: lease and mark", f"{total / marked_s:,.0f} samples/s", "150,000 with the upload"),
        ("database, pending", f"{pending:.0f} bytes/sample", "60"),
    ]


def cpu_s(pid: int) -> float:
    """Return the CPU time a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def pss_kib(pid: int) -> int:
    """Return a process's share of memory."""
    rows = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    return sum(int(row.split()[1]) for row in rows if row.startswith("Pss:"))


def body_bytes(vm: FakeVm) -> int:
    """Return the bytes of all bodies as they were sent."""
    return sum(request.wire_bytes for request in vm.requests())


def main() -> int:
    """Measure everything and print a table."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--seconds", type=float, default=120.0, help="how long the default configuration is watched")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="bm-", dir="/tmp"))
    try:
        rows = [*storage(folder), *footprint(folder / "p", options.seconds)]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    print(f"{'what':<44}{'figure':>24}   budget   ({commit.stdout.strip() or 'no commit'})")
    for what, figure, budget in rows:
        print(f"{what:<44}{figure:>24}   {budget}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
