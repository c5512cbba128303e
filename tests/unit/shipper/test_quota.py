"""The data plan: who waits, until when, and what a clock that jumps does to it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from common.remote import Budget as Limits
from shipper.quota import DAILY, MONTHLY, Account, Quota, end_ms, name_of

NOON_S = 1_795_003_200.0  # 2026-11-18T12:00Z
DAY_S = 86_400.0


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have local time be UTC."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("expected", "used"),
    [((), 0), ((), 799), ((3,), 800), ((3,), 949), ((2, 3), 950), ((2, 3), 999), ((1, 2, 3), 1000), ((1, 2, 3), 5000)],
)
def test_the_ladder(expected: tuple[int, ...], used: int) -> None:
    """80 % P3, 95 % P2, 100 % all but P0; from 95 % on nothing is asked."""
    budget = Quota(Limits(daily=1000))
    budget.spend(used, NOON_S)
    assert (expected, used < 950) == (budget.holding, budget.allows_questions)


def test_the_tighter_of_two_budgets_holds() -> None:
    """A month's can be used up on any day."""
    budget = Quota(Limits(daily=1000, monthly=3000))
    for day in range(4):
        budget.spend(700, NOON_S + day * DAY_S)
    assert (3,) == budget.holding
    assert budget.share == pytest.approx(2800 / 3000)


def test_without_a_budget_nobody_waits() -> None:
    """What was used is shown all the same."""
    budget = Quota(Limits())
    budget.spend(10**12, NOON_S)
    assert ((), True, False) == (budget.holding, budget.allows_questions, budget.limited)
    assert {"limit": None, "used": 10**12, "resets_ms": 1_795_046_400_000} == budget.usage(NOON_S)[DAILY]


def test_a_new_day_begins_with_nothing_used() -> None:
    """At midnight, local time; the month goes on."""
    budget = Quota(Limits(daily=1000, monthly=10_000))
    budget.spend(1000, NOON_S)
    budget.spend(0, NOON_S + DAY_S / 2)
    status = budget.usage(NOON_S + DAY_S / 2)
    assert (0, 1000, []) == (status[DAILY]["used"], status[MONTHLY]["used"], status["holding"])


@pytest.mark.parametrize(
    ("expected", "period", "at_s"),
    [
        ("2026-11-18", DAILY, NOON_S),
        ("2026-11", MONTHLY, NOON_S),
        ("2026-12", MONTHLY, NOON_S + 13 * DAY_S),
    ],
)
def test_a_period_has_a_name(expected: str, period: str, at_s: float) -> None:
    """Names sort by time."""
    assert expected == name_of(period, at_s)


def test_a_period_has_an_end() -> None:
    """The month after December is January."""
    assert 1_795_046_400_000 == end_ms(DAILY, NOON_S)
    assert "2027-01-01" == name_of(DAILY, end_ms(MONTHLY, NOON_S + 30 * DAY_S) / 1000)


def test_a_local_day_is_local(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokyo is in the next day already."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    assert "2026-11-19" == name_of(DAILY, NOON_S + 4 * 3600)


@pytest.mark.parametrize(
    ("expected", "steps"),
    [
        (30, [("22", 10), ("22", 20)]),
        (5, [("22", 10), ("23", 5)]),
        (15, [("22", 10), ("10", 5)]),  # back: it was sent just now
        (18, [("22", 10), ("10", 5), ("22", 3)]),  # a boot without a clock, then NTP
        (4, [("22", 10), ("10", 5), ("23", 4)]),  # the same over midnight
        (17, [("22", 10), ("99", 7), ("22", 0)]),  # a future that did not come
        (2, [("22", 10), ("99", 7), ("22", 0), ("23", 2)]),  # and does not count for ever
        (0, [("22", 10), ("99", 0)]),
    ],
)
def test_a_clock_that_jumps_resets_and_freezes_nothing(expected: int, steps: list[tuple[str, int]]) -> None:
    """Neither is a budget used twice nor is it used up for ten years."""
    account = Account({})
    for name, amount in steps:
        account.add(name, amount)
    assert expected == account.used


def test_what_is_kept_stays_small() -> None:
    """Two periods at most are remembered."""
    account = Account({})
    for day in range(100, 400):
        account.add(str(day), 1)
    assert ["398", "399"] == sorted(account.usage)
