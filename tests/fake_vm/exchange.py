"""One import request, from its headers to its answer or its absence.

In: a `Wire` (the open connection) and the core with its state and script.
Out: samples in the store, a record of the request, then the answer on the wire.
The record is made before the answer leaves: whoever has the answer sees the record.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple, Protocol
from urllib.parse import parse_qs, urlsplit

from tests.fake_vm.answers import Answer, json_answer, text_answer
from tests.fake_vm.core import ImportRequest
from tests.fake_vm.imports import Parsed, parse
from tests.fake_vm.script import Step

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.fake_vm.core import Core

PORTAL = b"<!DOCTYPE html><title>Welcome</title><h1>Accept the terms to go online</h1>"
_KEPT_HEADERS = (
    "content-encoding",
    "content-length",
    "content-type",
    "transfer-encoding",
    "user-agent",
    "x-device-id",
)


class Body(NamedTuple):
    """What was read of a body, and how many bytes that was with its framing."""

    data: bytes = b""
    wire_bytes: int = 0


class Wire(Protocol):
    """The connection a request came on."""

    target: str
    head_bytes: int
    connection_id: int
    request_headers: Mapping[str, str]

    def read_body(self, *, half: bool = False) -> Body:
        """Read the body, or half of it; a body that breaks off comes as it is."""

    def answer(self, answer: Answer) -> None:
        """Send an answer."""

    def hang_up(self, *, reset: bool = False) -> None:
        """Close without an answer; with `reset` by RST."""


_NO_ANSWER = Answer(0)
_UNAUTHORIZED = Answer(401, b"unauthorized\n", headers={"WWW-Authenticate": "Bearer"})


class _Outcome(NamedTuple):
    answer: Answer
    parsed: Parsed
    stored: int = 0


def serve_import(core: Core, wire: Wire) -> None:
    """Serve one import request as the script, the state and the server have it."""
    refusal = refuse(core, wire.request_headers.get("authorization", ""))
    step = (core.script.next_step() if refusal is None else None) or Step()
    body, outcome = Body(), _Outcome(_NO_ANSWER, Parsed())
    if step.reset != "before":
        body = wire.read_body(half=step.reset == "mid_body")
        latency_s = 0.0 if refusal is _UNAUTHORIZED else core.state.latency_ms / 1000
        # What a closing server had not stored yet is lost with it.
        if core.pause(latency_s + step.delay_s):
            outcome = _process(core, wire, body, step, refusal)
    if step.reset or step.drop or step.hang_s is not None:
        outcome = outcome._replace(answer=_NO_ANSWER)
    core.record(_request(wire, body, outcome))
    core.pause(step.hang_s or 0.0)
    if outcome.answer is _NO_ANSWER:
        wire.hang_up(reset=step.reset is not None)
    else:
        wire.answer(outcome.answer)


def refuse(core: Core, authorization: str) -> Answer | None:
    """Answer in the server's stead where it is down or the token is wrong."""
    if core.state.down is not None:
        return text_answer(core.state.down, "down\n")
    if not core.authorized(authorization):
        return _UNAUTHORIZED
    return None


def _process(core: Core, wire: Wire, body: Body, step: Step, refusal: Answer | None) -> _Outcome:
    try:
        extra_labels = _extra_labels(wire.target)
    except ValueError as error:
        return _Outcome(refusal or text_answer(400, f"{error}\n"), Parsed())
    parsed = parse(
        body.data,
        wire.request_headers.get("content-encoding", ""),
        now_ms=int(time.time() * 1000),
        extra_labels=extra_labels,
    )
    if refusal is not None:
        return _Outcome(refusal, parsed)
    if core.poisoned(parsed) and not step.decides_answer:
        return _Outcome(text_answer(400, "poisoned series in the body\n"), parsed)
    stored = core.commit(parsed, step.limit)
    return _Outcome(_answer(step, parsed), parsed, stored)


def _answer(step: Step, parsed: Parsed) -> Answer:
    if step.html:
        page = "text/html; charset=utf-8"
        return Answer(step.status or 200, PORTAL, page, step.headers)
    if step.redirect is not None:
        headers = {"Location": step.redirect, **step.headers}
        return Answer(step.status or 302, headers=headers)
    if step.json is not None:
        answer = json_answer(step.status or 200, step.json)
    elif step.status is not None:
        answer = Answer(step.status)
    elif parsed.error is not None and not step.swallow:
        answer = text_answer(400, f"{parsed.error}\n")
    else:
        answer = Answer(204)
    return answer._replace(headers=step.headers)


def _extra_labels(target: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in parse_qs(urlsplit(target).query).get("extra_label", []):
        name, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f'`extra_label` query arg must have the format `name=value`: "{text}"')
        found[name] = value
    return found


def _request(wire: Wire, body: Body, outcome: _Outcome) -> ImportRequest:
    headers = {k: v for k, v in wire.request_headers.items() if k in _KEPT_HEADERS}
    if "authorization" in wire.request_headers:
        # Only the scheme: a token must not end up in a test's log.
        headers["authorization"] = wire.request_headers["authorization"].split(" ")[0]
    return ImportRequest(
        status=outcome.answer.status,
        samples=outcome.parsed.samples,
        stored=outcome.stored,
        body_bytes=len(body.data),
        wire_bytes=wire.head_bytes + body.wire_bytes,
        headers=headers,
        path=urlsplit(wire.target).path,
        connection=wire.connection_id,
        time_s=time.time(),
    )
