"""The clocks of a boot by the millisecond: what is a step, where a batch belongs, what waits, and what is moved."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from typing import Any

import pytest

from buffer.storage import clocks
from buffer.storage.clocks import ClockReading, Clocks, Placed
from buffer.storage.store import Store
from common import clock
from common.sample import NORMAL, Batch, Sample
from common.wire import EARLIEST_MS, LATEST_MS
from tests.unit.buffer.databases import NOW_MS, batch

DAY_MS = 86_400_000
UP_MS = 1_000_000
OFFSET_MS = NOW_MS - UP_MS
HERE = clock.boot_id()


class Board:
    """The clocks of a database, by a reading that a test sets.

    Attributes:
        passed_s: monotonic time.
    """

    def __init__(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        self.store, self.reading, self.passed_s = store, ClockReading(NOW_MS, UP_MS, HERE), 1000.0
        monkeypatch.setattr("buffer.storage.clocks.time.monotonic", lambda: self.passed_s)
        monkeypatch.setattr(clock, "is_synchronised", lambda: None)

    def made(self, *after_ms: int, boot_id: str = HERE) -> Clocks:
        """Return the clocks of a file that has these offsets, the last one current, as a restarted buffer has them."""
        rows = [(boot_id, OFFSET_MS + shift_ms) for shift_ms in after_ms]
        self.store._connection.executemany("INSERT INTO clocks (boot_id, offset_ms) VALUES (?, ?)", rows)
        own = self.store._writer.clocks = Clocks(self.store._connection, 30.0, lambda: self.reading)
        return own

    def step(self, by_ms: int) -> None:
        """Set the wall clock."""
        self.reading = replace(self.reading, wall_ms=self.reading.wall_ms + by_ms)

    def offsets(self) -> list[int]:
        """Return the offsets in the file."""
        found: list[Any] = self.store._connection.execute("SELECT offset_ms FROM clocks ORDER BY id").fetchall()
        return [offset_ms - OFFSET_MS for (offset_ms,) in found]


@pytest.fixture
def board(store: Store, monkeypatch: pytest.MonkeyPatch) -> Board:
    """A board that knows of no clock yet."""
    store._connection.execute("DELETE FROM clocks")
    return Board(store, monkeypatch)


def by(at_ms: int, boot_id: str = HERE, up_ms: int = UP_MS) -> Batch:
    """Return a batch of a time after now, by the clock of a boot."""
    return Batch("p", "e", 1, NOW_MS + at_ms, up_ms, boot_id, urgent=False, samples=[Sample("m", 1)])


def test_the_first_look_makes_a_clock_and_is_no_step(board: Board) -> None:
    """Of this boot's; what another one had says nothing."""
    own = board.made(-DAY_MS, DAY_MS, boot_id="another")
    assert (0, [], {}) == (own.current, own.offsets_ms, own.stale)
    assert 0 == own.check()
    assert ([OFFSET_MS], {}, None) == (own.offsets_ms, own.stale, own.unsynchronised)


@pytest.mark.parametrize(
    ("by_ms", "known"),
    [(500, [0]), (-500, [0]), (501, [501]), (2_000, [2_000]), (-2_000, [-2_000]), (2_001, [0, 2_001])],
)
def test_two_seconds_are_a_step_and_less_is_drift(board: Board, by_ms: int, known: list[int]) -> None:
    """Drift of half a second is followed, of this clock alone; a step is another clock."""
    own = board.made(-DAY_MS, 0)
    board.step(by_ms)
    assert (by_ms if len(known) > 1 else 0) == own.check()
    assert [-DAY_MS, *known] == board.offsets()
    assert OFFSET_MS + known[-1] == own.offsets_ms[-1]


@pytest.mark.parametrize(("back_ms", "found_ms"), [(20, 0), (-20, 0), (21, 21)])
def test_a_clock_that_is_set_back_is_the_one_before(board: Board, back_ms: int, found_ms: int) -> None:
    """To the millisecond, though both were not read in the same one: so is a batch that comes again."""
    own = board.made(0, DAY_MS)
    board.step(back_ms)
    own.check()
    assert [0, DAY_MS, found_ms] == board.offsets()
    assert own.is_alike(1) == (found_ms == 0)


