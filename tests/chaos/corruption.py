"""One damaged database: made, damaged, opened by the buffer, used, and compared with what was written.

By hand: `python -m tests.chaos.corruption --cases 500 --seed 1`, and with `--flips 500` as many single flipped bits in
the database and as many in its log, half of each while the buffer runs; each case is a process of its own, so that a
crash, a hang or a leak of one is seen as such.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import apsw

from buffer.recovery import rescue
from buffer.storage.store import Store
from common.sample import Batch, Sample
from common.settings import Storage
from tests.chaos import damage
from tests.chaos.patient import Patient
from tests.patience import Patience
from tests.scratch import scratch

DEVICE = "belabox-001"
BATCHES, SAMPLES = 160, 40
FIRST_MS = 1_760_000_000_000
CASE_S = 60.0  # a case takes 0.5 s; this is a hang
FILES = ("metrics.db", "metrics.db", "metrics.db-wal", "metrics.db-wal", "metrics.db-shm")
INDEX = "metrics.db-shm"  # SQLite finds pages in the log by it; while in use and wrong, it makes it write wrong pages

Key: TypeAlias = tuple[str, str, int]  # name, tags and device, timestamp
Truth = dict[Key, tuple[Any, str]]  # value, and pending, uploaded or local

ROWS = """
SELECT metric_name, tags || device_id, timestamp_ms,
       CASE typeof(value) WHEN 'text' THEN CAST(value AS BLOB) ELSE value END,
       CASE WHEN chunk IS NULL THEN 'pending' WHEN chunk > 0 THEN 'uploaded' ELSE 'local' END
