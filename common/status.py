"""The typed status that each process reports in its heartbeats, and `/health` shows.

A process sets the fields of its status; a heartbeat carries them as a map of plain values, and healthd reads it back
with `read`. docs/health.md lists the fields, generated from here. Unknown is None, never 0. Times are Unix milliseconds
of the process' own clock; for a field `last_…_ms` healthd also records when it changed by its own clock.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

COLLECTOR, BUFFER, SHIPPER, HEALTHD = "collector", "buffer", "shipper", "healthd"

_Kind = TypeVar("_Kind")
_Check = Callable[[Any], Any]


@dataclass(frozen=True)
class FieldSpec:
    """How a field is checked, and what it means."""

    check: _Check
    help: str


def to_wire(status: object) -> dict[str, Any]:
    """Return a status as the map that a heartbeat carries; a map is returned as it is."""
    carried = status if isinstance(status, dict) else vars(status)  # asdict would copy all of it, every two seconds
    return {name: _plain(value) for name, value in carried.items()}


def read(kind: type[_Kind], carried: Mapping[str, Any]) -> _Kind:
    """Return a status from a heartbeat's map; a field that is missing or of the wrong type is None."""
    values = {}
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        checked = _spec(field).check(carried.get(field.name))
        if checked is not None:
            values[field.name] = checked
    return kind(**values)


def _plain(value: Any) -> Any:
    """Return the sources of a collector as plain maps, everything else as it is."""
    if not isinstance(value, dict):
        return value
    return {name: vars(one) if isinstance(one, SourceStatus) else one for name, one in value.items()}


def _spec(field: dataclasses.Field[Any]) -> FieldSpec:
    spec: FieldSpec = field.metadata["status"]
    return spec


def _field(check: _Check, text: str, default: Any = None) -> Any:
    made = (lambda: default) if not callable(default) else default
    return dataclasses.field(default_factory=made, metadata={"status": FieldSpec(check, text)})


def _number(value: Any) -> float | None:
    """Accept a finite number."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    return value if is_number else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _flag(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _map(value: Any) -> dict[str, Any] | None:
    is_map = isinstance(value, dict) and all(isinstance(name, str) for name in value)
    return value if is_map else None


def _counts(value: Any) -> list[float] | None:
    """Accept a number for each priority."""
    is_list = isinstance(value, list) and bool(value) and all(_number(one) is not None for one in value)
    return value if is_list else None


def _sources(value: Any) -> dict[str, SourceStatus] | None:
    found = _map(value)
    return None if found is None else {name: read(SourceStatus, one) for name, one in found.items() if _map(one)}


@dataclass
class SourceStatus:
    """One source of a collector."""

    enabled: bool = _field(_flag, "false: the configuration has switched it off", default=True)
    interval_s: float | None = _field(_number, "time between two collects")
    last_collection_ms: int | None = _field(_number, "when it was read last")
    error: str | None = _field(_text, "why the source cannot be read; null while it can")


@dataclass
class CollectorStatus:
    """A collector."""

    kind: str = _field(_text, "collector", default=COLLECTOR)
    sources: dict[str, SourceStatus] = _field(_sources, "each of its sources by name", default=dict)


@dataclass
class BufferStatus:
    """The buffer."""

    kind: str = _field(_text, "buffer", default=BUFFER)
    database_size_bytes: int | None = _field(_number, "size of the database file")
    wal_size_bytes: int | None = _field(_number, "size of the write-ahead log beside it")
    free_bytes: int | None = _field(_number, "free space on its file system")
    pending: list[int] | None = _field(_counts, "samples that are not uploaded, by priority")
    oldest_pending_ms: int | None = _field(_number, "timestamp of the oldest of them")
    paused: str | None = _field(_text, "why samples are not stored at present")
    salvage: str | None = _field(_text, "progress of reading a damaged database")
    unspooled: str | None = _field(_text, "why producers keep unacked samples in memory only")
    withheld: str | None = _field(
        _text, "series whose samples the server accepts but drops, and the setting that is the likely cause"
    )
    keeps_nothing: bool = _field(_flag, "the server drops the samples of all series", default=False)
    held_by: str | None = _field(_text, "the process that keeps the write-ahead log from being emptied")
    lost_at_server: str | None = _field(_text, "verified samples that the server has lost since")


@dataclass
class ShipperStatus:
    """The shipper."""

    kind: str = _field(_text, "shipper", default=SHIPPER)
    enabled: bool = _field(_flag, "false: remote.enabled is off", default=True)
    mode: str | None = _field(_text, "realtime, degraded, offline or disabled")
    endpoint: str | None = _field(_text, "URL that samples are uploaded to, without secrets")
    lanes: dict[str, Any] | None = _field(
        _map, "upload interval of each priority in seconds, and which of them are set in remote.priority"
    )
    last_upload_ms: int | None = _field(_number, "last time that the server accepted samples")
    last_current_ms: int | None = _field(
        _number, "last time that something was accepted, or that nothing had waited longer than its lane's interval"
    )
    metrics_uploaded: int = _field(_number, "samples that the server accepted since the start", default=0)
    upload_failures: int = _field(_number, "requests that failed since the start", default=0)
    pending: list[int] | None = _field(_counts, "samples that are not uploaded, by priority")
    due: list[int] | None = _field(
        _counts, "pending samples that have waited longer than their lane's interval, by priority"
    )
    retry_queue_size: int = _field(_number, "samples in chunks that are being retried", default=0)
    backoff_until_ms: int | None = _field(_number, "when the next attempt is made after a failure")
    refusal: str | None = _field(
        _text, "why the server rejects this device, or what answers instead of it; needs a person to fix it"
    )
    skew_ms: int | None = _field(_number, "how far this clock is ahead of the server's")
    duplicate_id: str | None = _field(_text, "another device sends under this device's id")
    audit: str | None = _field(_text, "ok, disabled, or why the server cannot be queried")
    verified_until_ms: int | None = _field(_number, "all uploaded samples up to here were found at the server")
    unverified_samples: int | None = _field(_number, "uploaded samples that are not verified yet")
    budget: dict[str, Any] | None = _field(_map, "used and limit in bytes, daily and monthly")


@dataclass
class HealthdStatus:
    """healthd itself."""

    kind: str = _field(_text, "healthd", default=HEALTHD)


STATUSES = (CollectorStatus, SourceStatus, BufferStatus, ShipperStatus, HealthdStatus)


def fields_of(kind: type[Any]) -> dict[str, str]:
    """Return the fields of a status and what each means, for the documents."""
    return {field.name: _spec(field).help for field in dataclasses.fields(kind)}