@pytest.mark.parametrize(
    ("by_ms", "waits"), [(DAY_MS, False), (DAY_MS + 1, True), (-DAY_MS, False), (-DAY_MS - 1, True)]
)
def test_a_jump_of_a_day_is_doubted_for_a_minute(board: Board, by_ms: int, waits: bool) -> None:
    """It may jump back; a buffer that is restarted meanwhile doubts it again, by the clock before it alone."""
    own = board.made(0)
    board.step(by_ms)
    own.check()
    again = board.made()
    far = Board.made(board, 5 * DAY_MS, by_ms - 1, by_ms)
    for one, doubts in ((own, waits), (again, waits), (far, False)):
        assert doubts == (one.unsynchronised is not None)
    board.passed_s += 59.9
    assert waits == (again.unsynchronised is not None)
    board.passed_s += 0.1
    assert again.unsynchronised is None


@pytest.mark.parametrize(
    ("at_ms", "shift_ms", "moved"),
    [
        (0, 0, ""), (2_000, 2_000, ""), (-2_000, -2_000, ""), (2_001, 0, "rebased"),
        (300_000, 0, "rebased"), (300_001, 0, "clamped"), (-3_600_000, 0, "rebased"), (-3_600_001, 0, "clamped"),
    ],
)  # fmt: skip
def test_a_batch_of_this_boot_has_its_true_time(board: Board, at_ms: int, shift_ms: int, moved: str) -> None:
    """By the time since boot that it carries; within two seconds its own time stands."""
    own = board.made(0)
    assert Placed(NOW_MS + shift_ms, own.current, moved) == own.place(by(at_ms))
    assert own.unsynchronised is None


@pytest.mark.parametrize(("at_ms", "waits"), [(DAY_MS, False), (DAY_MS + 1, True), (-DAY_MS - 1, True)])
def test_a_batch_by_a_clock_a_day_apart_raises_a_doubt(board: Board, at_ms: int, waits: bool) -> None:
    """It was published before a jump that this file never saw."""
    own = board.made(0)
    own.place(by(at_ms))
    assert waits == (own.unsynchronised is not None)


@pytest.mark.parametrize(("at_ms", "expected_ms", "moved"), [
    (300_000, 300_000, ""), (300_001, 0, "clamped"), (-5 * DAY_MS, -5 * DAY_MS, ""),
])  # fmt: skip
@pytest.mark.parametrize(("boot_id", "up_ms"), [("another", UP_MS), ("", UP_MS), (HERE, 0)])
def test_a_batch_of_another_boot_is_not_from_the_future(
    board: Board, at_ms: int, expected_ms: int, moved: str, boot_id: str, up_ms: int
) -> None:
    """Nothing else of it can be checked."""
    assert Placed(NOW_MS + expected_ms, None, moved) == board.made(0).place(by(at_ms, boot_id, up_ms))


@pytest.mark.parametrize(("apart_ms", "kept_ms"), [(10, 10), (-2_000, -2_000), (-2_001, 0)])
def test_a_batch_by_a_clock_before_is_moved_by_the_step(board: Board, apart_ms: int, kept_ms: int) -> None:
    """As the stored ones are: by the nearest of the clocks, to the millisecond."""
    own = board.made(-DAY_MS, -DAY_MS + 4_500, 0)
    placed = own.place(by(-DAY_MS + apart_ms))
    assert Placed(NOW_MS + kept_ms, own.current, "rebased" if kept_ms else "clamped") == placed


def test_the_nearest_clock_tells_by_how_much(board: Board) -> None:
    """Two clocks a second apart: the other one would date it a second wrong."""
    own = board.made(-DAY_MS, -DAY_MS + 1_000, 0)
    assert Placed(NOW_MS + 10, own.current, "rebased") == own.place(by(-DAY_MS + 10))


