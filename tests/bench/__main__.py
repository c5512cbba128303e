"""`make bench`: what the pipeline costs on this machine, each figure beside its budget and another way.

Everything is measured in this run, on real processes; nothing here passes or fails.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from tests.bench import body, figures, footprint, page, storage, target, throughput
from tests.bench.figures import Figure
from tests.scratch import scratch


class Size(NamedTuple):
    """How much of it.

    Attributes:
        watch: whether the pipeline is watched for minutes.
        per_minute: rates at which writes are counted, samples a minute; 10,000 is one of them.
        series: numbers of series.
        backlogs: samples to drain.
        paced: samples to drain with the default's pauses; 0 for none.
        behind: backlogs that urgent samples have to overtake.
        megabytes: of the database behind the page; 0 leaves it out.
    """

    watch: bool
    per_minute: tuple[int, ...]
    series: tuple[int, ...]
    backlogs: tuple[int, ...]
    paced: int
    behind: tuple[int, ...]
    megabytes: int


USUAL = Size(
    watch=True,
    per_minute=(100, 10_000, 100_000),
    series=(100, 1_000, 10_000),
    backlogs=(10_000, 1_000_000),
    paced=1_000_000,
    behind=(0, 1_000_000),
    megabytes=1_000,
)
SIZES = {
    "quick": Size(False, (10_000,), (1_000,), (100_000,), 0, (0,), 0),
    "usual": USUAL,
    "full": USUAL._replace(backlogs=(10_000, 1_000_000, 10_000_000)),
}


def measure(folder: Path, size: Size, seconds: float, server: str) -> Iterator[Figure]:
    """Give every figure as it is measured."""
    if not size.watch:
        yield from _loaded(folder, size, server)
        return
    with target.running(folder, server) as url:
        plain_mib = footprint.plain(folder, url)
        with footprint.default(folder, url) as run:
            yield from footprint.figures(folder, url, run, seconds, plain_mib)
            yield from _loaded(folder, size, server)
            yield from run.memory()


def _loaded(folder: Path, size: Size, server: str) -> Iterator[Figure]:
    """Give the figures of single stages under load."""
    yield from storage.figures(folder, size.per_minute, size.series)
    yield from throughput.figures(folder / "t", size.backlogs, size.paced, size.behind, server)
    if size.megabytes:
        yield from page.figures(folder / "p", size.megabytes)
    yield from body.figures(folder / "run" / "metrics.db")


def shown(rows: Iterable[Figure]) -> Iterator[Figure]:
    """Say on standard error what is done while it takes its time."""
    began_s = time.monotonic()
    for row in rows:
        print(f"{time.monotonic() - began_s:4.0f} s  {row.what}: {row.value:,.6g} {row.unit}", file=sys.stderr)
        yield row


def main() -> int:
    """Measure everything and print a table."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--seconds", type=float, default=90.0, help="how long the default configuration is watched")
    parser.add_argument(
        "--size",
        choices=SIZES,
        default="usual",
        help="quick: half a minute; usual: nine; full: 10 M drained too",
    )
    parser.add_argument(
        "--server",
        default="",
        metavar="URL",
        help="upload to this VictoriaMetrics; without: to one of its own",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too, to compare two runs")
    options = parser.parse_args()
    with scratch() as folder:
        rows = list(shown(measure(folder, SIZES[options.size], options.seconds, options.server)))
    print(f"commit {figures.commit() or 'unknown'}")
    print("\n".join(figures.table(rows)))
    if options.json:
        figures.write(options.json, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
