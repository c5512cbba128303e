"""What waits in the buffer, fresh or old, and who waits for it.

Asks the buffer every few seconds; what a mode, a budget or the operator holds back is not late.
"""

from __future__ import annotations

import time

from common import clock
from common.sample import HIGH, PRIORITIES
from common.service import Service
from shipper.drain import Drain, Stats
from shipper.pace.backfill import fresh_s
from shipper.pace.backoff import Backoff
from shipper.pace.mode import Mode
from shipper.pace.purse import Purse
from shipper.report import Report

NEVER_S = 1e9  # the interval of a lane that nobody waits for


class Backlog:
    """The buffer's backlog as last seen.

    Args:
        process: whose configuration is used.
        drain, report, purse: of the same process.

    Attributes:
        old: priorities that may have old samples.
    """

    def __init__(self, process: Service, drain: Drain, report: Report, purse: Purse) -> None:
        self._process = process
        self._drain, self._report, self._purse = drain, report, purse
        self.old = set(PRIORITIES)

    def look(self, mode: Mode, backoff: Backoff) -> None:
        """Ask the buffer and report.

        Raises:
            BufferAwayError, BufferBusyError: as the drain does.
        """
        remote = self._process.config.settings.remote
        waiting = mode.kept.union(self._purse.budget.holding)
        stats = self._drain.stats([NEVER_S if p in waiting else remote.priority.interval_s(p) for p in PRIORITIES])
        horizons_ms = [self.horizon_ms(priority, mode) for priority in PRIORITIES]
        self.old = {p for p in PRIORITIES if (oldest_ms := stats.oldest_ms[p]) and oldest_ms < horizons_ms[p]}
        if not remote.backfill.enabled and any(stats.due):
            stats = self._without_old(stats)
        self._report.backlog(stats, current=not any(stats.due) and time.monotonic() >= backoff.until_s)

    def horizon_ms(self, priority: int, mode: Mode) -> int:
        """Return the time from which on samples of a priority are fresh."""
        return clock.wall_ms() - round(1000 * self._fresh_s(priority, mode.high_interval_s))

    def _fresh_s(self, priority: int, high_least_s: float = 0.0) -> float:
        settings = self._process.config.settings
        least_s = high_least_s if priority == HIGH else 0.0
        return fresh_s(settings.remote, priority, settings.storage.commit_interval_s, least_s)

    def _without_old(self, stats: Stats) -> Stats:
        """Return a backlog that does not count what stays on the device as due."""
        old = self._drain.stats([self._fresh_s(priority) for priority in PRIORITIES]).due
        return stats._replace(due=[max(0, due - gone) for due, gone in zip(stats.due, old, strict=True)])