def test_a_sample_is_looked_for_at_its_earlier_times(board: Board) -> None:
    """Where it came again after a step, or some are not rebased yet; not where its clock was set as the current one."""
    own = board.made(-DAY_MS, 20, 0)
    first, _, current = sorted({*own.stale, own.current})
    expected = {NOW_MS - DAY_MS: {first}}
    assert expected == own.earlier_places(Placed(NOW_MS, current, ""))
    assert {} == own.earlier_places(Placed(NOW_MS, None, "rebased"))
    assert 0 == own.rebase()
    assert {} == own.earlier_places(Placed(NOW_MS, current, ""))
    assert {} == own.earlier_places(Placed(NOW_MS, current, "clamped"))
    assert expected == own.earlier_places(Placed(NOW_MS, current, "rebased"))


def test_clocks_of_one_moment_are_alike(board: Board) -> None:
    """Twenty milliseconds is what two readings of one clock may differ by; nobody knows a clock that is not there."""
    own = board.made(20, 21, -20, 0)
    *others, current = sorted({*own.stale, own.current})
    assert [True, False, True] == [own.is_alike(one) for one in others]
    assert own.is_alike(current)
    assert not own.is_alike(current + 1)


@pytest.mark.parametrize(
    ("offset_ms", "others_ms", "expected"),
    [
        (-5_000, [], 5_000),
        (-2_000, [], 0),
        (-2_001, [], 2_001),
        (-DAY_MS, [20, -DAY_MS], DAY_MS + 20),
        (-DAY_MS, [21, -DAY_MS], DAY_MS),
        (-DAY_MS, [7, -9, -DAY_MS], DAY_MS + 7),
    ],
)
def test_a_clock_of_another_file_is_moved_to_the_current_one(
    board: Board, offset_ms: int, others_ms: list[int], expected: int
) -> None:
    """By the one there that was set as it; of another boot by none."""
    own = board.made()
    others = [OFFSET_MS + one_ms for one_ms in others_ms]
    assert expected == own.against(HERE, OFFSET_MS + offset_ms, others)
    assert own.against("another", OFFSET_MS + offset_ms, others) is None


@pytest.mark.parametrize(("by_ms", "waits"), [(DAY_MS, False), (DAY_MS + 1, True)])
def test_a_clock_of_another_file_a_day_apart_raises_a_doubt(board: Board, by_ms: int, waits: bool) -> None:
    """The jump was between the two files."""
    own = board.made()
    own.against(HERE, OFFSET_MS + by_ms)
    assert waits == (own.unsynchronised is not None)


def test_the_last_steps_are_known(board: Board) -> None:
    """There and back, of the last eight clocks before the current one."""
    assert {7, -7} == board.made(0, 7).steps_ms()
    own = board.made(*[100 * number for number in range(1, 12)])
    assert 800 == max(own.steps_ms())
    assert 0 not in own.steps_ms()


@pytest.mark.parametrize(("by_ms", "waits"), [(2_000, False), (2_001, True), (-2_001, True)])
def test_samples_wait_from_the_moment_of_a_step(board: Board, by_ms: int, waits: bool) -> None:
    """Before any write has noticed it."""
    own = board.made(0)
    board.step(by_ms)
    assert waits == (own.unsynchronised == own.current)


@pytest.mark.parametrize(
    ("up_ms", "is_kept", "synchronised", "waits"),
    [
        (30_000, True, False, True),
        (30_001, True, False, False),
        (30_000, False, False, False),
        (30_000, True, True, False),
        (30_000, True, None, False),
    ],
)
def test_samples_wait_for_a_clock_that_is_about_to_be_set(
    board: Board, monkeypatch: pytest.MonkeyPatch, up_ms: int, is_kept: bool, synchronised: bool | None, waits: bool
) -> None:
    """Half a minute after the boot at most, and only where somebody sets it at all."""
    monkeypatch.setattr(clock, "is_kept", lambda: is_kept)
    monkeypatch.setattr(clock, "is_synchronised", lambda: synchronised)
    board.reading = ClockReading(OFFSET_MS + up_ms, up_ms, HERE)
    own = board.made(0)
    assert waits == (own.unsynchronised is not None)


