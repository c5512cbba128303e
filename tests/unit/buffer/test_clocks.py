"""A wall clock that was stepped, or wrong from the start: samples wait for their true time, or keep what was sent."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from buffer.storage import clocks
from buffer.storage.store import Store
from common import clock
from common.sample import NORMAL, Batch, Sample
from common.wire import EARLIEST_MS, LATEST_MS
from tests.unit.buffer.databases import DEVICE, batch, shifted, storage


def test_what_was_sent_keeps_the_time_it_was_sent_by(store: Store) -> None:
    """A clock that is set back moves what was never sent; what the server lost goes out as before."""
    now = clocks.now()
    both = batch(("sent", 1), ("new", 2), at_ms=now.wall_ms)
    store.write([replace(both, boottime_ms=now.boottime_ms, boot_id=now.boot_id)])
    rows = store.pending.rows(NORMAL, now.wall_ms + 1, 1)
    store.pending.mark_uploaded(NORMAL, rows, "b", 0)
    with store.transaction():
        assert 1 == store.pending.requeue_chunks(store.checkpoints.uploaded_before(clock.wall_ms() + 1, 0))
    later = clocks.Clocks(store._connection, 0, lambda: replace(now, wall_ms=now.wall_ms - 3_600_000))
    later.check()
    assert (1, 0) == (later.rebase(), later.rebase())
    moved, kept = store.pending.rows(NORMAL, now.wall_ms + 1, 10)
    assert (rows[0].id, now.wall_ms) == (kept.id, kept.timestamp_ms)
    assert now.wall_ms - 3_600_000 == pytest.approx(moved.timestamp_ms, abs=clocks.DRIFT_MS)


@pytest.mark.parametrize(("by_ms", "synchronised", "sent"), [
    (365 * 86_400_000, False, []), (-365 * 86_400_000, None, []), (365 * 86_400_000, True, [7]),
    (3_600_000, False, [7]),
])  # fmt: skip
def test_samples_of_a_clock_that_jumped_by_a_day_wait_a_minute(
    store: Store, monkeypatch: pytest.MonkeyPatch, by_ms: int, synchronised: bool | None, sent: list[int]
) -> None:
    """A clock a year ahead for ten seconds sends nothing by it; back again, the samples are set right and go out."""
    now, passed_s, shift_ms = clocks.now(), [1000.0], [0]
    read = shifted(now, shift_ms)
    monkeypatch.setattr(clock, "is_synchronised", lambda: synchronised)
    monkeypatch.setattr("buffer.storage.clocks.time.monotonic", lambda: passed_s[0])
    own = store._writer.clocks = clocks.Clocks(store._connection, 0, read)
    own.check()
    shift_ms[0] = by_ms
    store.write([replace(batch(("m", 7), at_ms=read().wall_ms), boottime_ms=now.boottime_ms, boot_id=now.boot_id)])
    assert sent == [row.value for row in store.pending.rows(NORMAL, 2**60, 10)]
    own = store._writer.clocks = clocks.Clocks(store._connection, 0, read)  # the buffer is restarted
    assert sent == [row.value for row in store.pending.rows(NORMAL, 2**60, 10)]
    if not sent:
        passed_s[0] += 10
        shift_ms[0] = 0
        own.check()
        passed_s[0] += clocks.JUMP_WAIT_S
        assert 1 == own.rebase()
        (row,) = store.pending.rows(NORMAL, 2**60, 10)
        assert (now.wall_ms, 7) == (row.timestamp_ms, row.value)


def test_a_batch_that_comes_again_after_a_step_is_stored_once(store: Store) -> None:
    """Although its two clocks were not read in the same millisecond."""
    now, shift_ms = clocks.now(), [365 * 86_400_000]
    read = shifted(now, shift_ms)
    own = store._writer.clocks = clocks.Clocks(store._connection, 0, read)
    own.check()
    apart = batch(("m", 7), at_ms=read().wall_ms)
    apart = replace(apart, boottime_ms=now.boottime_ms - 1, boot_id=now.boot_id)
    store.write([apart])
    shift_ms[0] = 0
    own.check()
    while own.rebase():
        pass
    store.write([apart])
    assert [(now.wall_ms,)] == store._connection.execute("SELECT timestamp_ms FROM samples").fetchall()


def test_a_board_in_1970_sends_nothing_before_it_knows_the_date(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then every sample goes with the time at which it was taken."""
    wall_ms, boot_ms = clock.wall_ms(), clock.boottime_ms()
    with monkeypatch.context() as early:
        early.setattr(clock, "wall_ms", lambda: 5_000 + clock.boottime_ms() - boot_ms)
        samples = [Sample("m", 1)]
        store.write([Batch("p", "e", 1, EARLIEST_MS, boot_ms, clock.boot_id(), urgent=False, samples=samples)])
        assert ([], [0, 0, 1, 0]) == (store.pending.rows(NORMAL, LATEST_MS, 10), store.pending.counts)
    monkeypatch.setattr(clock, "is_synchronised", lambda: True)
    store.write([])
    assert 1 == store.clocks.rebase()
    (row,) = store.pending.rows(NORMAL, LATEST_MS, 10)
    assert abs(row.timestamp_ms - wall_ms) < 1_000


