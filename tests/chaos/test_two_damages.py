"""A second damage before what the first one left is salvaged: what is gone is counted, to the sample."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import pytest

from buffer.recovery.rescue import LOST_WITH_DATABASE
from buffer.recovery.row_ids import BLOCK, RowIds
from buffer.storage import database
from buffer.storage.store import Store
from tests.chaos.patient import Patient
from tests.unit.buffer.databases import DEVICE, query, storage
from tests.unit.buffer.rescued import buffer, home, works
from tests.unit.buffer.test_salvage import fill

__all__ = ["home"]

PAGE = 1024
BATCHES, ROWS = 80, 11  # of numbers and a text


@pytest.mark.parametrize("second", ["log", "database"])
@pytest.mark.parametrize("first", ["log", "database"])
def test_two_damages_cost_what_is_counted(
    home: Path, caplog: pytest.LogCaptureFixture, first: str, second: str
) -> None:
    """Whichever files are hit: what is not there afterwards is counted, and nothing else.

    By its metric, or without a name where the page that named its series was hit.
    """
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    chance = random.Random(seed)
    store = Store(storage(home / "metrics.db"), DEVICE)
    fill(store, BATCHES // 2)
    store.checkpoint()
    fill(store, BATCHES // 2, first=BATCHES // 2)
    store.abandon()
    published = BATCHES * ROWS
    for part in (first, second):
        if part == "log":
            hit_log(home, chance)
        with buffer(home) as treated:
            if part == "database":
                hit_database(home, treated, chance)
            treated.wait_until("samples are acked", treated.publish(500, f"after.{published}"))
            published += 500
            shutil.copytree(home, home.parent / "killed")
        shutil.rmtree(home)
        (home.parent / "killed").rename(home)
    with buffer(home) as treated:
        works(treated)
        unnamed = treated.process.instruments.counter("storage.unsalvaged_samples_total")
        assert published == unnamed + lost(caplog) + treated.stored - 100


def lost(caplog: pytest.LogCaptureFixture) -> int:
    """Return how many samples the log says are lost, besides those that count the buffer's own events."""
    records = [vars(record)["fields"] for record in caplog.records if record.getMessage() == LOST_WITH_DATABASE]
    return sum(fields["count"] - fields["metrics"].get("events_total", 0) for fields in records)


def hit_log(home: Path, chance: random.Random) -> None:
    """Flip a bit in a page in the log, behind which others follow."""
    log = database.log_of(home / "metrics.db")
    frames = range(32, log.stat().st_size, 24 + PAGE)
    with log.open("r+b") as file:
        flip(file.fileno(), chance.choice(frames[: len(frames) // 2]) + 24 + chance.randrange(PAGE), chance)


def hit_database(home: Path, treated: Patient, chance: random.Random) -> None:
    """Make a page with rows of samples unreadable, and have it noticed; what is found then is not salvaged yet."""
    treated.buffer.store.checkpoint()
    path = home / "metrics.db"
    pages = [page for (page,) in query(path, "SELECT pageno FROM dbstat WHERE name = 'samples' AND pagetype = 'leaf'")]
    with path.open("r+b") as file:
        file.seek(PAGE * (chance.choice(pages) - 1))
        file.write(b"\xff" * 8)
    treated.look_at_everything()
    treated.buffer.rescue._timer.interval_s = 60.0
    treated.buffer.rescue.step()
    assert treated.buffer.store.damage is None, "replaced"


def flip(descriptor: int, offset: int, chance: random.Random) -> None:
    """Flip a bit of a byte."""
    (byte,) = os.pread(descriptor, 1, offset)
    os.pwrite(descriptor, bytes([byte ^ 1 << chance.randrange(8)]), offset)


def test_ids_that_were_not_seen_are_counted() -> None:
    """Between the lowest and the highest, also where nothing at all was seen for long."""
    ids = RowIds()
    assert 0 == ids.holes
    assert [True, True, False] == [ids.add(number) for number in (7, 9, 7)]
    assert 1 == ids.holes
    ids.add(5 * BLOCK)
    assert 5 * BLOCK - 7 - 2 == ids.holes
