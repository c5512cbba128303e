"""What is answered under which path, from the view that the loop made last."""

from __future__ import annotations

import json
import time
from typing import Any

from common import clock
from healthd import exposition, report, rollup, selfmetrics
from healthd.http import JSON, Answer
from healthd.report import View

METRICS = "/metrics"
TEXT = "text/plain; charset=utf-8"


class Endpoints:
    """The paths, for the threads of the HTTP server.

    Attributes:
        view: what to answer from; the loop replaces it, nobody changes it.
    """

    def __init__(self, view: View) -> None:
        self.view = view

    def answer(self, path: str) -> Answer:
        """Return the answer to GET."""
        view, now_s = self.view, time.monotonic()
        pages = {
            "/": lambda: Answer(200, TEXT, _index(view)),
            METRICS: lambda: Answer(200, exposition.CONTENT_TYPE, _metrics(view)),
            view.path: lambda: _health(view, now_s),
            f"{view.path}/live": lambda: _json(200, {"status": "alive"}),
            f"{view.path}/ready": lambda: _ready(view, now_s),
        }
        page = pages.get(path)
        return page() if page else _json(404, {"error": "not found", "paths": sorted(pages)})


def _json(status: int, body: dict[str, Any]) -> Answer:
    return Answer(status, JSON, json.dumps(body, ensure_ascii=False).encode() + b"\n")


def _health(view: View, now_s: float) -> Answer:
    body = report.health(view, now_s, clock.wall_ms())
    return _json(503 if body["status"] == rollup.ERROR else 200, body)


def _ready(view: View, now_s: float) -> Answer:
    if view.uploads and not view.uploaded:
        return _json(503, {"status": "waiting for the first upload"})
    status = view.status(now_s)
    return _json(200 if status == rollup.OK else 503, {"status": status})


def _metrics(view: View) -> bytes:
    return exposition.exposition(selfmetrics.readings(view.known, view.verdict))


def _index(view: View) -> bytes:
    lines = [
        "belabox-metrics",
        "",
        f"{view.path}        how every part does; 503 while the status is error",
        f"{view.path}/live   200 while this process answers",
        f"{view.path}/ready  200 once something was uploaded and while the status is ok",
        f"{METRICS}       for Prometheus",
    ]
    return "\n".join([*lines, ""]).encode()
