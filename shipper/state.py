"""The state of the uplink to one server, and what may be sent in it. Pure: times are arguments, monotonic.

Modes: realtime sends everything. Degraded sends P0 and P1, P1 rarely and in large chunks, and sometimes a probe with
other fresh samples, because a device without P0 and P1 samples would never notice that the uplink recovered. Offline
sends one probe after each wait. `policy.py` changes the mode.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from common.remote import Remote
from common.sample import CRITICAL, HIGH, PRIORITIES
from shipper.chunk_size import MAX_CHUNK_SAMPLES, ChunkSize, Uplink

REALTIME, DEGRADED, OFFLINE, AUTO = "realtime", "degraded", "offline", "auto"

STRETCH_INTERVALS = 2, 10  # P1 and probes every 60 s at first and every 300 s at worst, as required
NEXT_PROBE_INTERVALS = 1 / 3  # after a good one: three good uploads take 20 s


@dataclass(frozen=True)
class State:
    """What was learned of one server.

    Attributes:
        remote: section remote.
        mode: in force.
        fresh, old: size of the next request with fresh samples, and with those of a backlog.
        succeeded_s: the last success, or the start.
        entered_s, probe_s: when the mode was entered, and when the next probe may go.
        uplink: how fast uploads went.
        failures: in a row.
        wait_until_s: nothing is to be asked of the server before.
        old_until_s: no request with old samples before.
        failing_since_s: the first failure of those in a row.
        away: `server_away` was reported.
        good: good uploads in a row.
        slowness: of the last uploads, 1 is slow.
        high_intervals, probe_intervals: how far P1 and probes are stretched in degraded.
    """

    remote: Remote
    mode: str
    fresh: ChunkSize
    old: ChunkSize
    succeeded_s: float
    entered_s: float
    probe_s: float
    uplink: Uplink = field(default_factory=Uplink)
    failures: int = 0
    wait_until_s: float = 0.0
    old_until_s: float = 0.0
    failing_since_s: float | None = None
    away: bool = False
    good: int = 0
    slowness: tuple[float, ...] = ()
    high_intervals: float = STRETCH_INTERVALS[0]
    probe_intervals: float = STRETCH_INTERVALS[0]

    @property
    def is_fixed(self) -> bool:
        """Whether the operator has set the mode."""
        return self.remote.mode != AUTO

    @property
    def sends(self) -> bool:
        """Whether anything is ever sent in this mode."""
        return not (self.is_fixed and self.mode == OFFLINE)

    @property
    def held(self) -> frozenset[int]:
        """The priorities that wait because the configuration says so."""
        return frozenset(PRIORITIES).difference(self.lanes(0.0)) if self.is_fixed else frozenset()

    @property
    def next_probe_s(self) -> float | None:
        """When `lanes` returns more than now, None while it will not by itself."""
        return self.probe_s if self.mode == DEGRADED and not self.is_fixed else None

    @property
    def high_interval_s(self) -> float:
        """Shortest upload interval of P1 in degraded mode, else 0."""
        return self.high_intervals * self.remote.upload_interval_s if self.mode == DEGRADED else 0.0

    def lanes(self, now_s: float) -> tuple[int, ...]:
        """Return the priorities of which something may go now."""
        if self.mode == DEGRADED:
            return PRIORITIES if self.next_probe_s is not None and now_s >= self.probe_s else (CRITICAL, HIGH)
        return PRIORITIES if self.sends else ()

    def look_for_probe_s(self, now_s: float) -> float | None:
        """Return when to look for something to probe with, however long its lane's interval; None: not at all."""
        if self.next_probe_s is None:
            return None
        return max(self.probe_s, now_s + NEXT_PROBE_INTERVALS * self.remote.upload_interval_s)

    def chunk(self, *, old: bool) -> int:
        """Return how many samples the next request may hold."""
        if old:
            return self.uplink.fitting(self.old.samples, self.remote)
        large = self.mode == DEGRADED and not self.failures  # few requests, as long as they arrive
        return max(self.fresh.samples, self.remote.batch_size) if large else self.fresh.samples

    def lease(self, *, old: bool) -> int:
        """Return how many samples to lease at once."""
        return max(min(self.remote.batch_size, MAX_CHUNK_SAMPLES), (self.old if old else self.fresh).samples)


def initial(remote: Remote, now_s: float) -> State:
    """Return the state of a server that was never asked."""
    size = ChunkSize(min(remote.chunk_size, MAX_CHUNK_SAMPLES))
    mode = REALTIME if remote.mode == AUTO else remote.mode
    return State(remote, mode, size, size, succeeded_s=now_s, entered_s=now_s, probe_s=now_s)
