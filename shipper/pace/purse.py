"""The data budget of this process: fed by the meter, kept in a file, told to `/health`.

Reads and writes `budget.json` beside the database (0600; a budget outlives a run directory on a tmpfs). A
file that cannot be read starts anew with a warning, one that cannot be written is a warning: neither stops
an upload. A kill -9 costs what was booked in the last 10 s.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from common import remote
from common.events import Event
from common.service import Service
from shipper.http.meter import Meter
from shipper.pace.budget import FORMATS, Account, Budget

WRITE_S = 10.0  # at most as often: 4 KiB of flash each time
VERSION = 1
MOST_BYTES = 4096


class Purse:
    """The budget, its file, and the meter that spends it.

    Args:
        process: whose log, facts and instruments are used.
        meter: counts what was spent.

    Attributes:
        budget: as of the last `settle`.
    """

    def __init__(self, process: Service, meter: Meter) -> None:
        self._process = process
        self._meter = meter
        self._booked = meter.read()
        self._file = process.config.settings.storage.path.parent / "budget.json"
        self._saved_s = 0.0
        self._changed = False
        self._holding: list[int] = []
        self.budget = Budget(process.config.settings.remote.budget, self._load())
        self.settle()

    def settle(self) -> None:
        """Book what was carried since the last time, and say so."""
        wall_s, carried = time.time(), self._meter.read()
        amount, self._booked = carried - self._booked, carried
        self.budget.spend(amount, wall_s)
        self._changed = self._changed or amount > 0
        facts = self._process.facts["budget"] = self.budget.facts(wall_s)
        self._tell(facts["holding"])
        for period in FORMATS:
            self._process.instruments.gauge("uploader.budget_used_bytes", facts[period]["used"], period=period)
            self._process.instruments.gauge("uploader.budget_limit_bytes", facts[period]["limit"], period=period)
        if time.monotonic() - self._saved_s >= WRITE_S:
            self.save()

    def _tell(self, holding: list[int]) -> None:
        """Say when other priorities wait than before."""
        if holding == self._holding:
            return
        self._holding = holding
        kind = "budget_reached" if holding else "budget_renewed"
        waits = f"priority {', '.join(map(str, holding))} waits" if holding else "every priority goes"
        self._process.event(Event(kind, f"{self.budget.share:.0%} of the data budget is used; {waits}"))

    def configure(self, limits: remote.Budget) -> None:
        """Take over other limits."""
        self.budget.configure(limits)
        self.settle()

    def save(self) -> None:
        """Write the file, if there is a limit and something to write."""
        if not (self._changed and self.budget.limited):
            return
        self._saved_s = time.monotonic()
        periods = {
            period: {"current": account.current, "used": account.book}
            for period, account in self.budget.accounts.items()
        }
        try:
            _write(self._file, json.dumps({"version": VERSION, **periods}).encode())
            self._changed = False
        except OSError as error:
            self._process.log.throttled_warning("budget", "budget not written", file=str(self._file), error=str(error))

    def _load(self) -> dict[str, Account]:
        try:
            with self._file.open("rb") as stream:
                return _accounts(json.loads(stream.read(MOST_BYTES)))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            self._process.log.warning(
                "the budget's file cannot be used, counting from 0", file=str(self._file), error=str(error)
            )
            return {}


def _accounts(document: Any) -> dict[str, Account]:
    """Return what a file says; any of the errors caught above where it says something else."""
    if document["version"] != VERSION:
        raise ValueError(f"version {document['version']!r}")
    accounts = {}
    for period in FORMATS:
        current, used = document[period]["current"], document[period]["used"]
        if not isinstance(current, str) or not all(type(n) is int and n >= 0 for n in used.values()):
            raise ValueError(f"{period}: {document[period]!r}")
        accounts[period] = Account(used, current)
    return accounts


def _write(file: Path, content: bytes) -> None:
    """Replace a file as a whole; after a power loss it is the old one or the new one."""
    draft = file.with_name(f"{file.name}.new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(descriptor)
    draft.replace(file)
