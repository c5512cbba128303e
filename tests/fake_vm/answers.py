"""Answers to everything but imports: health, metrics, export and queries.

In: a path, its parameters, the core.
Out: an `Answer`. Pure but for reading the store and the clock.
"""

from __future__ import annotations

import json
import math
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.fake_vm.query import evaluate
from tests.fake_vm.selector import QueryError, parse_selector
from tests.fake_vm.store import NAME

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.fake_vm.core import Core
    from tests.fake_vm.store import Series

    Params = dict[str, list[str]]

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"
VERSION = "v1.150.0"
IGNORED_REASONS = (
    "big_timestamp",
    "small_timestamp",
    "too_long_label_name",
    "too_long_label_value",
    "too_many_labels",
)


class Answer(NamedTuple):
    """Status, body and its type, further headers."""

    status: int
    body: bytes = b""
    content_type: str = TEXT
    headers: dict[str, str] = {}  # noqa: RUF012 - never changed, only read


def text_answer(status: int, text: str) -> Answer:
    """Answer with a line of text, as the server does for errors."""
    return Answer(status, text.encode())


def json_answer(status: int, value: object) -> Answer:
    """Answer with a JSON document."""
    return Answer(status, json.dumps(value).encode(), JSON)


def answer_get(core: Core, path: str, params: Params) -> Answer:
    """Answer a request for anything but an import or the fake's own controls."""
    handler = _HANDLERS.get(path)
    if handler is None:
        return text_answer(400, f'unsupported path requested: "{path}"\n')
    try:
        return handler(core, params)
    except QueryError as error:
        if path == "/api/v1/export":
            return text_answer(400, f"{error}\n")
        document = {"status": "error", "errorType": "422", "error": str(error)}
        return json_answer(422, document)


def _health(_core: Core, _params: Params) -> Answer:
    return text_answer(200, "OK")


def _metrics(core: Core, _params: Params) -> Answer:
    lines = [
        f"process_start_time_seconds {core.start_timestamp}",
        f"vm_app_start_timestamp {core.start_timestamp}",
        f'vm_app_version{{version="fake-{VERSION}",short_version="{VERSION}"}} 1',
        f'vm_rows_invalid_total{{type="vmimport"}} {core.rows_invalid}',
    ]
    lines.extend(
        f'vm_rows_ignored_total{{reason="{reason}"}} {core.rows_ignored[reason]}' for reason in IGNORED_REASONS
    )
    return text_answer(200, "".join(f"{line}\n" for line in lines))


def _export(core: Core, params: Params) -> Answer:
    # As on the server: without `end` a sample of the future is not shown.
    start_ms = _time_ms(params, "start", 0.0)
    end_ms = _time_ms(params, "end", time.time())
    lines = []
    with core.store.lock:
        for series in _selected(core, params):
            rows = series.visible(start_ms, end_ms)
            if rows:
                line = {
                    "metric": series.labels,
                    "values": [_exported(value) for _, value in rows],
                    "timestamps": [timestamp for timestamp, _ in rows],
                }
                lines.append(json.dumps(line, separators=(",", ":")) + "\n")
    return Answer(200, "".join(lines).encode(), "application/stream+json")


def _series(core: Core, params: Params) -> Answer:
    return _success([series.labels for series in _selected(core, params)])


def _names(core: Core, params: Params) -> Answer:
    series = _selected(core, params) if "match[]" in params else core.store.select(bool)
    return _success(sorted({s.labels[NAME] for s in series if NAME in s.labels}))


def _query(core: Core, params: Params) -> Answer:
    text = params.get("query", [""])[0]
    if not text:
        raise QueryError("missing `query` arg")
    time_ms = _time_ms(params, "time", time.time())
    result = [
        {"metric": labels, "value": [time_ms / 1000, _formatted(value)]}
        for labels, value in evaluate(text, core.store, time_ms)
    ]
    return _success({"resultType": "vector", "result": result})


def _flush(_core: Core, _params: Params) -> Answer:
    return Answer(200)  # every sample is visible at once


_HANDLERS: dict[str, Callable[[Core, Params], Answer]] = {
    "/health": _health,
    "/metrics": _metrics,
    "/internal/force_flush": _flush,
    "/api/v1/export": _export,
    "/api/v1/series": _series,
    "/api/v1/label/__name__/values": _names,
    "/api/v1/query": _query,
}


def _success(data: object) -> Answer:
    return json_answer(200, {"status": "success", "data": data})


def _selected(core: Core, params: Params) -> list[Series]:
    selectors = [parse_selector(text) for text in params.get("match[]", [])]
    if not selectors:
        raise QueryError("missing `match[]` arg")
    return core.store.select(lambda labels: any(s.matches(labels) for s in selectors))


def _time_ms(params: Params, name: str, default_s: float) -> int:
    """Read Unix seconds or RFC 3339."""
    text = params.get(name, [str(default_s)])[0]
    try:
        return int(float(text) * 1000)
    except (ValueError, OverflowError):
        pass
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError as error:
        raise QueryError(f'cannot parse "{name}"="{text}": {error}') from error
    return int(moment.timestamp() * 1000)


def _exported(value: float) -> Any:
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return int(value) if value.is_integer() and abs(value) < 2**53 else value


def _formatted(value: float) -> str:
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(_exported(float(value)))
