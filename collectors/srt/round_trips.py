"""The round trips of one bonded link over the last seconds. Pure."""

from __future__ import annotations

from collections import deque
from statistics import median

RTT_S = 2.0  # a round trip is the median over so long, or else the last one that is not older than
RTT_KEPT_S = 10.0
FIRST_S = 0.3  # before there was one


class RoundTrips:
    """The last of them; each with the time at which its answer came."""

    def __init__(self) -> None:
        self._trips: deque[tuple[float, float]] = deque(maxlen=512)

    def add(self, at_s: float, lasted_s: float) -> None:
        """Take in one."""
        self._trips.append((at_s, lasted_s))

    def median_ms(self, now_s: float) -> float | None:
        """Return the median of the last 2 s, or else the last one of 10 s; None where there was none."""
        fresh = self._fresh(now_s)
        if fresh:
            return round(median(fresh) * 1000, 2)
        trips = self._trips
        return round(trips[-1][1] * 1000, 2) if trips and now_s - trips[-1][0] <= RTT_KEPT_S else None

    def last_ms(self, now_s: float) -> float | None:
        """Return the newest, None where it is older than 2 s."""
        return self._trips[-1][1] * 1000 if self._trips and now_s - self._trips[-1][0] <= RTT_S else None

    @property
    def least_ms(self) -> float | None:
        """The shortest of the last 512."""
        return min(lasted_s for _, lasted_s in self._trips) * 1000 if self._trips else None

    def slowest_s(self, now_s: float) -> float:
        """Return the longest of the last 2 s."""
        return max(self._fresh(now_s), default=FIRST_S)

    def _fresh(self, now_s: float) -> list[float]:
        """Return those of the last 2 s, the newest first."""
        fresh = []
        for at_s, lasted_s in reversed(self._trips):
            if now_s - at_s > RTT_S:
                break
            fresh.append(lasted_s)
        return fresh
