"""Instant queries, as many as a test or a person with curl needs.

In: the text of a query, the store, the time to evaluate at.
Out: a vector of (labels, value), or a `QueryError` to answer 422 with.

Grammar (selectors are in selector.py):

    query     := vector
    vector    := aggregate | rollup | "timestamp" "(" selector ")" | selector
    aggregate := ("sum" | "count" | "max" | "min") [by] "(" vector ")" [by]
    by        := "by" "(" [label {"," label}] ")"
    rollup    := ("count_over_time" | "tlast_over_time")
                 "(" selector "[" duration "]" ")" ["keep_metric_names"]
    duration  := {number ("ms" | "s" | "m" | "h" | "d" | "w" | "y")}

A selector yields the last value of the 5 minutes before `time` (the server stretches
them for a series of sparse samples). A window leaves its start out and has its end in
it. All functions drop the metric name; two series that
are then the same are an error, as on the server, unless aggregated or told
`keep_metric_names`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from tests.fake_vm.selector import QueryError, Tokens, read_selector
from tests.fake_vm.store import NAME

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.fake_vm.selector import Selector
    from tests.fake_vm.store import Store

SUPPORTED = (
    "supported: selector, timestamp(selector), count_over_time(selector[range]),"
    " tlast_over_time(selector[range]) [keep_metric_names], each optionally in"
    " sum|count|max|min(...) [by (labels)]"
)
LOOKBACK_MS = 5 * 60 * 1000

_UNITS_MS = {
    "ms": 1,
    "s": 1000,
    "m": 60_000,
    "h": 3_600_000,
    "d": 86_400_000,
    "w": 7 * 86_400_000,
    "y": 365 * 86_400_000,
}
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhdwy])")

_Window = list[tuple[int, float]]
_ROLLUPS: dict[str, Callable[[_Window], float]] = {
    "count_over_time": len,
    "tlast_over_time": lambda window: window[-1][0] / 1000,
}
_AGGREGATES: dict[str, Callable[[list[float]], float]] = {
    "sum": sum,
    "count": len,
    "max": max,
    "min": min,
}


class Point(NamedTuple):
    """One element of a vector."""

    labels: dict[str, str]
    value: float


def evaluate(text: str, store: Store, time_ms: int) -> list[Point]:
    """Evaluate an instant query.

    Raises:
        QueryError: The query is outside the grammar, or two results are the same
            series.
    """
    try:
        tokens = Tokens(text)
        with store.lock:
            points = _vector(tokens, store, time_ms)
        tokens.take("end")
    except QueryError as error:
        raise QueryError(f"error when executing query={text!r}: {error}; {SUPPORTED}") from error
    _check_distinct(text, points)
    return points


def _vector(tokens: Tokens, store: Store, time_ms: int) -> list[Point]:
    word = tokens.peek().text if tokens.peek(1).text in {"(", "by"} else ""
    if word in _AGGREGATES:
        return _aggregate(tokens, store, time_ms)
    if word in _ROLLUPS:
        return _rollup(tokens, store, time_ms)
    if word == "timestamp":
        tokens.expect(word)
        tokens.expect("(")
        selector = read_selector(tokens)
        tokens.expect(")")
        window = (time_ms - LOOKBACK_MS, time_ms)
        points = _roll(store, selector, window, _ROLLUPS["tlast_over_time"])
        return _nameless(points)
    window = (time_ms - LOOKBACK_MS, time_ms)
    return _roll(store, read_selector(tokens), window, lambda rows: rows[-1][1])


def _rollup(tokens: Tokens, store: Store, time_ms: int) -> list[Point]:
    function = _ROLLUPS[tokens.expect(*_ROLLUPS)]
    tokens.expect("(")
    selector = read_selector(tokens)
    tokens.expect("[")
    range_ms = _duration_ms(tokens.take("duration"))
    tokens.expect("]")
    tokens.expect(")")
    points = _roll(store, selector, (time_ms - range_ms, time_ms), function)
    return points if tokens.accept("keep_metric_names") else _nameless(points)


def _roll(
    store: Store,
    selector: Selector,
    window: tuple[int, int],
    function: Callable[[_Window], float],
) -> list[Point]:
    after_ms, until_ms = window
    points = []
    for series in store.select(selector.matches):
        rows = series.visible(after_ms + 1, until_ms)
        if rows:
            points.append(Point(series.labels, function(rows)))
    return points


def _aggregate(tokens: Tokens, store: Store, time_ms: int) -> list[Point]:
    function = _AGGREGATES[tokens.expect(*_AGGREGATES)]
    by = _by(tokens)
    tokens.expect("(")
    points = _vector(tokens, store, time_ms)
    tokens.expect(")")
    by = by or _by(tokens)
    groups: dict[tuple[tuple[str, str], ...], list[float]] = {}
    for point in points:
        key = tuple((k, point.labels[k]) for k in by if k in point.labels)
        groups.setdefault(key, []).append(point.value)
    return [Point(dict(key), function(values)) for key, values in groups.items()]


def _by(tokens: Tokens) -> list[str]:
    labels: list[str] = []
    if tokens.accept("by"):
        tokens.expect("(")
        while not tokens.accept(")"):
            labels.append(tokens.take("name"))
            if tokens.peek().text != ")":
                tokens.expect(",")
    return sorted(labels)


def _duration_ms(text: str) -> int:
    parts = _DURATION_PART.findall(text)
    return round(sum(float(number) * _UNITS_MS[unit] for number, unit in parts))


def _nameless(points: Iterable[Point]) -> list[Point]:
    return [Point({k: v for k, v in point.labels.items() if k != NAME}, point.value) for point in points]


def _check_distinct(text: str, points: list[Point]) -> None:
    seen: set[frozenset[tuple[str, str]]] = set()
    for point in points:
        key = frozenset(point.labels.items())
        if key in seen:
            raise QueryError(f"error when executing query={text!r}: duplicate output timeseries: {point.labels}")
        seen.add(key)