def test_pending_samples_are_moved_slice_by_slice(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also by a buffer that was restarted after the step; what is on its way is moved when it comes back."""
    monkeypatch.setattr(clocks, "SLICE_ROWS", 2)
    own, store = board.made(0), board.store
    store.write([replace(by(n), seq=n, boottime_ms=UP_MS + n) for n in range(5)])
    board.step(3_600_000)
    own.check()
    own = board.made()
    ids = [row.id for row in store.pending.rows(NORMAL, LATEST_MS, 9)]
    assert [2, 1, 0, 0] == [own.rebase(ids[:2]) for _ in range(4)]
    assert [2, 0] == [own.rebase() for _ in range(2)]
    own.rebase_later({own.current})  # there is nothing to move it to
    assert 0 == own.rebase()
    assert [NOW_MS + 3_600_000 + n for n in range(5)] == [
        row.timestamp_ms for row in store.pending.rows(NORMAL, LATEST_MS, 9)
    ]


def test_events_of_earlier_boots_are_forgotten_with_a_step(board: Board) -> None:
    """They keep their times; the list of those that may move does not grow with every boot."""
    own = board.made(0)
    board.store._connection.execute("INSERT INTO event_clocks VALUES (7, 99), (8, ?)", (own.current,))
    board.step(3_600_000)
    own.check()
    assert [(8, own.current)] == board.store._connection.execute("SELECT * FROM event_clocks").fetchall()


@pytest.mark.parametrize(("taken", "kept"), [(49, [None]), (50, [-1])])
def test_a_moved_sample_gives_way_to_those_that_are_there(board: Board, taken: int, kept: list[int | None]) -> None:
    """By up to 50 ms; then it is kept here, and nothing else is."""
    own, store = board.made(0), board.store
    store.write([by(0)])
    (moved,) = store.pending.rows(NORMAL, LATEST_MS, 9)
    board.step(3_600_000)
    store.write([batch(("m", n + 5), seq=n + 2, at_ms=NOW_MS + 3_600_000 + n) for n in range(taken)])
    assert 1 == own.rebase()
    found = store._connection.execute("SELECT timestamp_ms, chunk FROM samples WHERE id = ?", (moved.id,)).fetchall()
    assert [(NOW_MS + (3_600_049 if kept == [None] else 0), *kept)] == found
    assert [(taken,)] == store._connection.execute(
        "SELECT count(*) FROM samples WHERE id != ? AND chunk IS NULL", (moved.id,)
    ).fetchall()


def test_only_what_an_earlier_boot_left_in_1970_is_given_up(board: Board) -> None:
    """Not what has a date, was sent, belongs to no clock, or may still learn its time."""
    board.made(0, boot_id="earlier")
    own = board.made(0)
    cases = [
        (EARLIEST_MS - 1, None, 1), (EARLIEST_MS, None, 1), (EARLIEST_MS - 2, 7, 1),
        (EARLIEST_MS - 3, None, None), (EARLIEST_MS - 4, None, own.current),
    ]  # fmt: skip
    board.store.write([batch(("m", 1), at_ms=at_ms, seq=n) for n, (at_ms, *_) in enumerate(cases)])
    earlier = board.store._connection.execute("SELECT id FROM clocks WHERE boot_id = 'earlier'").get
    for at_ms, chunk, one in cases:
        board.store._connection.execute(
            "UPDATE samples SET chunk = ?, clock = ? WHERE timestamp_ms = ?",
            (chunk, earlier if one == 1 else one, at_ms),
        )
    assert 1 == own.quarantine_undated()
    assert [(EARLIEST_MS - 1,)] == board.store._connection.execute(
        "SELECT timestamp_ms FROM samples WHERE chunk = -1"
    ).fetchall()


@pytest.mark.parametrize(("apart_ms", "reads"), [(20, 1), (21, 5)])
def test_the_clocks_are_read_again_while_they_are_apart(
    monkeypatch: pytest.MonkeyPatch, apart_ms: int, reads: int
) -> None:
    """Five times: on a machine that is never quiet the last one has to do."""
    up_ms, wall_ms = count(0, apart_ms), count(5_000)
    monkeypatch.setattr(clock, "boottime_ms", lambda: next(up_ms))
    monkeypatch.setattr(clock, "wall_ms", lambda: next(wall_ms))
    assert 4_999 + reads == clocks.now().wall_ms
