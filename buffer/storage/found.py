"""Rows found in a damaged file, by table; ids are those of that file."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

from buffer.storage.fate import Fate


class Identity(NamedTuple):
    """What a series is: the columns that its key is made of."""

    name: str
    device_id: str
    tags: str
    is_text: bool


class FoundSample(NamedTuple):
    """A row of `samples`."""

    id: int
    timestamp_ms: int
    series: int
    value: float | str
    session: int | None
    clock: int | None
    priority: int
    fate: Fate


class FoundEntry(NamedTuple):
    """An entry of the unique index of `samples`: there was such a row, whether it can be read or not."""

    timestamp_ms: int
    series: int
    id: int


class FoundSeries(NamedTuple):
    """A row of `series` whose key proves it."""

    id: int
    identity: Identity


class FoundCheckpoint(NamedTuple):
    """A row of `upload_checkpoints`, without the ids of its samples: they are others now."""

    id: int
    batch_id: str
    chunk_index: int
    first_ms: int | None
    last_ms: int | None
    upload_ms: int | None
    samples: int | None


class FoundSession(NamedTuple):
    """A row of `sessions`."""

    rowid: int
    columns: tuple[Any, ...]


class FoundClock(NamedTuple):
    """A row of `clocks`."""

    id: int
    boot_id: str
    offset_ms: int


class FoundEvent(NamedTuple):
    """A row of `events`."""

    timestamp_ms: int
    kind: str
    severity: str
    source: str
    text: str
    session: int | None


class FoundAggregate(NamedTuple):
    """A row of `aggregates`."""

    width_ms: int
    start_ms: int
    series: int
    numbers: tuple[Any, ...]  # min, max, avg, last, last_ms, count


Found: TypeAlias = (
    FoundSample | FoundEntry | FoundSeries | FoundCheckpoint | FoundSession | FoundClock | FoundEvent | FoundAggregate
)
