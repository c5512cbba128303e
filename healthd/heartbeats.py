"""The last heartbeat of each process, and when it was received.

Reads: the messages of health.ipc, each ``["status", heartbeat]``.
Emits: one `Beat` per process. Ages count from reception by CLOCK_MONOTONIC, so that a step of the wall
    clock makes nothing look old.
Fails: what is not a heartbeat raises `WireError`, to be counted and dropped.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from common import status, wire
from common.status import CollectorStatus, SourceStatus
from healthd import procfs

MAX_PROCESSES = 200  # names are given by the senders; a confused one does not fill the memory
EPOCHS_KEPT = 8  # starts of one name told apart, should two processes of it take turns
STALE_INTERVALS = 3
ENDS_S = 40.0  # from the goodbye to the end: supervisord gives the buffer 30 s; a busy machine takes its time too

COLLECTED = "last_collection_ms"

RUNNING, STOPPING = wire.STATES


class Histogram(NamedTuple):
    """A histogram's value; `counts` are cumulative and have one more element than `bounds`, for +Inf."""

    bounds: Sequence[float]
    counts: Sequence[float]
    total: float


class Reading(NamedTuple):
    """The last reading of one instrument of a process; only a histogram's value is a `Histogram`."""

    kind: str
    name: str
    tags: Mapping[str, str]
    value: float | Histogram


@dataclass(frozen=True)
class Beat:
    """The latest heartbeat of a process.

    Attributes:
        heartbeat: its content.
        received_s: when it came; this and all times here are CLOCK_MONOTONIC of this process.
        started_s: when the process began.
        epochs: its starts seen here, the latest last.
        restarts: starts seen beyond the first.
        happened_s: by name of a field ``last_…_ms``, when that was; of a source's, after its name and a dot.
        sources: of a collector, the status of each of its sources by name.
    """

    heartbeat: wire.Heartbeat
    received_s: float
    started_s: float
    epochs: tuple[str, ...]
    restarts: int
    happened_s: Mapping[str, float]
    sources: Mapping[str, SourceStatus]

    def is_stale(self, now_s: float) -> bool:
        """Tell whether the next heartbeat should have come long ago; after a goodbye, whether it should have ended."""
        if self.heartbeat.state == STOPPING:
            return now_s - self.received_s > ENDS_S
        interval_s = self.heartbeat.interval_s
        return now_s - self.received_s > max(STALE_INTERVALS * interval_s, self.heartbeat.quiet_s + interval_s)

    @property
    def kind(self) -> str:
        """The kind that the process reports: collector, buffer, shipper or healthd; "" if it reports none."""
        kind = self.heartbeat.status.get("kind")
        return kind if isinstance(kind, str) else ""

    @property
    def error(self) -> str | None:
        """The last error, None after the same work has succeeded."""
        return None if self.heartbeat.error is None else str(self.heartbeat.error.get("error"))


class Heartbeats:
    """The latest heartbeat of each process.

    Attributes:
        beats: by process.
    """

    def __init__(self) -> None:
        self.beats: dict[str, Beat] = {}

    def accept(self, frames: Sequence[bytes], now_s: float) -> None:
        """Take a message of health.ipc.

        Raises:
            WireError: it is not a heartbeat.
        """
        if len(frames) != 2 or frames[0] != wire.STATUS_TOPIC:
            raise wire.WireError("frames", f"{len(frames)} frames")
        heartbeat = wire.decode_heartbeat(frames[1])
        if not all(isinstance(name, str) for name in heartbeat.status):
            raise wire.WireError("shape", "status")
        if heartbeat.process not in self.beats and len(self.beats) >= MAX_PROCESSES:
            raise wire.WireError("range", f"more than {MAX_PROCESSES} processes")
        self.beats[heartbeat.process] = _beat(heartbeat, self.beats.get(heartbeat.process), now_s)


def readings(beat: Beat) -> Iterator[Reading]:
    """Yield the instruments in a heartbeat; a malformed one is skipped, the others are kept."""
    for raw in beat.heartbeat.readings:
        reading = _reading(raw)
        if reading is not None:
            yield reading


def _beat(heartbeat: wire.Heartbeat, old: Beat | None, now_s: float) -> Beat:
    same_start = old is not None and old.heartbeat.epoch == heartbeat.epoch
    epochs = old.epochs if old else ()
    restarts = old.restarts if old else 0
    if heartbeat.epoch not in epochs:
        restarts += bool(epochs)
        epochs = (*epochs, heartbeat.epoch)[-EPOCHS_KEPT:]
    started_s = old.started_s if old and same_start else now_s - _age_s(heartbeat)
    sources = status.read(CollectorStatus, heartbeat.status).sources
    return Beat(heartbeat, now_s, started_s, epochs, restarts, _happened_s(heartbeat, sources, old, now_s), sources)


def _age_s(heartbeat: wire.Heartbeat) -> float:
    """Return how long a process has been running: by the kernel, or else by its own wall clock."""
    used = procfs.usage(heartbeat.pid)
    return used.age_s if used else max(0, heartbeat.timestamp_ms - heartbeat.started_ms) / 1000


def _times(heartbeat: wire.Heartbeat, sources: Mapping[str, SourceStatus]) -> dict[str, object]:
    """Return the fields ``last_…_ms`` of a heartbeat and of its sources."""
    own = {
        field: value for field, value in heartbeat.status.items() if field.startswith("last_") and field.endswith("_ms")
    }
    return {**own, **{f"{name}.{COLLECTED}": source.last_collection_ms for name, source in sources.items()}}


def _happened_s(
    heartbeat: wire.Heartbeat, sources: Mapping[str, SourceStatus], old: Beat | None, now_s: float
) -> dict[str, float]:
    """Date the fields ``last_…_ms``.

    One that has not changed keeps its date. One that changed between two heartbeats of a start happened
    between them, whatever the wall clock says.
    """
    dates = {}
    before = _times(old.heartbeat, old.sources) if old is not None else {}
    for field, raw in _times(heartbeat, sources).items():
        value = _number(raw)
        if value is None:
            continue
        if old is not None and field in old.happened_s and before.get(field) == value:
            dates[field] = old.happened_s[field]
            continue
        age_s = max(0.0, (heartbeat.timestamp_ms - value) / 1000)
        if old is not None and old.heartbeat.epoch == heartbeat.epoch:
            age_s = min(age_s, now_s - old.received_s)
        dates[field] = now_s - age_s
    return dates


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return value


def _reading(raw: Any) -> Reading | None:
    if not isinstance(raw, list) or len(raw) != 4:
        return None
    kind, name, tags, value = raw
    if not isinstance(kind, str) or not isinstance(name, str) or not name or not isinstance(tags, dict):
        return None
    if not all(isinstance(label, str) and isinstance(text, str) for label, text in tags.items()):
        return None
    known = _histogram(value) if kind == "histogram" else _number(value)
    return None if known is None else Reading(kind, name, tags, known)


def _histogram(value: Any) -> Histogram | None:
    if not isinstance(value, list) or len(value) != 3:
        return None
    bounds, counts, total = value
    if not isinstance(bounds, list) or not isinstance(counts, list) or len(counts) != len(bounds) + 1:
        return None
    if any(_number(number) is None for number in (*bounds, *counts, total)):
        return None
    return Histogram(bounds, counts, total)
