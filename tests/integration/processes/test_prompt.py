"""What an operator types at a `sqlite3` prompt while the buffer runs: every query of the documents."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.sample import Sample
from tests import documents
from tests.harness import require, wait_for
from tests.unit.buffer.clients import Producer, Shipper
from tests.unit.buffer.databases import NOW_MS
from tests.unit.common.child import buffer


@pytest.fixture
def database(run_dir: Path) -> Iterator[Path]:
    """The database of a running buffer, 100 samples in it, 40 of them uploaded."""
    with buffer(run_dir), Producer(run_dir) as producer, Shipper(run_dir) as shipper:
        for number in range(50):
            producer.put(Sample("m", number), Sample("n", number, {"l": "v"}), at_ms=NOW_MS + number)
        producer.put(Sample("t", "text"))
        producer.settle()
        lease, _ = shipper.lease(40)
        shipper.done(lease, 40)
        wait_for("the commit that marks them", lambda: "40\n" == sqlite3(run_dir / "metrics.db", MARKED))
        yield run_dir / "metrics.db"
        assert [0, 0, 60, 0] == shipper.pending()


def sqlite3(database: Path, command: str) -> str:
    """Run the real `sqlite3`; return what it prints."""
    done = subprocess.run(
        [require("sqlite3"), str(database), command], check=False, capture_output=True, text=True, timeout=30
    )
    assert (0, "") == (done.returncode, done.stderr), command
    return done.stdout


MARKED = "SELECT COUNT(*) FROM metrics WHERE uploaded = 1"
# MILESTONE-2.md, "Troubleshooting Guide", PRD.md, "Deployment", and what their schemas are made for.
DOCUMENTED = {
    "SELECT version FROM schema_version": "4\n",
    "SELECT COUNT(*) FROM metrics WHERE dedup_key IS NULL": "0\n",
    "SELECT COUNT(*) FROM metrics": "101\n",
    "SELECT COUNT(*) FROM metrics WHERE uploaded=0": "60\n",
    "SELECT uploaded, COUNT(*) FROM metrics GROUP BY uploaded ORDER BY 1": "0|60\n1|40\n2|1\n",
    "SELECT metrics_count FROM upload_checkpoints": "40\n",
    "SELECT COUNT(*) FROM sessions": "0\n",
    "SELECT DISTINCT batch_id, chunk_index FROM metrics WHERE uploaded = 1": "b|0\n",
}


def test_the_documented_queries_answer(database: Path) -> None:
    """The documents' queries work as written, against the live file."""
    assert DOCUMENTED == {command: sqlite3(database, command) for command in DOCUMENTED}


def test_every_documented_column_and_index_is_there(database: Path) -> None:
    """By its documented name, for whoever asks for it."""
    tables = [row.here.partition(".")[0] for row in documents.rows("column") if "." in row.here]
    found = set(sqlite3(database, "SELECT name FROM sqlite_master WHERE type = 'index'").split())
    for table in set(tables):
        lines = sqlite3(database, f"PRAGMA table_info({table})").splitlines()
        found |= {f"{table}.{line.split('|')[1]}" for line in lines}
    assert [] == [row.here for row in documents.rows("column") if row.here not in found]


def test_the_documented_checks_of_the_schema_find_what_they_look_for(database: Path) -> None:
    """`dedup_key` is a column of `metrics`, and the unique index exists under its documented name."""
    columns = [line.split("|")[1] for line in sqlite3(database, "PRAGMA table_info(metrics)").splitlines()]
    assert "dedup_key" in columns
    index = sqlite3(database, "SELECT * FROM sqlite_master WHERE type='index' AND name='ux_metrics_dedup'")
    assert index.startswith("index|ux_metrics_dedup|samples|")
    assert "UNIQUE" in index


def test_the_documented_checkpoint_works_beside_the_buffer(database: Path, run_dir: Path) -> None:
    """A manual `wal_checkpoint(TRUNCATE)` empties the log, and the buffer writes and leases as before."""
    log = database.with_name("metrics.db-wal")
    assert log.stat().st_size > 0
    assert "0|0|0\n" == sqlite3(database, "PRAGMA wal_checkpoint(TRUNCATE)")
    assert 0 == log.stat().st_size
    with Producer(run_dir, "q") as producer, Shipper(run_dir) as shipper:
        producer.put(Sample("t", "more text"), at_ms=NOW_MS + 1000)
        producer.settle()
        assert 60 == sum(len(group[4]) for group in shipper.lease()[1])
    assert "102\n" == sqlite3(database, "SELECT COUNT(*) FROM metrics")


def test_the_file_is_whole_to_any_sqlite(database: Path) -> None:
    """The installed `sqlite3`, another version than ours, finds nothing wrong with the file."""
    assert "ok\n" == sqlite3(database, "PRAGMA integrity_check")
    assert "wal\n" == sqlite3(database, "PRAGMA journal_mode")
