"""`make bench`: what the pipeline costs on this machine, each figure beside its budget and another way.

Everything is measured in this run, on real processes; nothing here passes or fails.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.bench import body, figures, footprint, storage, throughput
from tests.bench.figures import Figure

BACKLOGS = {"quick": (100_000,), "usual": (10_000, 1_000_000), "full": (10_000, 10_000_000, 1_000_000)}


def measure(folder: Path, size: str, seconds: float) -> Iterator[Figure]:
    """Give every figure as it is measured; `quick` leaves out what takes minutes."""
    if size != "quick":
        yield from footprint.figures(folder, seconds)
    yield from storage.figures(folder)
    yield from body.figures(folder / "run" / "metrics.db")
    yield from throughput.figures(folder / "t", BACKLOGS[size])


def shown(rows: Iterable[Figure]) -> Iterator[Figure]:
    """Say on standard error what is done while it takes its time."""
    began_s = time.monotonic()
    for row in rows:
        print(f"{time.monotonic() - began_s:4.0f} s  {row.what}", file=sys.stderr)
        yield row


def main() -> int:
    """Measure everything and print a table."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--seconds", type=float, default=90.0, help="how long the default configuration is watched")
    parser.add_argument(
        "--size",
        choices=BACKLOGS,
        default="usual",
        help="quick: a minute, without what watches a pipeline; full: 10 M drained too",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too, to compare two runs")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="bm-", dir="/tmp"))
    try:
        rows = list(shown(measure(folder, options.size, options.seconds)))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"commit {figures.commit() or 'unknown'}")
    print("\n".join(figures.table(rows)))
    if options.json:
        figures.write(options.json, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
