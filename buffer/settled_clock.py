"""Decide whether the wall clock can be trusted for deletion by age.

A board's clock is wrong after boot until NTP answers, and one that is a year ahead for four seconds would age
everything at once. So nothing is deleted by age before the clock has run without a step for five minutes, and is
known to be right: synchronised, or not far ahead of the newest sample of before. Where neither is known, a day
without a step has to do.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from buffer.storage.clocks import STEP_MS, ClockReading, now
from common import clock

SETTLE_S = 300.0
UNKNOWN_SETTLE_S = 86_400.0
AHEAD_MS = 86_400_000  # of the newest sample; the box may have been off for a night


class SettledClock:
    """The wall clock, watched for steps.

    Args:
        newest_ms: timestamp of the newest sample from before this process, None where there is none.
        read: gives the clocks of this instant.
    """

    def __init__(self, newest_ms: int | None, read: Callable[[], ClockReading] = now) -> None:
        self._read = read
        started = read()
        self._offset_ms = started.offset_ms
        self._newest_offset_ms = None if newest_ms is None else newest_ms - started.boottime_ms
        self._since_s = time.monotonic()

    def is_settled(self) -> bool:
        """Return whether the clock can be relied on; a step restarts the wait."""
        found = self._read()
        if abs(found.offset_ms - self._offset_ms) > STEP_MS:
            self._since_s = time.monotonic()
        self._offset_ms = found.offset_ms
        settled_s = time.monotonic() - self._since_s
        if settled_s < SETTLE_S:
            return False
        return self._is_plausible() or settled_s >= UNKNOWN_SETTLE_S or clock.is_synchronised() is True

    def _is_plausible(self) -> bool:
        return self._newest_offset_ms is not None and self._offset_ms - self._newest_offset_ms <= AHEAD_MS
