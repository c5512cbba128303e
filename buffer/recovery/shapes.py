"""Find the table that a record of a damaged file belongs to, by the number and types of its columns.

A damaged file does not say which page belongs to which table, but no two of our tables have the same columns. A record
with impossible values (a priority of 7, a timestamp in the year 1812, a series whose key is not the hash of its name)
is damaged and is left out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from buffer.recovery.pages import Record
from buffer.storage.aggregates import FIVE_MINUTES_MS, MINUTE_MS
from buffer.storage.fate import Fate
from buffer.storage.found import (
    Found,
    FoundAggregate,
    FoundCheckpoint,
    FoundClock,
    FoundEntry,
    FoundEvent,
    FoundSample,
    FoundSeries,
    FoundSession,
    Identity,
)
from buffer.storage.series import canonical_tags, series_key
from common.sample import PRIORITIES
from common.wire import EARLIEST_MS, LATEST_MS

KEY_BYTES = 32  # sha256
KEY_DAMAGED_BITS = 8  # a byte of it; two texts whose hashes are this near do not exist
LARGEST_ID = 1 << 40  # rows of a file that was written at 1,000 samples/s for 35 years


def recognise(record: Record) -> Found | None:
    """Return what a record holds; None for another index or table, or damage."""
    rowid, values = record
    if rowid is None:
        reader = _WITHOUT_ROWID.get(len(values))
        return None if reader is None else reader(values)
    if not 0 < rowid < LARGEST_ID:
        return None
    of_row = _READERS.get(len(values))
    return None if of_row is None else of_row(rowid, values)


def _sample(rowid: int, values: tuple[Any, ...]) -> FoundSample | None:
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
    return FoundSample(rowid, timestamp_ms, series, value, session, clock, priority, Fate(chunk)) if sound else None


def _entry(values: tuple[Any, ...]) -> FoundEntry | None:
    timestamp_ms, series, rowid = values
    sound = _is_time(timestamp_ms) and _is_id(series) and _is_id(rowid)
    return FoundEntry(timestamp_ms, series, rowid) if sound else None


def _series(rowid: int, values: tuple[Any, ...]) -> FoundSeries | None:
    """Return a series if its key is the hash of the row: it has thousands of samples, and must not be another's.

    One bit of the row may be damaged, and a few of the key: the hash of another row differs in half of its bits.
    """
    _, name, device_id, tags, value_type, key = values
    if not all(isinstance(text, str) for text in (name, device_id, tags)) or not isinstance(key, bytes):
        return None
    if len(key) != KEY_BYTES:
        return None
    for texts in _as_written((name, device_id, tags)):
        if _differing_bits(key, series_key(*texts, is_text=value_type == 1)) <= KEY_DAMAGED_BITS:
            sound = canonical_tags(json.loads(texts[2])) == texts[2]
            return FoundSeries(rowid, Identity(*texts, value_type == 1)) if sound else None
    return None


def _as_written(found: tuple[str, str, str]) -> Iterator[tuple[str, str, str]]:
    """Yield name, device and tags as they were found, then with each single bit flipped."""
    yield found
    name, device_id, tags = found
    yield from ((one, device_id, tags) for one in _one_bit_off(name))
    yield from ((name, one, tags) for one in _one_bit_off(device_id))
    yield from ((name, device_id, one) for one in _one_bit_off(tags))


def _one_bit_off(text: str) -> Iterator[str]:
    written = text.encode()
    for bit in range(8 * len(written)):
        flipped = bytearray(written)
        flipped[bit // 8] ^= 1 << bit % 8
        with suppress(UnicodeDecodeError):
            yield flipped.decode()


def _differing_bits(one: bytes, other: bytes) -> int:
    return (int.from_bytes(one, "big") ^ int.from_bytes(other, "big")).bit_count()


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


def _is_time(value: object) -> bool:
    return isinstance(value, int) and EARLIEST_MS <= value < LATEST_MS


def _is_id(value: object) -> bool:
    return isinstance(value, int) and 0 < value < LARGEST_ID


def _is_integer_or_none(value: object) -> bool:
    return value is None or isinstance(value, int)


_WITHOUT_ROWID: dict[int, Callable[[tuple[Any, ...]], Found | None]] = {3: _entry, 9: _aggregate}
_READERS = {8: _sample, 6: _series, 9: _checkpoint, 5: _session, 3: _clock, 7: _event}