FROM samples JOIN series ON series.id = samples.series_id
"""


def batch(number: int, chance: random.Random) -> Batch:
    """Return one batch of mixed samples."""
    samples = [
        Sample(f"metric.{slot % 20}", chance.choice((number, chance.random(), -(10**9) * slot)), {"slot": str(slot)})
        for slot in range(SAMPLES - 1)
    ]
    samples.append(Sample("note", f"text {number} " + "x" * chance.choice((5, 5, 5, 6_000)), {}))
    return Batch("p", "e", number, FIRST_MS + 1000 * number, 1, "boot", False, samples)


def make(folder: Path, seed: int) -> Truth:
    """Write a database as the buffer does and leave it as a kill would, or closed; return what is in it."""
    chance = random.Random(seed)
    folder.mkdir()
    live = folder.with_name("live")
    live.mkdir()
    store = Store(replace(Storage(), path=live / "metrics.db"), DEVICE)
    folds = {chance.randrange(BATCHES) for _ in range(chance.choice((0, 1, 3)))}
    for number in range(BATCHES):
        store.write([batch(number, chance)])
        if number % 20 == 10:
            rows = store.pending.rows(2, FIRST_MS * 2, 400)
            store.pending.mark_uploaded(2, rows, f"batch {number}", 0)
        if number in folds:
            store.checkpoint()
    if chance.random() < 0.2:
        store.checkpoint()
    truth = _rows(store._connection)
    for file in live.iterdir():
        shutil.copy(file, folder)
    store.close()
    shutil.rmtree(live)
    return truth


def readable(folder: Path, truth: Truth) -> Truth:
    """Return what SQLite itself can still read of a damaged database, and was written."""
    with scratch() as copy:
        shutil.copytree(folder, copy / "copy")
        try:
            connection = apsw.Connection(str(copy / "copy" / "metrics.db"))
        except apsw.Error:
            return {}
        rows = list(_by_halves(connection, 1, len(truth) + 1))
        connection.close(True)
    return {(name, tags, ms): (value, state) for name, tags, ms, value, state in rows if (name, tags, ms) in truth}


class Flip(NamedTuple):
    """A single flipped bit: in which file, and whether that is in use."""

    file: str
    live: bool


FLIPS = [Flip(file, live) for file in ("metrics.db", "metrics.db-wal") for live in (False, True)]


def run(seed: int, flip: Flip | None = None) -> dict[str, Any]:
    """Do one case; return what happened.

    Args:
        seed: decides what is written, and the damage.
        flip: the damage is that instead.

    Raises:
        AssertionError: with what should not have happened.
    """
    chance = random.Random(seed)
    with scratch() as folder:
        home = folder / "home"
        truth = make(home, seed)
        live = chance.random() < 0.15 if flip is None else flip.live
        file, could = home / (chance.choice(FILES) if flip is None else flip.file), Truth()
        if not live:
            done = damage.do(file, chance) if flip is None else damage.one_bit(file, chance)
            could = readable(home, truth)
        patient = Patient(home, folder / "run")
        patient.wait_until("the first samples are acked", patient.publish(100))
        if live:
            done = damage.do(file, chance, in_place=True) if flip is None else damage.one_bit(file, chance)
        patient.use(chance)
        patient.wait_until("the salvage ends", patient.is_well)
        patient.look_at_everything()
        patient.wait_until("what was found is replaced, and salvaged", patient.is_well)
        patient.wait_until("more samples are acked", patient.publish(100))
        patient.drain_everything()
        result = patient.close()
        after = _after(home)
    report = {"seed": seed, "file": file.name, "damage": done.kind, "live": live, "could": len(could), **result}
    _compare(truth, could, after, done, report)
    return {**report, "there": len(after.keys() & truth.keys())}


def _after(home: Path) -> Truth:
    connection = apsw.Connection(str(home / "metrics.db"))
    assert connection.execute("PRAGMA integrity_check").get == "ok"
    rows = _rows(connection)
    connection.close()
    return rows


def _rows(connection: apsw.Connection) -> Truth:
    rows: list[Any] = connection.execute(ROWS).fetchall()
    return {(name, tags, ms): (value, state) for name, tags, ms, value, state in rows}


def _compare(truth: Truth, could: Truth, after: Truth, done: damage.Damage, report: dict[str, Any]) -> None:
    unseen = 2 * done.places  # SQLite keeps no checksums of pages: so many rows can be other ones, and nobody can tell
    missed = [key for key in could if key not in after and could[key] == truth[key]]
    assert [] == missed[unseen:], f"{len(missed)} rows that SQLite could read were not salvaged: {report}"
    if report["live"] and report["file"] == INDEX:
        return
    if done.kind == "one bit":
        gone = len(truth.keys() - after.keys())
        assert gone <= report["lost"] + unseen, f"{gone} rows are gone, {report['lost']} are counted: {report}"
    other = [key for key in after.keys() & truth.keys() if after[key][0] != truth[key][0]]
    assert [] == other[unseen:], f"{len(other)} rows have values that were never written: {report}"
    # The patient's own samples, and what counts the buffer's own events, came meanwhile.
    strangers = [key for key in after.keys() - truth.keys() if not key[0].startswith(("patient", "events_total"))]
    assert [] == strangers[unseen:], f"{len(strangers)} rows were never written: {report}"
    if not report["set_aside"] and not report["live"] and done.kind == "nothing":
        assert len(truth) == len(after.keys() & truth.keys()), report


def _by_halves(connection: apsw.Connection, first: int, end: int) -> Iterator[tuple[Any, ...]]:
    try:
        yield from connection.execute(f"{ROWS} WHERE samples.id >= ? AND samples.id < ?", (first, end)).fetchall()
    except (apsw.CorruptError, apsw.IOError, UnicodeDecodeError):
        if end - first > 1:
            middle = (first + end) // 2
            yield from _by_halves(connection, first, middle)
            yield from _by_halves(connection, middle, end)
    except apsw.Error:
        return  # not even the tables


def in_a_process(seed: int, flip: Flip | None = None) -> dict[str, Any]:
    """Do one case in a process of its own; an error, a crash or a hang is in the result as `failed`."""
    reader, writer = multiprocessing.Pipe(duplex=False)
    child = multiprocessing.get_context("fork").Process(target=_child, args=(seed, flip, writer))
    child.start()
    writer.close()
    patience = Patience(CASE_S)
    try:
        while not (is_done := reader.poll(1)) and not patience.is_over():
            pass
        result: dict[str, Any] = reader.recv() if is_done else {"failed": f"hangs for {CASE_S:g} s"}
    except EOFError:
        result = {"failed": "died"}
    if "hangs" in result.get("failed", ""):
        child.kill()
    child.join()
    return {"seed": seed, **result, **({"exit": child.exitcode} if child.exitcode else {})}


def _child(seed: int, flip: Flip | None, writer: Any) -> None:
    sys.stdout = sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - ends with the process
    rescue.REPLACE_EVERY_S = 0.5  # two replacements in a case are two damages, not a dying card
    rescue.WATCH_S = 0.05
    try:
        writer.send(run(seed, flip))
    except BaseException as error:  # noqa: BLE001 - whatever it is, the parent reports it
        writer.send({"failed": f"{type(error).__name__}: {error}"})
    os._exit(0)


def main() -> int:
    """Run many cases and say what became of them; exit code 1 when any failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.corruption", description=__doc__)
    parser.add_argument("--cases", type=int, default=500)
    parser.add_argument("--flips", type=int, default=0, help="single bits to flip in the database, and in its log")
    parser.add_argument("--seed", type=int, default=1, help="of the first case; each next one has the next")
    options = parser.parse_args()
    began_s, kinds, failed = time.monotonic(), Counter[str](), 0
    cases: list[Flip | None] = [None] * options.cases
    cases += FLIPS * (options.flips // 2)
    for seed, flip in enumerate(cases, options.seed):
        result = in_a_process(seed, flip)
        if flip is not None:
            kinds[f"{flip.file}: rows gone"] += BATCHES * SAMPLES - result.get("there", 0)
            kinds[f"{flip.file}: rows counted as lost"] += result.get("lost", 0)
        kinds[f"{result.get('damage')}{' live' if result.get('live') else ''}"] += 1
        if result.get("set_aside") and not result.get("live"):
            kinds["moved aside or copied"] += 1
            kinds["rows in these"] += BATCHES * SAMPLES
            kinds["rows that SQLite could read"] += result.get("could", 0)
            kinds["rows there in the end"] += result.get("there", 0)
        if "failed" in result or "exit" in result:
            failed += 1
            print(json.dumps(result), flush=True)
    print(json.dumps(kinds, indent=1))
    print(f"{failed} of {len(cases)} failed; {time.monotonic() - began_s:.0f} s")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