def test_what_an_earlier_boot_left_in_1970_is_quarantined(
    store: Store, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody will ever know its time; it is kept, and counted."""
    with monkeypatch.context() as early:
        early.setattr(clock, "wall_ms", lambda: 5_000)
        batch_of_1970 = Batch("p", "e", 1, EARLIEST_MS, 1, clock.boot_id(), urgent=False, samples=[Sample("m", 1)])
        store.write([batch_of_1970])
    store._connection.execute("UPDATE clocks SET boot_id = 'earlier'")
    store.close()
    again = Store(storage(path), DEVICE)
    assert (1, [0, 0, 0, 0]) == (again.undated, again.pending.counts)
    again.close()


def test_what_the_server_may_have_keeps_its_time(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lost answer and then a step would put one sample at two times."""
    wall_ms, boot_ms = clock.wall_ms(), clock.boottime_ms()
    for seq in range(2):
        samples = [Sample("m", seq)]
        at_ms = wall_ms + seq
        store.write([Batch("p", "e", seq, at_ms, boot_ms + seq, clock.boot_id(), urgent=False, samples=samples)])
    store.pending.keep_times(store.pending.rows(NORMAL, LATEST_MS, 1))
    monkeypatch.setattr(clock, "wall_ms", lambda: wall_ms + 3_600_000 + clock.boottime_ms() - boot_ms)
    store.write([])
    assert 1 == store.clocks.rebase()
    first, second = store.pending.rows(NORMAL, LATEST_MS, 10)
    assert wall_ms == first.timestamp_ms
    assert abs(second.timestamp_ms - wall_ms - 3_600_000) < 100


def test_an_uploaded_batch_that_comes_again_after_two_steps_is_stored_once(store: Store) -> None:
    """By a clock that was set forth and back: it is another row in `clocks`, and the same time."""
    now, shift_ms = clocks.now(), [0]
    read = shifted(now, shift_ms)
    own = store._writer.clocks = clocks.Clocks(store._connection, 0, read)
    sample = replace(batch(("m", 7), at_ms=now.wall_ms), boottime_ms=now.boottime_ms, boot_id=now.boot_id)
    store.write([sample])
    store.pending.mark_uploaded(NORMAL, store.pending.rows(NORMAL, LATEST_MS, 1), "b", 0)
    for shift_ms[0] in (365 * 86_400_000, 1):
        own.check()
        own.rebase()
    assert (0, 1) == store.write([sample])[:2]


def test_samples_wait_until_a_step_is_noticed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """They have the time of before; a lease in the moment after the step would send them with it."""
    monkeypatch.setattr(clock, "is_synchronised", lambda: True)
    now, shift_ms = clocks.now(), [365 * 86_400_000]
    read = shifted(now, shift_ms)
    own = store._writer.clocks = clocks.Clocks(store._connection, 0, read)
    wrong = batch(("m", 7), at_ms=read().wall_ms)
    store.write([replace(wrong, boottime_ms=now.boottime_ms, boot_id=now.boot_id)])
    shift_ms[0] = 0
    assert [] == store.pending.rows(NORMAL, LATEST_MS, 1)
    own.check()
    own.rebase()
    assert [now.wall_ms] == [row.timestamp_ms for row in store.pending.rows(NORMAL, LATEST_MS, 1)]


def test_a_clock_of_another_file_is_moved_by_the_difference_there(store: Store) -> None:
    """Its clocks were not read in the same millisecond as those here: a redelivery would be stored beside."""
    now, year_ms = clocks.now(), 365 * 86_400_000
    own = clocks.Clocks(store._connection, 0, lambda: now)
    there_ms = [now.offset_ms - 1, now.offset_ms + year_ms]
    assert -year_ms - 1 == own.against(now.boot_id, there_ms[1], there_ms)
    assert -year_ms == own.against(now.boot_id, there_ms[1], there_ms[1:])
    assert 0 == own.against(now.boot_id, there_ms[0], there_ms)


@pytest.mark.parametrize("is_sent", [False, True])
def test_a_batch_that_comes_again_right_after_a_step_is_stored_once(store: Store, is_sent: bool) -> None:
    """Whether the first is still to be rebased, or keeps the time that it was sent by; there and back again."""
    now, shift_ms = clocks.now(), [0]
    read = shifted(now, shift_ms)
    own = store._writer.clocks = clocks.Clocks(store._connection, 0, read)
    sample = replace(batch(("m", 7), at_ms=now.wall_ms), boottime_ms=now.boottime_ms, boot_id=now.boot_id)
    store.write([sample])
    if is_sent:
        store.pending.keep_times(store.pending.rows(NORMAL, LATEST_MS, 1))
    for shift_ms[0] in (365 * 86_400_000, 1):
        assert (0, 1) == store.write([sample])[:2]
        own.rebase()
    assert [(now.wall_ms, 7)] == store._connection.execute("SELECT timestamp_ms, value FROM samples").fetchall()


def test_the_clocks_are_read_at_one_instant(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine the process may be put aside between the two; its samples would be dated by that."""
    boottimes = iter((0, 2_000, 2_000, 2_001))
    walls = iter((10_000, 12_000))
    monkeypatch.setattr(clock, "boottime_ms", lambda: next(boottimes))
    monkeypatch.setattr(clock, "wall_ms", lambda: next(walls))
    assert 12_000 - 2_001 == clocks.now().offset_ms
