"""The newest committed value of every series.

Reads: batches of the feed. Fails: a value older than three intervals of its series, or whose process is gone, counts
as absent, so that the page never shows an old value as current.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from common import events
from common.sample import Batch

KEPT = (
    *("srt.", "srtla.", "encoder.", "audio.", "hdmi.", "modem.", "stream.", "alert.", "battery.", "power."),
    *("session.data_bytes",),
    *("cpu.usage_percent", "cpu.temperature", "system.info", "memory.", "filesystem.", "network.total_"),
)
LASTING = frozenset({"stream.state"})  # as it is until it is another one, or its source is gone
SESSION = "session"
MAX_SERIES = 2_000
STALE_INTERVALS = 3
LEAST_STALE_S = 10.0  # a commit may wait for five seconds
FIRST_SPACING_S = 30.0  # until the second reading comes

_Labels = frozenset[tuple[str, str]]


class Value(NamedTuple):
    """The newest sample of a series.

    Attributes:
        value: the reading.
        tags: its labels.
        since_ms: the time of the first of those with this value, Unix milliseconds.
        timestamp_ms: the time of the last.
        heard_s: monotonic time at which that came.
        spacing_s: time between the last two.
        source: whose it is.
    """

    value: float
    tags: Mapping[str, str]
    since_ms: int
    timestamp_ms: int
    heard_s: float
    spacing_s: float
    source: str


class Latest:
    """The newest value of every series; written by the loop, read by any thread.

    Attributes:
        events: how many events were heard.
        heard_s: monotonic time of the last batch, None before the first.
        session: the last text that was said of a session, "" for none.
        link_names: what the configuration calls links, by interface or address.
    """

    def __init__(self) -> None:
        self.events = 0
        self.heard_s: float | None = None
        self.session = ""
        self.link_names: Mapping[str, str] = {}
        self._values: dict[str, dict[_Labels, Value]] = {}
        self._count = 0

    def take(self, batch: Batch, now_s: float) -> None:
        """Keep the values of a batch."""
        self.heard_s = now_s
        for sample in batch.samples:
            if sample.name == events.SAMPLE:
                self.events += 1
            elif isinstance(sample.value, str):
                self.session = sample.value if sample.name == SESSION else self.session
            elif sample.name.startswith(KEPT):
                self._keep(sample.name, sample.value, sample.tags, batch, now_s)

    def rows(self, name: str, now_s: float) -> list[Value]:
        """Return the fresh values of a metric, by their labels."""
        found = [value for value in list(self._values.get(name, {}).values()) if _is_fresh(name, value, now_s)]
        return sorted(found, key=lambda value: sorted(value.tags.items())) if len(found) > 1 else found

    def number(self, name: str, now_s: float, **tags: str) -> float | None:
        """Return the fresh value of a series, or of the first one that has these labels; None where there is none."""
        rows = self.rows(name, now_s)
        return next((row.value for row in rows if all(row.tags.get(tag) == text for tag, text in tags.items())), None)

    def forget(self, now_s: float, gone: Collection[str] = ()) -> None:
        """Drop values that are stale or whose source is gone: a modem that was unplugged does not come back."""
        for name, rows in list(self._values.items()):
            for labels, value in list(rows.items()):
                if value.source in gone or not _is_fresh(name, value, now_s):
                    del rows[labels]
                    self._count -= 1

    def _keep(self, name: str, value: float, tags: Mapping[str, str], batch: Batch, now_s: float) -> None:
        rows, labels = self._values.setdefault(name, {}), frozenset(tags.items())
        old = rows.get(labels)
        if old is None and self._count >= MAX_SERIES:
            return
        since_ms, spacing_s = batch.timestamp_ms, FIRST_SPACING_S
        if old is not None:
            since_ms = old.since_ms if old.value == value else since_ms
            spacing_s = max(0.0, (batch.timestamp_ms - old.timestamp_ms) / 1000)
        self._count += old is None
        rows[labels] = Value(value, tags, since_ms, batch.timestamp_ms, now_s, spacing_s, batch.producer)


def _is_fresh(name: str, value: Value, now_s: float) -> bool:
    limit_s = max(LEAST_STALE_S, STALE_INTERVALS * value.spacing_s)
    return name in LASTING or now_s - value.heard_s <= limit_s
