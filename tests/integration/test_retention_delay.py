"""Upkeep on the loop of a real buffer: it gets done, and ingest hardly notices."""

from __future__ import annotations

from itertools import count
from pathlib import Path

from buffer.storage.store import Store
from common import clock
from tests.bench import delay, load
from tests.harness import wait_for
from tests.patience import Patience
from tests.unit.buffer.aged import DAY_MS, HOUR_MS
from tests.unit.buffer.databases import query, storage

GENEROUS_S = 2.0  # of 0.1 s asked for: a machine that runs other tests beside this one stalls by itself
EACH = 50  # acks: then it is asked whether all is done, which takes longer than an ack


def test_ingest_is_not_held_up_while_upkeep_catches_up(run_dir: Path) -> None:
    """Three days of backlog are folded and archived; the longest ack is printed.

    Long because upkeep takes a small share of the time, on purpose, and there has to be some for acks to meet it.
    """
    database = run_dir / "metrics.db"
    now_ms = clock.wall_ms()
    start_ms = now_ms - 3 * DAY_MS - now_ms % HOUR_MS
    store = Store(storage(database), "d")
    for batch in load.batches(start_ms, start_ms + 10 * 60_000, 5_000):
        store.write([batch])
    store._connection.execute("UPDATE samples SET chunk = 1")
    store._connection.execute(
        "INSERT INTO windows (start_ms, state, uploaded_ms) "
        "SELECT DISTINCT timestamp_ms / 300000 * 300000, 1, 0 FROM samples"
    )
    store.checkpoint()
    store.close()
    patience, asked = Patience(60), count()

    def is_over() -> bool:
        if next(asked) % EACH:
            return False
        old = "SELECT 1 FROM samples WHERE timestamp_ms < ? LIMIT 1"
        return patience.is_over() or not query(database, old, now_ms - 2 * DAY_MS)

    found = sorted(delay.acks_s(run_dir, database, is_over, {}))
    median, most, longest = (f"{found[int(share * (len(found) - 1))] * 1e3:.1f} ms" for share in (0.5, 0.99, 1))
    print(f"{len(found)} acks: median {median}, 99 % within {most}, longest {longest}")
    assert found[-1] < GENEROUS_S + patience.waited_s()
    wait_for("the fold", is_over)
    assert [(1,)] == query(database, "SELECT count(*) > 0 FROM aggregates")
    assert 1 == len(list((run_dir / "archive").rglob("metrics-*.db.gz")))
