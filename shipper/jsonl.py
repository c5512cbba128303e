"""Samples to the body of an import: JSON lines, one per series with all its values and timestamps.

Pure. Source: VictoriaMetrics v1.150.0, `/api/v1/import`. The server's unit of loss is the line, its
answer is 204 all the same, so nothing goes out that it would drop: values are finite numbers, label values
are text, and what breaks its limits is named by `unsendable` instead. Integers go out with all their
digits; beyond 2**53 the server keeps 15 to 16 of them, as every float64 does.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple

from common import catalog
from shipper.lease import Lease, LeasedSeries

# Defaults of -maxLabelsPerTimeseries, -maxLabelNameLen and -maxLabelValueLen since v1.108.0, in bytes of
# UTF-8; older servers cut instead of dropping, and merge series that are then alike.
MAX_LABELS = 40
MAX_LABEL_NAME_BYTES = 256
MAX_LABEL_VALUE_BYTES = 4096

# The server holds a whole line in memory and refuses one above 10 MB; its documentation recommends 1,000
# to 10,000 samples.
MAX_LINE_SAMPLES = 10_000

_UNSAFE = re.compile(r"[^a-zA-Z0-9_]")
_RESERVED = ("__name__", "device_id")
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


class Refusal(NamedTuple):
    """Samples [start, stop) of a lease that the server would drop, and why."""

    start: int
    stop: int
    reason: str


def body(lease: Lease, start: int, stop: int) -> bytes:
    """Return the lines of samples [start, stop), none of which `unsendable` names."""
    return b"".join(line for series, first, last in lease.parts(start, stop) for line in _lines(series, first, last))


def unsendable(lease: Lease) -> list[Refusal]:
    """Return the ranges of a lease that the server would drop silently, in order."""
    refusals = []
    begin = 0
    for series in lease.series:
        end = begin + len(series.timestamps)
        reason = _limit_broken(series.name, series.device_id, series.tags)
        if reason:
            refusals.append(Refusal(begin, end, reason))
        elif not _all_finite(series.values) or not _all_integers(series.timestamps):
            refusals.extend(_bad_samples(series, begin))
        begin = end
    return refusals


def label_names(names: Iterable[str]) -> dict[str, str]:
    """Return the exported name of each tag: ``[a-zA-Z_][a-zA-Z0-9_]*``, no two alike.

    Two tags that become alike stay apart: one keeps the name, the other is ``exported_…``, as Prometheus
    calls a scraped label that is in the way of its own. A name that needed no change has the older right.
    """
    taken = set(_RESERVED)
    exported = {}
    for name in sorted(names, key=lambda name: (_safe(name) != name, name)):
        safe = _safe(name)
        while safe in taken:
            safe = f"exported_{safe}"
        taken.add(safe)
        exported[name] = safe
    return exported


def labels(name: str, device_id: str, tags: Mapping[str, str]) -> dict[str, str]:
    """Return the labels of a series at the server."""
    return _labels(name, device_id, tuple(sorted(tags.items())))


def _safe(name: str) -> str:
    safe = _UNSAFE.sub("_", name)
    return safe if safe and not safe[0].isdigit() else f"_{safe}"


def _lines(series: LeasedSeries, first: int, last: int) -> Iterator[bytes]:
    head = _head(series.name, series.device_id, series.tags)
    for start in range(first, last, MAX_LINE_SAMPLES):
        stop = min(last, start + MAX_LINE_SAMPLES)
        values, timestamps = _encode(series.values[start:stop]), _encode(series.timestamps[start:stop])
        yield b'%b,"values":%b,"timestamps":%b}\n' % (head, values.encode("ascii"), timestamps.encode("ascii"))


@lru_cache(maxsize=4096)
def _head(name: str, device_id: str, tags: tuple[tuple[str, str], ...]) -> bytes:
    """Return a line up to its values."""
    return f'{{"metric":{_encode(_labels(name, device_id, tags))}'.encode()


def _labels(name: str, device_id: str, tags: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """Return the labels of a series at the server, which has no labels with an empty value."""
    names = label_names(tag for tag, _ in tags)
    own = sorted((names[tag], value) for tag, value in tags)
    labels = {"__name__": catalog.find(name).export, "device_id": device_id, **dict(own)}
    return {label: value for label, value in labels.items() if value}


@lru_cache(maxsize=4096)
def _limit_broken(name: str, device_id: str, tags: tuple[tuple[str, str], ...]) -> str:
    """Return which limit of the server a series breaks, "" where it breaks none."""
    labels = _labels(name, device_id, tags)
    if "__name__" not in labels:
        return "no_name"
    if len(labels) > MAX_LABELS:
        return "too_many_labels"
    if any(len(label) > MAX_LABEL_NAME_BYTES for label in labels):  # ASCII, one byte each
        return "too_long_label_name"
    try:
        too_long = any(len(value.encode()) > MAX_LABEL_VALUE_BYTES for value in labels.values())
    except UnicodeEncodeError:
        return "not_unicode"
    return "too_long_label_value" if too_long else ""


def _bad_samples(series: LeasedSeries, begin: int) -> Iterator[Refusal]:
    for index, pair in enumerate(zip(series.timestamps, series.values, strict=True), begin):
        timestamp, value = pair
        if not _all_finite([value]):
            yield Refusal(index, index + 1, "not_a_finite_number")
        elif not _all_integers([timestamp]):
            yield Refusal(index, index + 1, "not_a_timestamp")


def _all_finite(values: Iterable[object]) -> bool:
    """Return whether all are finite numbers; a bool is none here, it would cost the server's whole line."""
    values = list(values)
    return set(map(type, values)) <= {int, float} and all(map(math.isfinite, values))  # type: ignore[arg-type]


def _all_integers(values: Iterable[object]) -> bool:
    return set(map(type, values)) <= {int}
