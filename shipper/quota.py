"""The data quota: how many bytes are left, which priorities have to wait, and the file with the counts.

Reads and writes `budget.json` beside the database (0600; a quota outlives a run directory on a tmpfs). A file that
cannot be read starts from 0 with a warning, one that cannot be written is a warning: neither stops an upload. A
kill -9 costs what was counted in the last 10 s.

A period is a calendar day or month in the device's local time, known by its name (2026-11-22, 2026-11).
Boards boot with a wrong clock and are put right later, so a period's end is not taken from one jump:

- Back to an earlier period, everything counted under later ones still counts: it was sent just now.
- On again to a later one that is known, its own figure is in force again, with what was counted meanwhile.
- On to one that is not known is a new period, from 0; periods after it were an error and are forgotten.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common import atomic_file, remote
from common.events import Event
from common.sample import HIGH, LOW, NORMAL
from shipper.http.meter import Meter
from shipper.report import Report

# Who waits from which share of a budget on. P0 never does.
LADDER = ((0.80, LOW), (0.95, NORMAL), (1.00, HIGH))
NO_QUESTIONS = 0.95  # from here on nothing is asked that is not an upload: audit, clock skew

DAILY, MONTHLY = "daily", "monthly"
FORMATS = {DAILY: "%Y-%m-%d", MONTHLY: "%Y-%m"}

WRITE_S = 10.0  # at most as often: 4 KiB of flash each time
VERSION = 1
MOST_BYTES = 4096

Usage = dict[str, int]


def name_of(period: str, wall_s: float) -> str:
    """Return the name of the day or month that a time lies in."""
    return time.strftime(FORMATS[period], time.localtime(wall_s))


def end_ms(period: str, wall_s: float) -> int:
    """Return when the day or month that a time lies in ends, Unix milliseconds."""
    now = time.localtime(wall_s)
    month, day = (now.tm_mon, now.tm_mday + 1) if period == DAILY else (now.tm_mon + 1, 1)
    return round(1000 * time.mktime((now.tm_year, month, day, 0, 0, 0, 0, 0, -1)))


class Account:
    """What was used in each period of a kind.

    Args:
        usage: bytes by name of the period.
        current: the latest name that was seen; "" for none.
    """

    def __init__(self, usage: Mapping[str, int], current: str = "") -> None:
        self.usage: Usage = dict(usage)
        self.current = current

    @property
    def used(self) -> int:
        """The bytes that count for the current period."""
        return sum(amount for name, amount in self.usage.items() if name >= self.current)

    def add(self, name: str, amount: int) -> None:
        """Count bytes for a period, the current one."""
        if name != self.current:
            self._turn(name)
        self.usage[name] = self.usage.get(name, 0) + amount

    def _turn(self, name: str) -> None:
        before, self.current = self.current, name
        if name < before:
            return
        if name in self.usage and before in self.usage:
            self.usage[name] += self.usage.pop(before)
        older = max((known for known in self.usage if known < name), default=name)
        self.usage = {known: self.usage[known] for known in (older, name) if known in self.usage}


class Quota:
    """The limits, and what they mean for the lanes. Pure: times are arguments.

    Args:
        limits: section remote.budget.
        accounts: by kind of period.
    """

    def __init__(self, limits: remote.Budget, accounts: Mapping[str, Account] | None = None) -> None:
        self.accounts = {period: Account({}) for period in FORMATS} | dict(accounts or {})
        self.configure(limits)

    def configure(self, limits: remote.Budget) -> None:
        """Apply other limits; the bytes used stay counted."""
        self._limits = {DAILY: limits.daily, MONTHLY: limits.monthly}

    @property
    def limited(self) -> bool:
        """Whether there is a limit at all."""
        return any(self._limits.values())

    def spend(self, amount: int, wall_s: float) -> None:
        """Count bytes; 0 checks whether a period has ended."""
        for period, account in self.accounts.items():
            account.add(name_of(period, wall_s), amount)

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

    def usage(self, wall_s: float) -> dict[str, Any]:
        """Return what `/health` shows; `resets_ms` is Unix milliseconds, a `limit` of null is none."""
        shown: dict[str, Any] = {
            period: {"limit": limit or None, "used": self.accounts[period].used, "resets_ms": end_ms(period, wall_s)}
            for period, limit in self._limits.items()
        }
        return {**shown, "holding": list(self.holding)}


class DataQuota:
    """The quota of this process, its file, and the meter that spends it.

    Args:
        limits: section remote.budget.
        file: where it is kept.
        meter: counts what was sent and received.
        report: takes log lines, gauges and events.

    Attributes:
        quota: as of the last `settle`.
    """

    def __init__(self, limits: remote.Budget, file: Path, meter: Meter, report: Report) -> None:
        self._report = report
        self._meter = meter
        self._counted = meter.read()
        self._file = file
        self._saved_s = 0.0
        self._changed = False
        self._holding: list[int] = []
        self.quota = Quota(limits, self._load())
        self.settle()

    def settle(self) -> None:
        """Count the bytes carried since the last call, and report them."""
        wall_s, carried = time.time(), self._meter.read()
        amount, self._counted = carried - self._counted, carried
        self.quota.spend(amount, wall_s)
        self._changed = self._changed or amount > 0
        shown = self._report.status.budget = self.quota.usage(wall_s)
        self._report_holding(shown["holding"])
        for period in FORMATS:
            self._report.instruments.gauge("uploader.budget_used_bytes", shown[period]["used"], period=period)
            self._report.instruments.gauge("uploader.budget_limit_bytes", shown[period]["limit"], period=period)
        if time.monotonic() - self._saved_s >= WRITE_S:
            self.save()

    def _report_holding(self, holding: list[int]) -> None:
        """Report a change in which priorities wait."""
        if holding == self._holding:
            return
        self._holding = holding
        kind = "budget_reached" if holding else "budget_renewed"
        waiting = " and ".join(map(str, holding))
        waits = f"samples of priority {waiting} wait" if holding else "all priorities are uploaded"
        self._report.event(Event(kind, f"{self.quota.share:.0%} of the data budget is used; {waits}"))

    def configure(self, limits: remote.Budget) -> None:
        """Apply other limits."""
        self.quota.configure(limits)
        self.settle()

    def save(self) -> None:
        """Write the file, if there is a limit and something to write."""
        if not (self._changed and self.quota.limited):
            return
        self._saved_s = time.monotonic()
        periods = {
            period: {"current": account.current, "used": account.usage}
            for period, account in self.quota.accounts.items()
        }
        try:
            atomic_file.write(self._file, json.dumps({"version": VERSION, **periods}), durable=True)
            self._changed = False
        except OSError as error:
            self._report.log.throttled_warning("budget", "budget not written", file=str(self._file), error=str(error))

    def _load(self) -> dict[str, Account]:
        try:
            with self._file.open("rb") as stream:
                return _accounts(json.loads(stream.read(MOST_BYTES)))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            self._report.log.warning(
                "the budget's file cannot be used, counting from 0", file=str(self._file), error=str(error)
            )
            return {}


def _accounts(document: Any) -> dict[str, Account]:
    """Return the accounts in a file's text; raise one of the errors caught above for any other text."""
    if document["version"] != VERSION:
        raise ValueError(f"version {document['version']!r}")
    accounts = {}
    for period in FORMATS:
        current, used = document[period]["current"], document[period]["used"]
        if not isinstance(current, str) or not all(type(n) is int and n >= 0 for n in used.values()):
            raise ValueError(f"{period}: {document[period]!r}")
        accounts[period] = Account(used, current)
    return accounts
