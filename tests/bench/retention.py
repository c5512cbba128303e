"""48 hours of 10,000 samples a minute, archived, folded, and pressed into a small limit: sizes and longest slices.

`python -m tests.bench.retention [--hours 48] [--per-minute 10000] [--folder DIR]`; in full it takes about
fifteen minutes and 3 GB. Slices run back to back here; on a buffer's loop ingest has its turn after each.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from buffer.retention.archive import Archiver, Space
from buffer.retention.archive_folder import ArchiveFolder
from buffer.retention.context import Context
from buffer.retention.retention import RetentionRound
from buffer.retention.size_cap import SizeCap
from buffer.retention.tasks import CHECKPOINT_BYTES, Task
from buffer.storage.aggregates import FIVE_MINUTES_MS, MINUTE_MS
from buffer.storage.store import Store
from common.instruments import Instruments
from common.log import Log
from common.settings import Storage
from tests.bench import load

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
START_MS = 1_760_486_400_000 // DAY_MS * DAY_MS
COMMIT_SAMPLES = 1_000


class Bench:
    """One database and what is measured of it."""

    def __init__(self, folder: Path, hours: int, per_minute: int) -> None:
        self.end_ms = START_MS + hours * HOUR_MS
        self.per_minute = per_minute
        self.config = replace(Storage(), path=folder / "metrics.db", max_size=1 << 40)
        self.store = Store(self.config, "bench")
        self.shelf = ArchiveFolder(folder / "archive")
        self.instruments, self.log = Instruments(), Log("bench")
        self.context = Context(self.store, self.shelf, lambda: self.config, self.instruments, self.log)
        self.size_cap = SizeCap(self.context, lambda _: None)

    def fill(self, *, uploaded: bool) -> int:
        """Write what a device collects, marked as uploaded window by window or left pending; return the samples."""
        waiting, waiting_samples, total, written = [], 0, 0, _written_bytes()
        for batch in load.batches(START_MS, self.end_ms, self.per_minute):
            waiting.append(batch)
            waiting_samples += len(batch.samples)
            if waiting_samples >= COMMIT_SAMPLES:
                total += self.store.write(waiting).inserted
                waiting, waiting_samples = [], 0
                self._fold_log(64 << 20)
        total += self.store.write(waiting).inserted
        self.report("pending samples", total)
        if uploaded:
            for start_ms in range(START_MS, self.end_ms, 300_000):
                self.store._connection.execute(
                    "UPDATE samples SET chunk = 1 WHERE chunk IS NULL AND timestamp_ms >= ? AND timestamp_ms < ?",
                    (start_ms, start_ms + 300_000),
                )
                self.store._connection.execute(
                    "INSERT INTO windows (start_ms, state, uploaded_ms) VALUES (?, 1, 0)", (start_ms,)
                )
                self._fold_log(64 << 20)
            self.store.pending.counts = [0, 0, 0, 0]
            self.report("uploaded samples", total)
        self.store.checkpoint()
        print(f"  {(_written_bytes() - written) / total:.0f} bytes a sample written to flash")
        return total

    def run(self, what: str, task: Task, now_ms: int) -> None:
        """Step until there is nothing to do; print how long that took and the longest slice."""
        self.store.checkpoint()
        slices, cpu_s, folds, written = [], [], [0.0], _written_bytes()
        while True:
            began_s, began_cpu_s = time.perf_counter(), time.process_time()
            if not task.step(now_ms):
                break
            slices.append(time.perf_counter() - began_s)
            cpu_s.append(time.process_time() - began_cpu_s)
            task.pace.took(slices[-1])
            began_s = time.perf_counter()
            if self._fold_log(CHECKPOINT_BYTES):
                folds.append(time.perf_counter() - began_s)
        if not slices:
            print(f"{what}: nothing is due")
            return
        slices.sort()
        self.store.checkpoint()
        values = slices[len(slices) * 99 // 100], slices[-1], max(cpu_s), max(folds)
        most, longest, longest_cpu, fold = (f"{value * 1e3:.0f} ms" for value in values)
        print(f"{what}: {sum(slices):.1f} s in {len(slices)} slices, 99 % within {most}")
        print(f"  longest {longest} ({longest_cpu} of CPU), longest checkpoint {fold}")
        print(f"  {(_written_bytes() - written) / 1e6:.0f} MB written to flash")

    def report(self, what: str, rows: int) -> None:
        """Print what rows take in the database."""
        used = self.size_cap.used_bytes() - self.shelf.size_bytes()
        print(f"{what}: {rows:,}, {used / 1e6:.1f} MB, {used / max(1, rows):.1f} bytes each")

    def count(self, width_ms: int) -> int:
        """Return the number of aggregates of a width."""
        return int(
            self.store._connection.execute("SELECT count(*) FROM aggregates WHERE width_ms = ?", (width_ms,)).get
        )

    def _fold_log(self, limit_bytes: int) -> bool:
        is_due = self.store.wal_bytes() > limit_bytes
        if is_due:
            self.store.checkpoint()
        return is_due


def age(bench: Bench) -> None:
    """Archive everything, then let it become minutes, then five minutes."""
    total = bench.fill(uploaded=True)
    archive = Archiver(bench.context, Space(lambda: None, lambda: 0))
    bench.run("archive", archive, bench.end_ms + HOUR_MS)
    for file in bench.shelf.files():
        if file.path.name.startswith("metrics"):
            print(f"  {file.path.name}: {file.size_bytes / 1e6:.1f} MB")
    print(f"  {bench.shelf.size_bytes() / total:.1f} bytes a sample")
    retention = RetentionRound(bench.store, lambda: bench.config.retention, bench.instruments)
    bench.run("48 hours to minutes", retention, bench.end_ms + 2 * DAY_MS + HOUR_MS)
    bench.report("1-minute aggregates", bench.count(MINUTE_MS))
    bench.run("minutes to five minutes", retention, bench.end_ms + 7 * DAY_MS + HOUR_MS)
    bench.report("5-minute aggregates", bench.count(FIVE_MINUTES_MS))


def press(bench: Bench) -> None:
    """Let a database of pending samples grow to three times a limit, and press it back."""
    total = bench.fill(uploaded=False)
    bench.config = replace(bench.config, max_size=bench.size_cap.used_bytes() // 3)
    bench.run("pressed into a third", bench.size_cap, bench.end_ms)
    bench.report(f"of {total:,} pending samples", sum(bench.store.pending.counts))


def _written_bytes() -> int:
    """Return the bytes this process has made the kernel write."""
    rows = dict(line.split(": ") for line in Path("/proc/self/io").read_text(encoding="ascii").splitlines())
    return int(rows["write_bytes"])


def main() -> int:
    """Run both."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.retention")
    parser.add_argument("--hours", type=int, default=48)
    parser.add_argument("--per-minute", type=int, default=10_000)
    parser.add_argument("--folder", type=Path, default=None, help="where the databases go; deleted afterwards")
    options = parser.parse_args()
    for name, scenario, hours in (("age", age, options.hours), ("press", press, max(1, options.hours // 8))):
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            print(f"-- {name}: {hours} h of {options.per_minute:,} samples a minute, {os.uname().machine}")
            bench = Bench(Path(folder), hours, options.per_minute)
            scenario(bench)
            bench.store.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
