"""What is deleted by age waits for a clock that can be relied on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from buffer.settled_clock import AHEAD_MS, SETTLE_S, UNKNOWN_SETTLE_S, SettledClock
from buffer.storage.clocks import ClockReading
from common import clock

YEAR_MS = 365 * 86_400_000
NEWEST_MS = 1_760_000_000_000


class Board:
    """A board whose clocks a test turns."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, newest_ms: int | None = NEWEST_MS) -> None:
        self.now = ClockReading(NEWEST_MS + 60_000, 5_000, "boot")
        self.synchronised: bool | None = False
        self._passed_s = 0.0
        monkeypatch.setattr("buffer.settled_clock.time.monotonic", lambda: self._passed_s)
        monkeypatch.setattr(clock, "is_synchronised", lambda: self.synchronised)
        self.clock = SettledClock(newest_ms, lambda: self.now)

    def wait(self, seconds: float) -> bool:
        """Let time pass; tell whether the clock is settled then."""
        passed_ms = int(1000 * seconds)
        self._passed_s += seconds
        wall_ms, boottime_ms = self.now.wall_ms + passed_ms, self.now.boottime_ms + passed_ms
        self.now = replace(self.now, wall_ms=wall_ms, boottime_ms=boottime_ms)
        return self.clock.is_settled()

    def step(self, by_ms: int) -> None:
        """Set the wall clock."""
        self.now = replace(self.now, wall_ms=self.now.wall_ms + by_ms)


def test_a_plausible_clock_settles_in_five_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    """And stays so without a step."""
    board = Board(monkeypatch)
    assert [False, True, True] == [board.wait(SETTLE_S - 1), board.wait(1), board.wait(86_400)]


@pytest.mark.parametrize("by_ms", [YEAR_MS, -YEAR_MS, 3_000])
def test_a_step_begins_the_wait_again(monkeypatch: pytest.MonkeyPatch, by_ms: int) -> None:
    """A year ahead for four seconds, and back: nothing is settled at any time in between, nor soon afterwards."""
    board = Board(monkeypatch)
    board.wait(SETTLE_S)
    board.step(by_ms)
    assert [False] * 4 == [board.wait(1) for _ in range(4)]
    board.step(-by_ms)
    assert [False, False, True] == [board.wait(0), board.wait(SETTLE_S - 1), board.wait(1)]


def test_a_clock_far_ahead_of_the_samples_waits_for_somebody_who_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until it is synchronised, or until a day has passed: a board without a network has no other clock."""
    board = Board(monkeypatch)
    board.step(AHEAD_MS + 120_000)
    board.wait(0)
    assert not board.wait(SETTLE_S)
    board.synchronised = True
    assert board.wait(1)
    board.synchronised = None
    assert not board.wait(1)
    assert board.wait(UNKNOWN_SETTLE_S)


def test_without_samples_only_synchronisation_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is nothing to compare with, and nothing to delete."""
    board = Board(monkeypatch, None)
    assert not board.wait(SETTLE_S)
    board.synchronised = True
    assert board.wait(1)
