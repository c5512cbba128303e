"""A time limit on a busy machine."""

from __future__ import annotations

import pytest

from tests import patience
from tests.patience import Patience


def test_the_time_in_which_others_had_to_wait_counts_a_fifth(monkeypatch: pytest.MonkeyPatch) -> None:
    """A minute of 60 s without a free core is 12 s; waiting for the disk at the same time is no second reason."""
    now = {"s": 100.0, "cpu": 5.0, "io": 7.0}
    monkeypatch.setattr("time.monotonic", lambda: now["s"])
    monkeypatch.setattr(patience, "_total_s", lambda path: now[path.name])
    limit = Patience(15)
    now.update(s=160.0, cpu=65.0, io=37.0)
    assert (48.0, False) == (limit.waited_s(), limit.is_over())
    now.update(s=164.0)
    assert limit.is_over()


def test_a_kernel_without_pressure_has_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is added."""
    monkeypatch.setattr(patience, "_pressure_s", lambda: [0.0, 0.0])
    assert 0.0 == Patience(1).waited_s()
    assert Patience(-1).is_over()
