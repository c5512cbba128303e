"""The HTTP endpoints: answer each path from the latest view that the loop made."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from common import clock
from common.thresholds import ERROR, OK
from healthd import report, selfmetrics
from healthd.http import compression
from healthd.http.access import Access
from healthd.http.connection import JSON, Reply, Request
from healthd.page import files
from healthd.page.history import LEAST_SPAN_S, MOST_REPORTED_S, MOST_SPAN_S, History
from healthd.page.live import Live
from healthd.page.picture import picture
from healthd.recorded.database import UnreadableError
from healthd.recorded.events import NEWEST
from healthd.report import View
from healthd.verdict.latest import Latest

METRICS, SAMPLES = "/metrics", "/metrics/samples"
TEXT = "text/plain; version=0.0.4; charset=utf-8"
HTML = "text/html; charset=utf-8"
EVENT_STREAM = "text/event-stream"


class Endpoints:
    """Answers each path, on the threads of the HTTP server.

    Args:
        view: the first one.
        history: reads what was recorded.
        device: its id and name.
        access: who may read.

    Attributes:
        view: what to answer from; the loop replaces it by `show`, nobody changes it.
        latest: values from the feed; the loop's.
    """

    def __init__(self, view: View, history: History, device: Mapping[str, str], access: Access) -> None:
        self.view = view
        self.latest = Latest()
        self._device = device
        self._files = files.paths()
        self._access = access
        access.open_paths = frozenset({f"{view.path}/live", *self._files})  # the files say nothing of this device
        self._history = history
        self._live = Live(self._picture)

    def show(self, view: View) -> None:
        """Answer from a new view, and send it to all viewers."""
        self.view = view
        self._live.tick()

    def close(self) -> None:
        """End the streams and let go of the database."""
        self._live.close()
        self._history.close()

    def answer(self, request: Request) -> Reply:
        """Return the answer to a request, compressed where the client takes it."""
        return compression.applied(self._answer(request), request)

    def _answer(self, request: Request) -> Reply:
        if request.method == "POST":
            return self._access.login(request)
        refusal = self._access.refusal(request)
        if refusal is not None:
            return refusal
        if request.path in self._files:
            return files.unless_known(files.load()[request.path], request)
        paths = self._paths(request)
        page = paths.get(request.path)
        return page() if page else _json(404, {"error": "not found", "paths": sorted(paths)})

    def _paths(self, request: Request) -> dict[str, Callable[[], Reply]]:
        view, now_s = self.view, time.monotonic()
        return {
            files.PAGE: lambda: files.page(json.loads(self._live.current())),
            METRICS: lambda: _metrics(view),
            **({SAMPLES: self._samples} if view.samples else {}),
            view.path: lambda: _health(view, now_s),
            f"{view.path}/live": lambda: _json(200, {"status": "alive"}),
            f"{view.path}/ready": lambda: _ready(view, now_s),
            "/api/now": lambda: Reply(200, JSON, self._live.current() + b"\n"),
            "/api/live": lambda: self._watch(request),
            "/api/plots": lambda: self._plots(request.query),
            "/api/report": lambda: self._report(request.query),
            "/api/sessions": lambda: self._read(lambda: {"sessions": self._history.sessions()}),
            "/api/events": lambda: self._events(request.query.get("before", "")),
        }

    def _picture(self) -> bytes:
        made = picture(self.view, self.latest, self._device, time.monotonic(), clock.wall_ms())
        return _compact(made)

    def _watch(self, request: Request) -> Reply:
        pieces = self._live.watch()
        if pieces is None:
            return _json(503, {"error": "too many watch already"})
        return Reply(200, EVENT_STREAM, pieces=self._while_allowed(pieces, request))

    def _while_allowed(self, pieces: Iterator[bytes], request: Request) -> Iterator[bytes]:
        """Yield pieces as long as the request is allowed: a new token ends the streams of the old one."""
        for piece in pieces:
            if self._access.refusal(request) is not None:
                return
            yield piece

    def _samples(self) -> Reply:
        try:
            return Reply(200, TEXT, self._history.newest(clock.wall_ms()))
        except UnreadableError as error:
            return _unreadable(error)

    def _plots(self, query: Mapping[str, str]) -> Reply:
        """Answer with plots over `span_s` up to `end_ms`; without it up to now, and only from `after_ms` on."""
        fields = {"span_s": "300", "end_ms": "0", "after_ms": "0", **query}
        if not all(fields[name].isdecimal() and len(fields[name]) < 15 for name in ("span_s", "end_ms", "after_ms")):
            return _json(400, {"error": "span_s, end_ms, after_ms: expected whole numbers"})
        span_s, end_ms, after_ms = int(fields["span_s"]), int(fields["end_ms"]), int(fields["after_ms"])
        if not LEAST_SPAN_S <= span_s <= MOST_SPAN_S:
            return _json(400, {"error": f"span_s: expected {LEAST_SPAN_S} to {MOST_SPAN_S}"})
        if end_ms:
            return self._read(lambda: self._history.plots(end_ms - 1000 * span_s, end_ms))
        return self._read(lambda: self._history.live(span_s, clock.wall_ms(), after_ms))

    def _report(self, query: Mapping[str, str]) -> Reply:
        """Answer with the report of the stream, or of the time, from `start_ms` to `end_ms`, as a file."""
        start, end = query.get("start_ms", ""), query.get("end_ms", "")
        if not all(number.isdecimal() and len(number) < 15 for number in (start, end)):
            return _json(400, {"error": "start_ms, end_ms: expected Unix milliseconds"})
        if not 0 < int(end) - int(start) <= 1000 * MOST_REPORTED_S:
            return _json(400, {"error": f"end_ms: expected up to {MOST_REPORTED_S} seconds after start_ms"})
        try:
            text = self._history.report(int(start), int(end))
        except UnreadableError as error:
            return _json(503, {"error": f"the database cannot be read now: {error}"})
        name = time.strftime("report-%Y%m%d-%H%M%S.html", time.localtime(int(start) / 1000))
        return Reply(
            200, HTML, text.encode(), (*files.HEADERS, ("Content-Disposition", f'attachment; filename="{name}"'))
        )

    def _events(self, before: str) -> Reply:
        numbers = before.split(".") if before else [str(number) for number in NEWEST]
        if len(numbers) != 2 or not all(number.isdecimal() and len(number) < 20 for number in numbers):
            return _json(400, {"error": "before: expected timestamp_ms.id of an event"})
        return self._read(lambda: {"events": self._history.events((int(numbers[0]), int(numbers[1])))})

    def _read(self, read: Callable[[], dict[str, Any]]) -> Reply:
        try:
            return Reply(200, JSON, _compact(read()))
        except UnreadableError as error:
            return _unreadable(error)


def _unreadable(error: UnreadableError) -> Reply:
    return _json(503, {"error": f"the database cannot be read now: {error}"})


def _compact(body: dict[str, Any]) -> bytes:
    """Return compact JSON for the browser."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def _json(status: int, body: dict[str, Any]) -> Reply:
    return Reply(status, JSON, json.dumps(body, ensure_ascii=False).encode() + b"\n")


def _health(view: View, now_s: float) -> Reply:
    body = report.health(view, now_s, clock.wall_ms())
    return _json(503 if body["status"] == ERROR else 200, body)


def _ready(view: View, now_s: float) -> Reply:
    if view.uploads and not view.uploaded:
        return _json(503, {"status": "waiting for the first upload"})
    status = view.status(now_s)
    return _json(200 if status == OK else 503, {"status": status})


def _metrics(view: View) -> Reply:
    from healthd import exposition  # noqa: PLC0415 - two megabytes that only a scraper needs

    text = exposition.exposition(selfmetrics.readings(view.known, view.verdict))
    return Reply(200, TEXT, text)
