"""What a sample takes on the wire, as the shipper would send it: bodies of what a pipeline has collected here.

Reads: what the run with the default configuration has stored so far; for longer spans what `load` composes.
Chunks hold every sample of a span, as one lease of each priority does when the upload interval is that long.
"""

from __future__ import annotations

import gzip
import json
import shutil
import sqlite3
import subprocess
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from buffer.storage.store import Store
from common import clock
from common.settings import Storage
from shipper import jsonl
from shipper.http.transport import GZIP_LEVEL
from shipper.lease import Lease, LeasedSeries
from tests.bench import load
from tests.bench.figures import Figure

HEAD_BYTES = 250  # of a request and its answer, as this client and VictoriaMetrics write them
SPANS_S = (10, 60, 300)
BACKFILL = 25_000  # samples of a chunk
LEVELS, ZSTD_LEVELS = (1, 6, 9), (3, 19)  # zstd by its program: no Python of ours has it


class Row(NamedTuple):
    """A sample that would be sent."""

    timestamp_ms: int
    priority: int
    name: str
    tags: tuple[tuple[str, str], ...]
    value: float


def figures(database: Path) -> Iterator[Figure]:
    """Measure chunks of several lengths, from a database and composed."""
    collected = _collected(database)
    for span_s in SPANS_S:
        if collected and collected[-1].timestamp_ms - collected[0].timestamp_ms >= span_s * 1000:
            yield _span(f"wire: collected here, chunks of {span_s} s", collected, span_s)
    composed = list(_composed(10_000, 6))
    for span_s in SPANS_S:
        yield _span(f"wire: composed, 10,000/min, chunks of {span_s} s", composed, span_s)
    backlog = composed[:BACKFILL]
    size = _bytes([backlog]) / len(backlog)
    yield Figure(f"wire: composed, backfill of {BACKFILL:,}", size, "bytes/sample", "1.5", _levels(backlog))


def _span(what: str, rows: list[Row], span_s: int) -> Figure:
    chunk = [row for row in rows if row.timestamp_ms < rows[0].timestamp_ms + span_s * 1000]
    lanes = [[row for row in chunk if row.priority == priority] for priority in range(4)]
    size = _bytes([lane for lane in lanes if lane]) / len(chunk)
    lines = sum(len(_line(row)) for row in chunk) / len(chunk)
    beside = f"one line a sample, plain: {lines:.0f}, gzip: {_gzipped_lines(chunk):.1f}"
    return Figure(what, size, "bytes/sample", "3.0" if span_s == 60 else "", beside)


def _bytes(lanes: Iterable[list[Row]]) -> int:
    return sum(len(gzip.compress(_body(lane), GZIP_LEVEL)) + HEAD_BYTES for lane in lanes)


def _body(rows: list[Row]) -> bytes:
    groups: dict[tuple[str, tuple[tuple[str, str], ...]], list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.name, row.tags].append(row)
    series = [
        LeasedSeries(name, "bench", tags, [row.timestamp_ms for row in group], [row.value for row in group])
        for (name, tags), group in sorted(groups.items())
    ]
    lease = Lease(1, 2, series, len(rows))
    return jsonl.body(lease, 0, len(lease))


def _line(row: Row) -> bytes:
    labels = jsonl.labels(row.name, "bench", dict(row.tags))
    return f"{json.dumps({'metric': labels, 'values': [row.value], 'timestamps': [row.timestamp_ms]})}\n".encode()


def _gzipped_lines(rows: list[Row]) -> float:
    return len(gzip.compress(b"".join(map(_line, rows)), GZIP_LEVEL)) / len(rows)


def _levels(rows: list[Row]) -> str:
    body = _body(rows)
    sizes = {f"gzip {level}": len(gzip.compress(body, level)) for level in LEVELS}
    for level in ZSTD_LEVELS if shutil.which("zstd") else ():
        packed = subprocess.run(["zstd", f"-{level}", "-c"], input=body, capture_output=True, check=True).stdout
        sizes[f"zstd {level}"] = len(packed)
    return "; ".join(f"{name}: {size / len(rows):.2f}" for name, size in sizes.items())


def _collected(database: Path) -> list[Row]:
    if not database.exists():
        return []
    copy = database.with_name("collected.db")
    with (
        closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as live,
        closing(sqlite3.connect(copy)) as other,
    ):
        live.backup(other)
    store = Store(replace(Storage(), path=copy), "bench")
    query = "SELECT timestamp_ms, priority, series_id, value FROM samples WHERE chunk > 0 ORDER BY timestamp_ms"
    rows = []
    for timestamp_ms, priority, series_id, value in store._connection.execute(query):
        series = store.series.by_id(series_id)
        rows.append(Row(timestamp_ms, priority, series.name, tuple(sorted(series.tags.items())), value))
    store.close()
    return rows


def _composed(per_minute: int, minutes: int) -> Iterator[Row]:
    start_ms = clock.wall_ms() - 86_400_000
    for batch in load.batches(start_ms, start_ms + 60_000 * minutes, per_minute):
        for sample in batch.samples:
            if not isinstance(sample.value, str):
                yield Row(batch.timestamp_ms, 2, sample.name, tuple(sample.tags.items()), sample.value)
