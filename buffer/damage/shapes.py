"""What a record was, by its shape: a row of which table, or nothing of ours.

A damaged file does not say which page belongs to which table, but no two of our tables look alike. What
does not hold together (a priority of 7, a timestamp in the year 1812, a series whose key is not the hash
of its name) is damage and is left out.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple, TypeAlias

from buffer import older
from buffer.damage.pages import Record
from buffer.damage.proof import Reading
from buffer.older import Old
from buffer.upkeep.aggregates import FIVE_MINUTES_MS, MINUTE_MS
from common.sample import PRIORITIES
from common.wire import EARLIEST_MS, LATEST_MS

# The flat tables of the older versions, as the requirement documents have them.
OLD_COLUMNS = {
    5: ("id", "timestamp_ms", "metric_name", "metric_value", "device_id"),
    8: ("id", "timestamp_ms", "metric_name", "metric_value", "tags", "session_id", "uploaded", "priority"),
    12: (
        "id", "timestamp_ms", "metric_name", "metric_value", "value_text", "value_type", "tags", "session_id",
        "device_id", "uploaded", "priority", "dedup_key",
    ),
}  # fmt: skip

KEY_BYTES = 32  # sha256
LARGEST_ID = 1 << 40  # rows of a file that was written at 1,000 samples/s for 35 years


class FoundSample(NamedTuple):
    """A row of `samples`; ids are those of the damaged file."""

    timestamp_ms: int
    series: int
    value: float | str
    session: int | None
    clock: int | None
    priority: int
    chunk: int | None


class FoundSeries(NamedTuple):
    """A row of `series`; whether its key proves it is another question."""

    id: int
    reading: Reading
    key: bytes


class FoundKey(NamedTuple):
    """An entry of the index on the keys of `series`."""

    key: bytes
    series: int


class FoundCheckpoint(NamedTuple):
    """A row of `upload_checkpoints`; what it says of sample ids is left out, they are others now."""

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
    FoundSample
    | FoundSeries
    | FoundKey
    | FoundCheckpoint
    | FoundSession
    | FoundClock
    | FoundEvent
    | FoundAggregate
    | Old
)


def recognise(record: Record) -> Found | None:
    """Return what a record was; None for anything else: an index entry, another table, damage."""
    rowid, values = record
    if rowid is None:
        return _aggregate(values) if len(values) == 9 else _key(values) if len(values) == 2 else None
    if not 0 < rowid < LARGEST_ID:
        return None
    reader = _READERS.get(len(values))
    found: Found | None = None if reader is None else reader(rowid, values)
    return found or (_old(rowid, values) if len(values) in OLD_COLUMNS else None)


def _sample(_rowid: int, values: tuple[Any, ...]) -> FoundSample | None:
    _, timestamp_ms, series, value, session, clock, priority, chunk = values
    sound = (
        _is_time(timestamp_ms)
        and _is_id(series)
        and priority in PRIORITIES
        and (session is None or _is_id(session))
        and (clock is None or _is_id(clock))
        and (chunk is None or chunk in {-1, 0} or _is_id(chunk))
        and (isinstance(value, str) or (isinstance(value, (int, float)) and math.isfinite(value)))
    )
    return FoundSample(timestamp_ms, series, value, session, clock, priority, chunk) if sound else None


def _series(rowid: int, values: tuple[Any, ...]) -> FoundSeries | None:
    _, *texts, value_type, key = values
    sound = all(isinstance(text, (str, bytes)) for text in texts) and isinstance(key, bytes) and len(key) == KEY_BYTES
    return FoundSeries(rowid, Reading((texts[0], texts[1], texts[2]), value_type == 1), key) if sound else None


def _key(values: tuple[Any, ...]) -> FoundKey | None:
    key, series = values
    sound = isinstance(key, bytes) and len(key) == KEY_BYTES and _is_id(series)
    return FoundKey(key, series) if sound else None


def _checkpoint(rowid: int, values: tuple[Any, ...]) -> FoundCheckpoint | None:
    _, batch_id, chunk_index, _, _, *rest = values
    sound = isinstance(batch_id, str) and isinstance(chunk_index, int) and all(map(_is_integer_or_none, rest))
    return FoundCheckpoint(rowid, batch_id, chunk_index, *rest) if sound else None


def _session(rowid: int, values: tuple[Any, ...]) -> FoundSession | None:
    name, start, end, status, metadata = values
    sound = isinstance(name, str) and _is_time(start) and (end is None or _is_time(end))
    sound = sound and all(text is None or isinstance(text, str) for text in (status, metadata))
    return FoundSession(rowid, values) if sound else None


def _clock(rowid: int, values: tuple[Any, ...]) -> FoundClock | None:
    _, boot_id, offset_ms = values
    sound = isinstance(boot_id, str) and isinstance(offset_ms, int)
    return FoundClock(rowid, boot_id, offset_ms) if sound else None


def _event(_rowid: int, values: tuple[Any, ...]) -> FoundEvent | None:
    sound = _is_time(values[1]) and all(isinstance(text, str) for text in values[2:6])
    sound = sound and (values[6] is None or _is_id(values[6]))
    return FoundEvent(*values[1:7]) if sound else None


def _aggregate(values: tuple[Any, ...]) -> FoundAggregate | None:
    width_ms, start_ms, series, *numbers = values
    sound = width_ms in {MINUTE_MS, FIVE_MINUTES_MS} and _is_time(start_ms) and _is_id(series)
    sound = sound and all(isinstance(number, (int, float)) and math.isfinite(number) for number in numbers)
    return FoundAggregate(width_ms, start_ms, series, tuple(numbers)) if sound else None


def _old(rowid: int, values: tuple[Any, ...]) -> Old | None:
    columns = dict(zip(OLD_COLUMNS[len(values)], values, strict=True))
    texts = [columns.get(name) for name in older.TEXTS]
    sound = values[0] is None and _is_time(columns["timestamp_ms"])
    sound = sound and all(text is None or isinstance(text, str) for text in texts)
    sound = sound and columns["metric_name"] is not None and not isinstance(columns["metric_value"], (str, bytes))
    if not sound:
        return None
    plain = [columns.get(name) for name in older.PLAIN]
    raw = [None if text is None else text.encode() for text in texts]
    return older.read((rowid, columns["timestamp_ms"], columns["metric_value"], *raw, *plain))


def _is_time(value: object) -> bool:
    return isinstance(value, int) and EARLIEST_MS <= value < LATEST_MS


def _is_id(value: object) -> bool:
    return isinstance(value, int) and 0 < value < LARGEST_ID


def _is_integer_or_none(value: object) -> bool:
    return value is None or isinstance(value, int)


_READERS = {8: _sample, 6: _series, 9: _checkpoint, 5: _session, 3: _clock, 7: _event}
