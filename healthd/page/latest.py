"""The newest value of every series, as the buffer committed it.

Reads: batches of the feed. Fails: what is older than three intervals of its producer counts as absent, so that
a picture of now never holds yesterday's numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from common import events
from common.sample import Batch

KEPT = (
    *("srt.", "srtla.", "encoder.", "audio.", "hdmi.", "modem.", "stream.", "alert.", "battery.", "power."),
    *("cpu.usage_percent", "cpu.temperature", "system.info", "memory.", "filesystem.", "network.total_"),
)
MAX_SERIES = 2_000
STALE_INTERVALS = 3
LEAST_STALE_S = 10.0  # a commit may wait for five seconds

_Key = tuple[str, frozenset[tuple[str, str]]]


class Value(NamedTuple):
    """A sample as it was heard.

    Attributes:
        value: the reading.
        tags: its labels.
        since_ms: the time of the first of those with this value, Unix milliseconds.
        heard_s: monotonic time of the last.
        producer: whose it is.
    """

    value: float
    tags: Mapping[str, str]
    since_ms: int
    heard_s: float
    producer: str


class Latest:
    """What was heard last; written by the loop, read by any thread.

    Attributes:
        intervals_s: how often a producer collects, by name.
        events: how many events were heard.
        heard_s: monotonic time of the last batch, None before the first.
    """

    def __init__(self) -> None:
        self.intervals_s: Mapping[str, float] = {}
        self.events = 0
        self.heard_s: float | None = None
        self._values: dict[_Key, Value] = {}

    def take(self, batch: Batch, now_s: float) -> None:
        """Keep the values of a batch."""
        self.heard_s = now_s
        for sample in batch.samples:
            if sample.name == events.SAMPLE:
                self.events += 1
            elif sample.name.startswith(KEPT) and not isinstance(sample.value, str):
                key = (sample.name, frozenset(sample.tags.items()))
                old = self._values.get(key)
                same = old is not None and old.value == sample.value
                since_ms = old.since_ms if old is not None and same else batch.timestamp_ms
                if old is not None or len(self._values) < MAX_SERIES:
                    self._values[key] = Value(sample.value, sample.tags, since_ms, now_s, batch.producer)

    def rows(self, name: str, now_s: float) -> list[Value]:
        """Return the fresh values of a metric, by their labels."""
        found = [value for (of, _), value in list(self._values.items()) if of == name and self._is_fresh(value, now_s)]
        return sorted(found, key=lambda value: sorted(value.tags.items()))

    def number(self, name: str, now_s: float, **tags: str) -> float | None:
        """Return the fresh value of a series, or of the first one that has these labels; None where there is none."""
        rows = self.rows(name, now_s)
        return next((row.value for row in rows if all(row.tags.get(tag) == text for tag, text in tags.items())), None)

    def forget(self, now_s: float) -> None:
        """Drop what is stale: a modem that was pulled does not come back with its labels."""
        for key, value in list(self._values.items()):
            if not self._is_fresh(value, now_s):
                del self._values[key]

    def _is_fresh(self, value: Value, now_s: float) -> bool:
        limit_s = max(LEAST_STALE_S, STALE_INTERVALS * self.intervals_s.get(value.producer, LEAST_STALE_S))
        return now_s - value.heard_s <= limit_s
