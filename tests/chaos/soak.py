"""`make soak HOURS=`: the pipeline for hours; memory, descriptors and file sizes sampled, slopes printed."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from tests.fake_vm import FakeVm
from tests.harness import PROCESSES, Pipeline, wait_for
from tests.integration.conftest import QUICK
from tests.scratch import scratch

SETTLE_S = 60.0  # imports, first commits and caches: what grows at the start is not a leak


def look(pipeline: Pipeline, pids: dict[str, int]) -> dict[str, float]:
    """Return what can grow, by name."""
    found: dict[str, float] = {}
    for stage, pid in pids.items():
        fields = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()
        found[f"{stage} resident KiB"] = int(fields[1]) * os.sysconf("SC_PAGE_SIZE") / 1024
        found[f"{stage} descriptors"] = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    for name in ("metrics.db", "metrics.db-wal"):
        path = pipeline.run_dir / name
        found[f"{name} KiB"] = path.stat().st_size / 1024 if path.exists() else 0
    return found


def slope(points: list[tuple[float, float]]) -> float:
    """Return the least-squares slope of (hours, value)."""
    mean_x, mean_y = (sum(column) / len(points) for column in zip(*points, strict=True))
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0


def main() -> int:
    """Run for the time asked and print a row for each thing that can grow."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.soak", description=__doc__)
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--every", type=float, default=10.0, help="seconds between two looks")
    options = parser.parse_args()
    points: dict[str, list[tuple[float, float]]] = {}
    with scratch() as folder, FakeVm() as vm, Pipeline(folder, vm.import_url, QUICK) as pipeline:
        wait_for("all stages", pipeline.all_running)
        pids = {stage: pipeline.pid(stage) for stage in PROCESSES}
        began_s = time.monotonic()
        end_s = began_s + max(options.hours * 3600, 2 * options.every)
        time.sleep(min(SETTLE_S, (end_s - began_s) / 4))
        while time.monotonic() < end_s:
            hours = (time.monotonic() - began_s) / 3600
            for name, value in look(pipeline, pids).items():
                points.setdefault(name, []).append((hours, value))
            print(f"{hours:.2f} h, {len(vm.samples())} samples at the server", flush=True)
            time.sleep(options.every)
        same = {stage: pipeline.pid(stage) for stage in PROCESSES} == pids
    print(f"{'what':<36}{'first':>12}{'last':>12}{'slope/h':>12}")
    for name, column in points.items():
        print(f"{name:<36}{column[0][1]:>12.0f}{column[-1][1]:>12.0f}{slope(column):>12.1f}")
    print("no process was restarted" if same else "a process was restarted")
    return int(not same)


if __name__ == "__main__":
    sys.exit(main())
