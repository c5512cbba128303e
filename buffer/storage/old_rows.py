"""Rows of the older database files, version 1 and 2, read as they may be.

Reads a row of their flat `metrics` table, emits what of it can be a sample. Another program wrote it:
text need not be UTF-8, tags need not be JSON, columns may be missing or hold something else.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from common import catalog
from common.sample import PRIORITIES
from common.wire import EARLIEST_MS, LATEST_MS

TEXTS = ("metric_name", "value_text", "tags", "session_id", "device_id")
PLAIN = ("value_type", "uploaded", "priority")


@dataclass(frozen=True)
class OldRow:
    """A sample of an older file; `session` and `device` are None where it does not say."""

    id: int
    timestamp_ms: int
    name: str
    value: float | str
    tags: dict[str, str]
    session: str | None
    device: str | None
    uploaded: bool
    priority: int

    @property
    def is_sendable(self) -> bool:
        """Return whether a server would accept the value."""
        return (
            not isinstance(self.value, str)
            and math.isfinite(self.value)
            and EARLIEST_MS <= self.timestamp_ms < LATEST_MS
        )


def is_ours(columns: Collection[str]) -> bool:
    """Return whether the columns of a table `metrics` are ours; many programs have one of that name."""
    return {"id", "metric_name", "metric_value"} <= set(columns) and not {"timestamp_ms", "timestamp"}.isdisjoint(
        columns
    )


def columns_of(columns: Collection[str]) -> str:
    """Return the column list to select for `read`, with NULL for columns that version did not have.

    Text comes as bytes. The first table in the requirements calls the time `timestamp`.
    """
    time = "timestamp_ms" if "timestamp_ms" in columns else "timestamp"
    number = "CASE WHEN typeof(metric_value) IN ('integer', 'real') THEN metric_value END"
    texts = [f"CAST({name} AS BLOB)" if name in columns else "NULL" for name in TEXTS]
    plain = [name if name in columns else "NULL" for name in PLAIN]
    return ", ".join(["id", time, number, *texts, *plain])


def read(row: tuple[Any, ...]) -> OldRow | None:
    """Read a row of `columns_of`; None if it holds no sample."""
    row_id, timestamp_ms, number, name, text, tags, session, device, value_type, uploaded, priority = row
    value = _text(text) if number is None or (value_type == 1 and text is not None) else number
    metric_name = _text(name)
    if value is None or not metric_name or type(timestamp_ms) is not int:
        return None
    if priority not in PRIORITIES:
        priority = catalog.find(metric_name).priority
    return OldRow(
        row_id,
        timestamp_ms,
        metric_name,
        value,
        _tags(tags),
        _text(session),
        _text(device),
        bool(uploaded),
        priority,
    )


def _text(raw: bytes | None) -> str | None:
    return None if raw is None else raw.decode("utf-8", "replace")


def _tags(raw: bytes | None) -> dict[str, str]:
    """Return tags as names and text; what is no JSON map is no tags, and a null is no tag."""
    try:
        tags = json.loads(_text(raw) or "{}")
    except (ValueError, RecursionError):
        return {}
    pairs = tags.items() if isinstance(tags, dict) else ()
    return {_clean(name): _clean(value) for name, value in pairs if value is not None}


def _clean(value: object) -> str:
    return str(value).encode("utf-8", "replace").decode("utf-8")  # JSON can spell half a surrogate pair
