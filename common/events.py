"""Events, and the rate limit on each kind and subject.

An event is published as a text sample `event` of the highest priority, stored as a row of the table `events`
and counted in `events_total`. Repeated events are limited: six at once, then one a minute that says how many it stands
for. The newest one is never dropped, so the last event of a link always shows its current state.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from common.event_kinds import KINDS
from common.plain_text import plain
from common.sample import Sample

SAMPLE = "event"
BURST = 6
REFILL_S = 60.0
MAX_BUCKETS = 500
MAX_TEXT = 1000  # characters; a kernel line has at most 976


class Event(NamedTuple):
    """Something that happened.

    Attributes:
        kind: a key of `KINDS`.
        text: one sentence with the numbers, for people; no secret in it.
        subject: which one of several, e.g. an interface; "" where there is only one.
        timestamp_ms: when it was, where that is known better than that it is now; Unix milliseconds.
    """

    kind: str
    text: str
    subject: str = ""
    timestamp_ms: int | None = None


def severity(kind: str) -> str:
    """Return info, warning, error or critical."""
    return KINDS[kind].severity


def family(kind: str) -> str:
    """Return the kind that an event of this kind ends, or the kind itself."""
    return KINDS[kind].clears or kind


def sample(event: Event, source: str) -> Sample:
    """Return an event as the sample it travels as: its words in one line that steers no terminal.

    Args:
        event: what happened.
        source: the process that saw it.
    """
    tags = {"kind": event.kind, "severity": severity(event.kind), "source": source}
    if event.subject:
        tags["subject"] = plain(event.subject)
    return Sample(SAMPLE, plain(event.text, MAX_TEXT), tags)


class Timed(NamedTuple):
    """An event and when it was, Unix milliseconds."""

    timestamp_ms: int
    event: Event


@dataclass
class _Bucket:
    tokens: float
    filled_s: float
    held: Timed | None = None
    more: int = 0  # held back besides `held`

    def take(self, now_s: float) -> bool:
        """Use a token if there is one."""
        self.tokens = min(BURST, self.tokens + (now_s - self.filled_s) / REFILL_S)
        self.filled_s = now_s
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True

    def release(self) -> Timed:
        """Return the held event; its text says how many it stands for."""
        assert self.held is not None  # noqa: S101 - who releases has looked
        timestamp_ms, event = self.held
        if self.more:
            event = event._replace(text=f"{event.text} ({self.more} more like this before)")
        self.held, self.more = None, 0
        return Timed(timestamp_ms, event)


class Limiter:
    """Hold back what keeps happening, per family and subject: what comes and goes shares its bucket."""

    def __init__(self) -> None:
        self._buckets: dict[tuple[str, str], _Bucket] = {}

    def offer(self, event: Event, timestamp_ms: int, now_s: float) -> Timed | None:
        """Return the event if the limit allows it now; otherwise hold it in place of one held before."""
        bucket = self._bucket((family(event.kind), event.subject), now_s)
        was_held = bucket.held is not None
        bucket.held, bucket.more = Timed(timestamp_ms, event), bucket.more + was_held
        return bucket.release() if bucket.take(now_s) else None

    def due(self, now_s: float) -> Iterator[Timed]:
        """Yield the held events that the limit allows now."""
        for bucket in self._buckets.values():
            if bucket.held is not None and bucket.take(now_s):
                yield bucket.release()

    def rest(self) -> Iterator[Timed]:
        """Yield all held events, because the process ends."""
        for bucket in self._buckets.values():
            if bucket.held is not None:
                yield bucket.release()

    def _bucket(self, key: tuple[str, str], now_s: float) -> _Bucket:
        if key not in self._buckets:
            if len(self._buckets) >= MAX_BUCKETS:
                self._buckets = {k: b for k, b in self._buckets.items() if b.held is not None}
            self._buckets[key] = _Bucket(BURST, now_s)
        return self._buckets[key]
