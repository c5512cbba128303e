"""A database that is made while the wall clock is wrong: what of the clocks before it is known, and what waits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import apsw
import pytest

from buffer.recovery.salvage import Salvage
from buffer.storage import clocks
from buffer.storage.store import Store
from common import clock
from common.sample import NORMAL
from tests.unit.buffer.databases import DEVICE, batch, query, shifted, storage
from tests.unit.buffer.rescued import aside, buffer, home, sound, works

__all__ = ["home"]

YEAR_MS = 365 * 86_400_000


@pytest.fixture(autouse=True)
def _unsynchronised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "is_synchronised", lambda: False)


@pytest.mark.parametrize("is_running", [False, True])
def test_a_file_goes_on_with_the_clocks_of_the_one_it_replaces(
    home: Path, monkeypatch: pytest.MonkeyPatch, is_running: bool
) -> None:
    """Whether that was damaged at the start or at run time: a jump in between shows, and the samples wait."""
    path, right = sound(home), clock.wall_ms
    if not is_running:
        path.write_bytes(path.read_bytes().replace(b"note", b"mote", 1))
        monkeypatch.setattr(clock, "wall_ms", lambda: right() + YEAR_MS)
    with buffer(home) as treated:
        if is_running:
            monkeypatch.setattr(clock, "wall_ms", lambda: right() + YEAR_MS)
            treated.buffer.store.damage = apsw.CorruptError("")
        works(treated)
        assert 1 == len(aside(home))
        known = treated.buffer.store.clocks
        before_ms, now_ms = known.offsets_ms
        assert YEAR_MS == pytest.approx(now_ms - before_ms, abs=1_000)
        assert known.unsynchronised == known.current


@pytest.mark.parametrize(("apart_ms", "sent"), [(0, [7]), (3_600_000, [7]), (-YEAR_MS, []), (YEAR_MS, [])])
def test_a_batch_by_a_clock_a_day_apart_makes_the_samples_wait(store: Store, apart_ms: int, sent: list[int]) -> None:
    """It was published before a jump that a new file did not see; without such a batch nothing is delayed."""
    now = clocks.now()
    own = store._writer.clocks = clocks.Clocks(store._connection, 0, lambda: now)
    early = batch(("m", 7), at_ms=now.wall_ms + apart_ms)
    store.write([replace(early, boottime_ms=now.boottime_ms, boot_id=now.boot_id)])
    assert sent == [row.value for row in store.pending.rows(NORMAL, 2**60, 10)]
    own._doubted_until_s = 0.0  # a minute later
    assert 1 == len(store.pending.rows(NORMAL, 2**60, 10))


@pytest.mark.parametrize(("apart_ms", "waits"), [(0, False), (3_600_000, False), (YEAR_MS, True)])
def test_a_damaged_file_by_a_clock_a_day_apart_makes_the_samples_wait(store: Store, apart_ms: int, waits: bool) -> None:
    """Where the damaged file could not be opened, its clocks are first known when it is salvaged."""
    now = clocks.now()
    own = clocks.Clocks(store._connection, 0, lambda: now)
    own.against(now.boot_id, now.offset_ms + apart_ms)
    assert waits == (own.unsynchronised == own.current)


def test_a_salvage_that_began_while_the_clock_was_wrong_ends_by_the_right_one(store: Store, tmp_path: Path) -> None:
    """It writes by the clock of its beginning; what it writes after the step back is set right as what was before."""
    now, shift_ms = clocks.now(), [0]
    read = shifted(now, shift_ms)
    damaged = Store(storage(tmp_path / "damaged.db"), DEVICE)
    damaged._writer.clocks = clocks.Clocks(damaged._connection, 0, read)
    for seq in range(200):
        sample = batch(("m", seq), seq=seq, at_ms=now.wall_ms + seq)
        damaged.write([replace(sample, boottime_ms=now.boottime_ms + seq, boot_id=now.boot_id)])
    damaged.close()
    own = store._writer.clocks = clocks.Clocks(store._connection, 0, read)
    shift_ms[0] = YEAR_MS
    salvage = Salvage(damaged.path, store, lambda: True)
    salvage.pace.rows = 50
    for _ in salvage.work():
        if salvage.progress.samples and shift_ms[0]:
            assert salvage.progress.samples < 200
            shift_ms[0] = 0
            own.check()
        while own.rebase():
            pass
    salvage.close()
    assert {now.wall_ms + seq: seq for seq in range(200)} == dict(
        query(store.path, "SELECT timestamp_ms, metric_value FROM metrics")
    )
