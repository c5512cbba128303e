"""The fake's own paths, `/_fake/...`: what a test in another process uses.

In: a method, a path and a JSON body. Out: an `Answer`.

    POST /_fake/script    list of steps; replaces what was queued
    POST /_fake/state     changes of state, and "forget": true or seconds
    GET  /_fake/state     the state, the steps left, the counters
    GET  /_fake/samples   JSON lines, one per (series, millisecond)
    GET  /_fake/requests  list of import requests
    POST /_fake/reset     be as new
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from tests.fake_vm.answers import Answer, json_answer, text_answer
from tests.fake_vm.script import Step

if TYPE_CHECKING:
    from tests.fake_vm.core import Core

PREFIX = "/_fake/"


def answer_control(core: Core, method: str, path: str, body: bytes) -> Answer:
    """Answer one control request; a body that makes no sense is a 400."""
    if method == "GET":
        return _get(core, path)
    try:
        return _post(core, path, json.loads(body or b"null"))
    except (ValueError, TypeError) as error:
        return text_answer(400, f"{error}\n")


def _get(core: Core, path: str) -> Answer:
    if path == "/_fake/samples":
        lines = [json.dumps(asdict(sample)) + "\n" for sample in core.store.samples()]
        return Answer(200, "".join(lines).encode(), "application/stream+json")
    if path == "/_fake/requests":
        return json_answer(200, [asdict(request) for request in core.requests()])
    if path == "/_fake/state":
        return json_answer(200, _state(core))
    return text_answer(404, f"no such control: {path}\n")


def _post(core: Core, path: str, document: object) -> Answer:
    if path == "/_fake/script":
        if not isinstance(document, list):
            raise TypeError("a script is a list of steps")
        core.script.load([Step.from_json(raw) for raw in document])
    elif path == "/_fake/state":
        if not isinstance(document, dict):
            raise TypeError("a state is an object")
        core.set_state(document)
    elif path == "/_fake/reset":
        core.reset()
    else:
        return text_answer(404, f"no such control: {path}\n")
    return json_answer(200, _state(core))


def _state(core: Core) -> dict[str, object]:
    return {
        **asdict(core.state),
        "steps_left": core.script.steps_left,
        "start_timestamp": core.start_timestamp,
        "rows_invalid": core.rows_invalid,
        "rows_ignored": dict(core.rows_ignored),
    }
