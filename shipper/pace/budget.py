"""How much of the data plan is left, and who has to wait for more. Pure: times and dates are arguments.

A period is a calendar day or month in the device's local time, known by its name (2026-11-22, 2026-11).
Boards boot with a wrong clock and are put right later, so a period's end is not taken from one jump:

- Back to an earlier period, everything booked under later ones still counts: it was sent just now.
- On again to a later one that is known, its own figure is in force again, with what was booked meanwhile.
- On to one that is not known is a new period, from 0; periods after it were an error and are forgotten.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from common import remote
from common.sample import HIGH, LOW, NORMAL

# Who waits from which share of a budget on. P0 never does.
LADDER = ((0.80, LOW), (0.95, NORMAL), (1.00, HIGH))
NO_QUESTIONS = 0.95  # from here on nothing is asked that is not an upload: audit, clock skew

DAILY, MONTHLY = "daily", "monthly"
FORMATS = {DAILY: "%Y-%m-%d", MONTHLY: "%Y-%m"}

Book = dict[str, int]


def name_of(period: str, wall_s: float) -> str:
    """Return the name of the day or month that a time lies in."""
    return time.strftime(FORMATS[period], time.localtime(wall_s))


def end_ms(period: str, wall_s: float) -> int:
    """Return when the day or month that a time lies in ends, Unix milliseconds."""
    now = time.localtime(wall_s)
    month, day = (now.tm_mon, now.tm_mday + 1) if period == DAILY else (now.tm_mon + 1, 1)
    return round(1000 * time.mktime((now.tm_year, month, day, 0, 0, 0, 0, 0, -1)))


class Account:
    """What was booked in each period of a kind.

    Args:
        book: bytes by name of the period.
        current: the latest name that was seen; "" for none.
    """

    def __init__(self, book: Mapping[str, int], current: str = "") -> None:
        self.book: Book = dict(book)
        self.current = current

    @property
    def used(self) -> int:
        """What counts for the current period."""
        return sum(amount for name, amount in self.book.items() if name >= self.current)

    def book_bytes(self, name: str, amount: int) -> None:
        """Book bytes under the period that it is now."""
        if name != self.current:
            self._turn(name)
        self.book[name] = self.book.get(name, 0) + amount

    def _turn(self, name: str) -> None:
        before, self.current = self.current, name
        if name < before:
            return
        if name in self.book and before in self.book:
            self.book[name] += self.book.pop(before)
        older = max((known for known in self.book if known < name), default=name)
        self.book = {known: self.book[known] for known in (older, name) if known in self.book}


class Budget:
    """The limits, and what they mean for the lanes.

    Args:
        limits: section remote.budget.
        accounts: by kind of period.
    """

    def __init__(self, limits: remote.Budget, accounts: Mapping[str, Account] | None = None) -> None:
        self.accounts = {period: Account({}) for period in FORMATS} | dict(accounts or {})
        self.configure(limits)

    def configure(self, limits: remote.Budget) -> None:
        """Take over other limits; what was used stays used."""
        self._limits = {DAILY: limits.daily, MONTHLY: limits.monthly}

    @property
    def limited(self) -> bool:
        """Whether there is a limit at all."""
        return any(self._limits.values())

    def spend(self, amount: int, wall_s: float) -> None:
        """Book bytes; 0 looks whether a period has ended."""
        for period, account in self.accounts.items():
            account.book_bytes(name_of(period, wall_s), amount)

    @property
    def share(self) -> float:
        """The used share of the budget that is used most, 0 without one."""
        return max((self.accounts[period].used / limit for period, limit in self._limits.items() if limit), default=0.0)

    @property
    def holding(self) -> tuple[int, ...]:
        """The priorities that wait for the period's end."""
        return tuple(sorted(priority for share, priority in LADDER if self.share >= share))

    @property
    def allows_questions(self) -> bool:
        """Whether there is enough left to ask the server something."""
        return self.share < NO_QUESTIONS

    def facts(self, wall_s: float) -> dict[str, Any]:
        """Return what `/health` shows; `resets_ms` is Unix milliseconds, a `limit` of null is none."""
        shown: dict[str, Any] = {
            period: {"limit": limit or None, "used": self.accounts[period].used, "resets_ms": end_ms(period, wall_s)}
            for period, limit in self._limits.items()
        }
        return {**shown, "holding": list(self.holding)}
