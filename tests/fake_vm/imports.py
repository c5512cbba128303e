"""Read one body of `/api/v1/import` with the semantics of VictoriaMetrics v1.150.0.

In: body bytes, their Content-Encoding, the time now, extra labels.
Out: the lines that would be stored, counters of what would not, and the error that
would be answered 400, if any. Pure: no clock, no storage.

The unit of loss is the line: one bool, one numeric string, one float timestamp or
a length mismatch drops all of it, and the answer is 204 all the same. JSON is
otherwise strict; the server also takes oddities such as `01`, which no JSON
writer makes and which are dropped here.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.fake_vm.inflate import decode

Labels = tuple[tuple[str, str], ...]  # sorted by name, `__name__` among them

DAY_MS = 86_400_000
# Long enough for a board whose clock is years behind, and short enough that seconds
# sent for milliseconds (January 1970) are lost here: with `-retentionPeriod=100y` the
# server stores those too, measured on 1.79.5.
RETENTION_MS = 50 * 365 * DAY_MS
MAX_AHEAD_MS = 2 * DAY_MS
# Defaults of -maxLabelsPerTimeseries, -maxLabelNameLen, -maxLabelValueLen and
# -import.maxLineLen since v1.108.0 and v1.96.0.
MAX_LABELS = 40
MAX_LABEL_NAME_BYTES = 256
MAX_LABEL_VALUE_BYTES = 4096
MAX_LINE_BYTES = 10 * 1024 * 1024
_INT64 = range(-(2**63), 2**63)

_NUMBERS = {int, float}
_SPECIAL_VALUES = {
    **dict.fromkeys(("infinity", "Infinity", "Inf", "inf"), math.inf),
    **dict.fromkeys(("-infinity", "-Infinity", "-Inf", "-inf"), -math.inf),
    **dict.fromkeys(("null", "Null", "nan", "NaN"), math.nan),
    **dict.fromkeys(("-null", "-Null", "-nan", "-NaN"), math.nan),
}
# A string, or a bare `Inf`/`NaN` in any case, but not the start of `Infinity`.
_BARE_SPECIAL = re.compile(r'("(?:[^"\\]|\\.)*")|([-+]?)(inf|nan)(?![a-z])', re.IGNORECASE | re.DOTALL)


class Line(NamedTuple):
    """One stored series of a body; timestamps and values pair up, in body order."""

    labels: Labels
    timestamps: list[int]
    values: list[float]


@dataclass
class Parsed:
    """What a body comes to."""

    lines: list[Line] = field(default_factory=list)
    rows_invalid: int = 0
    rows_ignored: Counter[str] = field(default_factory=Counter)
    error: str | None = None

    @property
    def samples(self) -> int:
        """Number of samples that would be stored."""
        return sum(len(line.timestamps) for line in self.lines)


class _InvalidLineError(ValueError):
    """The whole line is dropped and counted as invalid."""


def parse(
    body: bytes,
    encoding: str,
    *,
    now_ms: int,
    extra_labels: dict[str, str] | None = None,
    max_line_bytes: int = MAX_LINE_BYTES,
) -> Parsed:
    """Parse a whole body; lines before an error in it count, as on the server."""
    decoded = decode(body, encoding)
    parsed = Parsed(error=decoded.error)
    lines = decoded.data.split(b"\n")
    if decoded.error is not None:
        lines.pop()  # a line that a hard error cut short is never parsed
    for line in lines:
        if len(line) > max_line_bytes:
            parsed.error = f"too long line: more than {max_line_bytes} bytes"
            break
        _parse_line(line.removesuffix(b"\r"), parsed, now_ms, extra_labels or {})
    return parsed


def _parse_line(line: bytes, parsed: Parsed, now_ms: int, extra_labels: dict[str, str]) -> None:
    if not line:
        return
    try:
        row = _load(line.decode("utf-8", "surrogateescape"))
        labels = {**_labels(row), **{k: v for k, v in extra_labels.items() if v}}
        timestamps, values = _points(row)
    except (ValueError, RecursionError):
        parsed.rows_invalid += 1
        return
    reason = _over_limit(labels)
    if reason is not None:
        parsed.rows_ignored[reason] += 1  # once per series, as on the server
    elif labels:
        timestamps, values = _in_range(timestamps, values, now_ms, parsed.rows_ignored)
        if timestamps:
            parsed.lines.append(Line(tuple(sorted(labels.items())), timestamps, values))


def _load(text: str) -> dict[str, Any]:
    try:
        row = _DECODER.decode(text)
    except json.JSONDecodeError:
        row = _DECODER.decode(_BARE_SPECIAL.sub(_as_python_json, text))
    if not isinstance(row, tuple):
        raise _InvalidLineError
    # The first of two equal keys wins at this level (measured on 1.79.5).
    return dict(reversed(row))


def _as_python_json(match: re.Match[str]) -> str:
    string, sign, special = match.groups()
    if string is not None:
        return string
    if special.lower() == "nan":
        return "NaN"
    return "-1e999" if sign == "-" else "1e999"  # json reads these as infinities


def _constant(name: str) -> float:
    # A bare `Infinity`: the server reads `Inf` and chokes on the rest of the word.
    if name != "NaN":
        raise _InvalidLineError
    return math.nan


# Objects become tuples of pairs, so that equal keys can be told apart.
# strict=False: the server lets control characters in strings pass.
_DECODER = json.JSONDecoder(object_pairs_hook=tuple, parse_constant=_constant, strict=False)


def _labels(row: dict[str, Any]) -> dict[str, str]:
    metric = row.get("metric")
    if not isinstance(metric, tuple):
        raise _InvalidLineError
    named = {name: value for name, value in metric if name}
    if not named:
        raise _InvalidLineError
    # Any value but a string reads as "", and an empty value is no label.
    return {k: v for k, v in named.items() if isinstance(v, str) and v}


def _points(row: dict[str, Any]) -> tuple[list[int], list[float]]:
    values, timestamps = row.get("values"), row.get("timestamps")
    if not isinstance(values, list) or not isinstance(timestamps, list):
        raise _InvalidLineError
    if not values or len(values) != len(timestamps):
        raise _InvalidLineError
    if set(map(type, timestamps)) != {int}:
        raise _InvalidLineError
    if min(timestamps) not in _INT64 or max(timestamps) not in _INT64:
        raise _InvalidLineError
    return timestamps, [_value(v) for v in values]


def _value(value: object) -> float:
    # type(), not isinstance: a bool is an int to Python and an error to the server.
    if type(value) in _NUMBERS:
        try:
            return float(value)  # type: ignore[arg-type]
        except OverflowError:
            return math.inf if value > 0 else -math.inf  # type: ignore[operator]
    if value is None:
        return math.nan
    if isinstance(value, str) and value in _SPECIAL_VALUES:
        return _SPECIAL_VALUES[value]
    raise _InvalidLineError


def _over_limit(labels: dict[str, str]) -> str | None:
    if len(labels) > MAX_LABELS:
        return "too_many_labels"
    for name, value in labels.items():
        if len(_utf8(name)) > MAX_LABEL_NAME_BYTES:
            return "too_long_label_name"
        if len(_utf8(value)) > MAX_LABEL_VALUE_BYTES:
            return "too_long_label_value"
    return None


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _in_range(
    timestamps: list[int], values: list[float], now_ms: int, ignored: Counter[str]
) -> tuple[list[int], list[float]]:
    kept_timestamps: list[int] = []
    kept_values: list[float] = []
    for timestamp, value in zip(timestamps, values, strict=True):
        if math.isnan(value):
            continue  # vanishes without a counter
        if timestamp < now_ms - RETENTION_MS:
            ignored["small_timestamp"] += 1
        elif timestamp > now_ms + MAX_AHEAD_MS:
            ignored["big_timestamp"] += 1
        else:
            kept_timestamps.append(timestamp)
            kept_values.append(value)
    return kept_timestamps, kept_values
