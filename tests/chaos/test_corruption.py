"""Damaged database files: the buffer is up and taking samples all the same, and saves what can be read.

More by hand: `CORRUPTIONS=500 pytest tests/chaos/test_corruption.py`, or `python -m tests.chaos.corruption`.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import apsw
import pytest

from buffer.storage.store import Store
from common import clock
from common.instruments import Instruments
from common.log import Log
from common.publisher import Publisher
from common.sample import Batch, Sample
from common.settings import Storage
from tests.chaos import corruption, damage
from tests.chaos.disks import folder
from tests.harness import HANGS_S, ROOT, wait_for
from tests.launcher import program
from tests.whole import cases

__all__ = ["folder"]

CASES = int(os.environ.get("CORRUPTIONS", "3"))
FIRST_SEED = 10_000
REAL_CASES = 4
ROWS, BATCH_ROWS = 30_000, 1_000
FIRST_MS = 1_760_000_000_000


@contextmanager
def buffer(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run the real buffer, and end it."""
    environment = {
        **os.environ,
        "BELABOX_RUN__DIR": str(folder / "run"),
        "BELABOX_STORAGE__PATH": str(folder / "home/metrics.db"),
        "BELABOX_STORAGE__COMMIT_INTERVAL": "100ms",
    }
    with (folder / "log").open("ab") as log:
        process = program([sys.executable, "-m", "buffer"], cwd=ROOT, env=environment, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def publish(folder: Path, number: int) -> None:
    """Publish a sample and wait for its ack; fail if none comes within seconds."""
    (folder / "run").mkdir(mode=0o700, exist_ok=True)
    publisher = Publisher(f"p{number}", folder / "run", Instruments(), Log("p"), 1_000)
    publisher.publish([Sample("after.number", number, {})], clock.wall_ms())

    def acked() -> bool:
        publisher.socket.poll(50)
        publisher.receive()
        return not publisher.unacked_samples

    try:
        wait_for("an ack", acked, 10)
    finally:
        publisher.close()


def log_of(folder: Path) -> str:
    """Return what the buffer wrote."""
    return (folder / "log").read_text(encoding="utf-8")


def count(folder: Path, where: str = "1") -> int:
    """Count samples in the database, 0 while there is none."""
    try:
        connection = apsw.Connection(str(folder / "home/metrics.db"), flags=apsw.SQLITE_OPEN_READONLY)
    except apsw.CantOpenError:
        return 0
    connection.set_busy_timeout(5_000)
    try:
        own = "series_id IN (SELECT id FROM series WHERE metric_name = 'events_total')"  # the buffer's words on it
        return int(connection.execute(f"SELECT count(*) FROM samples WHERE {where} AND NOT {own}").get)
    except (apsw.SQLError, apsw.CantOpenError, apsw.NotADBError, apsw.CorruptError):
        return 0  # no tables yet, or still the damaged file
    finally:
        connection.close()


def large(home: Path) -> None:
    """Write a database whose salvage takes seconds, two thirds of it uploaded."""
    home.mkdir()
    store = Store(replace(Storage(), path=home / "metrics.db"), "belabox-001")
    for number in range(ROWS // BATCH_ROWS):
        samples = [Sample(f"m.{slot}", number * slot / 7, {"slot": str(slot)}) for slot in range(BATCH_ROWS)]
        store.write([Batch("p", "e", number, FIRST_MS + number, 0, "", False, samples)])
    rows = store.pending.rows(2, FIRST_MS * 2, ROWS * 2 // 3)
    store.pending.mark_uploaded(2, rows, "batch", 0)
    store.checkpoint()
    store.close()


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("first", range(FIRST_SEED, FIRST_SEED + CASES, 3))
def test_damaged_files_cost_what_was_damaged_and_nothing_else(first: int) -> None:
    """Random damage to database, log or index: up and ingesting, and all that SQLite could still read is there."""
    seeds = range(first, min(first + 3, FIRST_SEED + CASES))
    results = [corruption.in_a_process(seed) for seed in seeds]
    assert [] == [result for result in results if "failed" in result or "exit" in result]


@pytest.mark.parametrize("flip", corruption.FLIPS, ids=str)
def test_a_flipped_bit_costs_what_is_counted(flip: corruption.Flip) -> None:
    """In the database or its log, at the start or in use: no loop, no value that was never written, no hidden loss."""
    results = [corruption.in_a_process(seed, flip) for seed in cases([1], [2])]
    assert [] == [result for result in results if "failed" in result or "exit" in result]


@pytest.mark.parametrize("seed", range(REAL_CASES))
def test_real_buffer_starts_on_a_damaged_database(folder: Path, seed: int) -> None:
    """`python -m buffer` takes samples within seconds, does not burn the processor, and ends when asked to."""
    corruption.make(folder / "home", seed)
    kind = damage.KINDS[seed % len(damage.KINDS)]
    kind(folder / "home" / corruption.FILES[seed % 4], random.Random(seed))
    with buffer(folder) as process:
        publish(folder, 1)
        wait_for("an end of the salvage", lambda: not unfinished(folder))
        publish(folder, 2)
        assert 2 == count(folder, "series_id = (SELECT id FROM series WHERE metric_name = 'after.number')")
        assert cpu_s(process.pid) < 5
        process.send_signal(signal.SIGTERM)
        assert process.wait(HANGS_S) == 0
    assert "Traceback" not in log_of(folder)


def unfinished(folder: Path) -> list[str]:
    """Return what is aside and has no report yet."""
    names = {path.name.removesuffix("-wal") for path in (folder / "home").glob("metrics.db.corrupt-*[!n]")}
    return [name for name in names if not (folder / "home" / f"{name}.json").exists()]


def cpu_s(pid: int) -> float:
    """Return the processor time a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_kill_in_the_middle_of_a_salvage_resumes_it(folder: Path) -> None:
    """After kill -9 at any time the salvage goes on where it was, and every row is there once, in its state.

    Long because a salvage that is to be killed in its middle has to take seconds.
    """
    large(folder / "home")
    database = folder / "home/metrics.db"
    with database.open("r+b") as file:
        file.write(b"\0" * 4096)  # the first page: to SQLite nothing is left
    for part in sorted(cases([0.1, 0.5], [0.8])):
        with buffer(folder) as process:
            wait_for(f"{part:.0%} of the salvage", lambda part=part: count(folder) > part * ROWS, 60)  # type: ignore[misc]
            process.kill()
            process.wait()
        assert count(folder) < ROWS
    with buffer(folder):
        publish(folder, 1)
        wait_for("the salvage", lambda: not unfinished(folder), 60)
        wait_for("the last row", lambda: count(folder) == ROWS + 1)
    assert ROWS * 2 // 3 == count(folder, "chunk > 0")
    assert ROWS // 3 + 1 == count(folder, "chunk IS NULL")
    report = next((folder / "home").glob("*Z.json")).read_text(encoding="utf-8")
    assert f'"samples_salvaged": {ROWS}' in report


def test_first_sample_after_damage_is_stored_at_once(folder: Path) -> None:
    """With a damaged database of any size the buffer takes samples as soon as with none."""
    large(folder / "home")
    with (folder / "home/metrics.db").open("r+b") as file:
        file.write(b"\0" * 4096)
    with buffer(folder):
        publish(folder, 1)
        assert 0 < count(folder) < ROWS, "it waits for the salvage"
