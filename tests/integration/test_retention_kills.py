"""Upkeep killed with SIGKILL at any moment, over and over: nothing is counted twice, nothing is left out."""

from __future__ import annotations

import gzip
import os
import random
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import apsw
import pytest

from buffer.storage.store import Store
from tests.harness import ROOT
from tests.unit.buffer.aged import DAY_MS, HOUR_MS, MINUTE_MS, NOW_MS, PENDING, UPLOADED, Put, put, verify
from tests.unit.buffer.databases import storage

KILLS = int(os.environ.get("KILLS", "6"))  # `make chaos` does more
SEED = int(os.environ.get("SEED", "0")) or random.SystemRandom().randrange(1, 10**9)


def upkeep_with_kills(database: Path, rng: random.Random, *options: str) -> int:
    """Run the child until it ends by itself, killing the first ones; return how many were killed in their work."""
    killed = 0
    for attempt in range(2 * KILLS):
        with subprocess.Popen(
            [sys.executable, "-m", "tests.integration.upkeep_child", str(database), *options],
            cwd=ROOT, stdout=subprocess.PIPE,
        ) as child:  # fmt: skip
            assert child.stdout is not None
            assert b"stepping\n" == child.stdout.readline()
            if attempt < KILLS:
                try:
                    child.wait(rng.uniform(0.001, 0.15))
                except subprocess.TimeoutExpired:
                    child.kill()
                    killed += 1
            if child.wait(60) == 0:
                return killed
    pytest.fail("the work never ended")


def test_kills_change_no_aggregate_and_no_archive(tmp_path: Path) -> None:
    """Aggregates equal those computed from the raw values, pending samples are there, the archive holds each once."""
    print(f"SEED={SEED}")
    rng = random.Random(SEED)
    start_ms = NOW_MS - 5 * DAY_MS
    rows = [
        Put(start_ms + n * 500 + series, rng.uniform(0, 100), series, PENDING if n % 50 == 0 else UPLOADED)
        for n in range(3600)
        for series in range(1, 9)
    ]
    store = Store(storage(tmp_path / "metrics.db"), "d")
    put(store, rows)
    verify(store, *{row.timestamp_ms for row in rows})
    store.close()
    killed = upkeep_with_kills(tmp_path / "metrics.db", rng, "--now-ms", str(NOW_MS))
    print(f"killed {killed} times")
    connection = apsw.Connection(str(tmp_path / "metrics.db"))
    assert "ok" == connection.pragma("integrity_check")
    expected: dict[tuple[int, int], list[float]] = defaultdict(list)
    for row in rows:
        if not row.became.is_pending:
            expected[row.timestamp_ms // MINUTE_MS * MINUTE_MS, row.series_id].append(float(row.value))
    stored = connection.execute("SELECT start_ms, series_id, min, max, avg, count FROM aggregates").fetchall()
    assert {
        key: (min(found), max(found), pytest.approx(sum(found) / len(found)), len(found))
        for key, found in expected.items()
    } == {(start_ms, series_id): tuple(rest) for start_ms, series_id, *rest in stored}
    pending = sum(row.became.is_pending for row in rows)
    assert pending == connection.execute("SELECT count(*) FROM samples").get
    connection.close()
    assert len(rows) == _archived(tmp_path)
    assert [] == [path for path in (tmp_path / "archive").rglob("*") if path.is_file() and path.suffix != ".gz"]


def _archived(folder: Path) -> int:
    """Return how many samples the archive's files hold together."""
    total = 0
    for path in (folder / "archive").rglob("metrics-*.db.gz"):
        plain = folder / "plain.db"
        plain.write_bytes(gzip.decompress(path.read_bytes()))
        connection = apsw.Connection(str(plain))
        assert "ok" == connection.pragma("integrity_check")
        total += int(connection.execute("SELECT count(*) FROM metrics").get)
        connection.close()
    return total


def test_kills_thin_no_span_twice(tmp_path: Path) -> None:
    """What is left of each span is what its mark says, within one sample for each kill."""
    print(f"SEED={SEED}")
    rng = random.Random(SEED)
    start_ms = NOW_MS - 3 * HOUR_MS
    rows = [Put(start_ms + n * 200, rng.random(), 1, PENDING, 2) for n in range(3 * 18_000)]
    store = Store(storage(tmp_path / "metrics.db"), "d")
    put(store, rows)
    used = store.used_bytes()
    store.close()
    killed = upkeep_with_kills(
        tmp_path / "metrics.db", rng, "--now-ms", str(NOW_MS), "--max-size", str(used // 3), "--rows", "100"
    )
    print(f"killed {killed} times")
    connection = apsw.Connection(str(tmp_path / "metrics.db"))
    assert "ok" == connection.pragma("integrity_check")
    marks: list[Any] = connection.execute("SELECT start_ms, halvings, upto_ms FROM thinned").fetchall()
    assert marks
    for span_ms, halvings, upto_ms in marks:
        left = connection.execute(
            "SELECT count(*) FROM samples WHERE timestamp_ms >= ? AND timestamp_ms < ?", (span_ms, span_ms + 300_000)
        ).get
        most = 1500 / 2**halvings
        least = most if upto_ms is None else most / 2
        assert least - killed <= left <= most + killed + 1
    connection.close()
