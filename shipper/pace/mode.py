"""How much is asked of the uplink: realtime, degraded or offline. Pure: the monotonic time is an argument.

Realtime sends everything. Degraded sends P0 and P1, P1 seldom and in larger chunks; now and then, and as
soon as the backoff allows after a failure, one chunk of whatever else is fresh goes as a probe, because a
box without P0 and P1 would never find out that the uplink is well again. Offline is known to be without
server: each backoff ends with one probe.

All times are shares of `remote.upload_interval`, so that who uploads more often also decides sooner.
"""

from __future__ import annotations

from collections import deque
from statistics import median
from typing import NamedTuple

from common.sample import CRITICAL, HIGH, PRIORITIES

REALTIME, DEGRADED, OFFLINE = "realtime", "degraded", "offline"
AUTO = "auto"

FAILURES = 3  # in a row: one is a cell change, two are bad luck
GOOD = 3  # uploads in a row that show a way back; as many as lead away
DURATIONS = 5  # uploads the median is of: two slow ones among five are no reason
# An upload takes 0.1-1 s on LTE. Slow is 5 s at the default interval of 30 s, and the time that the body
# itself takes at 8 KiB/s (the EDGE of a crowded field): a large chunk is no reason to send less.
SLOW_INTERVALS = 1 / 6
SLOW_LEAST_S = 0.5  # a busy server of its own may take as long
SLOW_BYTES_PER_S = 8192
GOOD_SHARE = 0.5  # of what is slow: between the two is neither
OFFLINE_INTERVALS = 10  # without a success: 5 min
HIGH_INTERVALS = 2, 10  # P1 every 60 s at first and every 300 s at worst, as required
WORSE = 2  # growth of that with each bad upload
NEXT_PROBE_INTERVALS = 1 / 3  # after a good one: three good uploads take 20 s


class Change(NamedTuple):
    """A mode was left for another."""

    old: str
    new: str
    why: str


class Mode:
    """The mode in force.

    Args:
        wanted: remote.mode; what is not auto stays.
        upload_interval_s: what all times are relative to.
        now_s: monotonic.

    Attributes:
        name: the mode in force.
        fixed: it does not move by itself.
    """

    def __init__(self, wanted: str, upload_interval_s: float, now_s: float) -> None:
        self.fixed = wanted != AUTO
        self.name = wanted if self.fixed else REALTIME
        self._interval_s = upload_interval_s
        self._succeeded_s = self._entered_s = self._probe_s = now_s
        self._high_intervals = self._probe_intervals = HIGH_INTERVALS[0]
        self._failures = self._good = 0
        self._slowness: deque[float] = deque(maxlen=DURATIONS)

    def succeeded(self, now_s: float, duration_s: float, body_bytes: int) -> Change | None:
        """Note an upload the server took; return the change it brings."""
        slowness = duration_s / self._slow_s(body_bytes)
        self._slowness.append(slowness)
        self._succeeded_s = now_s
        self._failures = 0
        self._good = self._good + 1 if slowness < GOOD_SHARE else 0
        if self.fixed:
            return None
        if self.name == OFFLINE:
            return self._move(DEGRADED, "an upload succeeded", now_s)
        if self.name == DEGRADED:
            return self._assess(slowness, now_s)
        if len(self._slowness) == DURATIONS and median(self._slowness) > 1:
            return self._move(DEGRADED, f"the median upload takes {median(self._slowness):.1f} times too long", now_s)
        return None

    def failed(self, now_s: float, reason: str) -> Change | None:
        """Note an upload that failed; return the change it brings."""
        self._failures += 1
        self._good = 0
        self._probe_s = now_s
        if self.fixed:
            return None
        if self.name == REALTIME and self._failures >= FAILURES:
            return self._move(DEGRADED, f"{self._failures} failures in a row, {reason}", now_s)
        if self.name == DEGRADED:
            self._worse()
            if now_s - self._succeeded_s >= OFFLINE_INTERVALS * self._interval_s:
                return self._move(OFFLINE, f"no upload for {now_s - self._succeeded_s:.0f} s, {reason}", now_s)
        return None

    def lanes(self, now_s: float) -> tuple[int, ...]:
        """Return the priorities of which something may go now."""
        if self.name == DEGRADED:
            return PRIORITIES if self._probes and now_s >= self._probe_s else (CRITICAL, HIGH)
        return PRIORITIES if self.sends else ()

    @property
    def sends(self) -> bool:
        """Whether anything is ever sent in this mode."""
        return not (self.fixed and self.name == OFFLINE)

    @property
    def next_s(self) -> float | None:
        """When `lanes` returns more than now; None while it will not by itself."""
        return self._probe_s if self._probes else None

    def probe_s(self, now_s: float) -> float | None:
        """Return when to look for something to probe with, however long its lane's interval; None: not at all."""
        return max(self._probe_s, now_s + NEXT_PROBE_INTERVALS * self._interval_s) if self._probes else None

    @property
    def kept(self) -> frozenset[int]:
        """The priorities that wait because the operator wants it so."""
        if not self.fixed:
            return frozenset()
        return frozenset(PRIORITIES).difference(self.lanes(0.0))

    @property
    def high_interval_s(self) -> float:
        """How long P1 waits for company at least."""
        return self._high_intervals * self._interval_s if self.name == DEGRADED else 0.0

    @property
    def sends_large(self) -> bool:
        """Whether chunks are large from the first one: few requests, as long as they arrive."""
        return self.name == DEGRADED and not self._failures

    @property
    def _probes(self) -> bool:
        return self.name == DEGRADED and not self.fixed

    def _assess(self, slowness: float, now_s: float) -> Change | None:
        """In degraded, look whether an upload shows the way back."""
        if slowness < GOOD_SHARE:
            self._high_intervals = self._probe_intervals = HIGH_INTERVALS[0]
            self._probe_s = now_s + NEXT_PROBE_INTERVALS * self._interval_s
        else:
            self._probe_s = now_s + self._probe_intervals * self._interval_s
        if slowness > 1:
            self._worse()
            self._probe_intervals = min(WORSE * self._probe_intervals, HIGH_INTERVALS[1])
        if self._good >= GOOD and now_s - self._entered_s >= self._interval_s:
            return self._move(REALTIME, f"{self._good} good uploads in a row", now_s)
        return None

    def _worse(self) -> None:
        self._high_intervals = min(WORSE * self._high_intervals, HIGH_INTERVALS[1])

    def _slow_s(self, body_bytes: int) -> float:
        return max(SLOW_INTERVALS * self._interval_s, SLOW_LEAST_S) + body_bytes / SLOW_BYTES_PER_S

    def _move(self, new: str, why: str, now_s: float) -> Change:
        change = Change(self.name, new, why)
        if new == DEGRADED:
            self._high_intervals = self._probe_intervals = HIGH_INTERVALS[0]
            self._probe_s = now_s
        self.name, self._entered_s, self._good = new, now_s, 0
        self._slowness.clear()
        return change
