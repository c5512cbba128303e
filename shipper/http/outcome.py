"""Classify an answer of the server by what it means for the samples of the request. Pure.

| answer | outcome | the samples |
|---|---|---|
| 2xx in the server's own form, see `proof.py` | Accepted | are marked as uploaded |
| 400, 413, 422 | BodyRefused | `upload.py` splits the body until it fits, or until the bad sample is found |
| 408, 425, 429, 5xx (for example 503) except 511, no answer | TryLater | are sent again after a wait |
| anything else of the server (401, 403, 404) | NotWelcome | are pending again |
| the answer of a portal or proxy | NotTheServer | are sent again; whether they arrived is not known |

What an answer changes for the next request is in `shipper/policy.py`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import TypeAlias

from shipper.http import proof
from shipper.http.answer import Answer, document, retry_after_s
from shipper.http.proof import KnownServer

# RFC 9110: 400 and 422 speak of the content, 413 of its size.
_ABOUT_THE_BODY = (HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNPROCESSABLE_ENTITY)
_LATER = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS)
# No proxy has a limit below it (nginx: 1 MB): one that refuses less for its size is broken, not strict.
SMALLEST_LIMIT_BYTES = 16 * 1024


@dataclass(frozen=True)
class Accepted:
    """The first `count` samples of the body are the server's."""

    count: int


@dataclass(frozen=True)
class BodyRefused:
    """The body, or something in it, is at fault.

    Attributes:
        reason: a word.
        too_large: it is its size.
        own: the server itself says so, not a proxy before it.
    """

    reason: str
    too_large: bool = False
    own: bool = True


@dataclass(frozen=True)
class NotWelcome:
    """This server does not take uploads from here, whatever is in them."""

    reason: str


@dataclass(frozen=True)
class TryLater:
    """Not now.

    Attributes:
        reason: a word for the counter's label.
        retry_after_s: what the server asked to wait, 0 if it did not.
        answered: an answer came; else the link may be bad.
    """

    reason: str
    retry_after_s: float = 0.0
    answered: bool = True


@dataclass(frozen=True)
class NotTheServer:
    """Something else answered; the samples may or may not have arrived.

    Attributes:
        reason: a word for the counter's label.
        retry_after_s: as of `TryLater`.
        text: for people, what answered and what to do.
        is_bare: it may be the server: a success without anything in it.
    """

    reason: str
    retry_after_s: float = 0.0
    text: str = ""
    is_bare: bool = False
    answered: bool = True


Outcome: TypeAlias = "Accepted | BodyRefused | NotWelcome | TryLater | NotTheServer"


def judge(answer: Answer, asked: str, known: KnownServer, sent: int, body_bytes: int = 0) -> Outcome:
    """Return the outcome of an answer for the samples of a body.

    Args:
        answer: what came back.
        asked: `proof.IMPORT` or `proof.EVENTS`.
        known: of this server.
        sent: samples in the body.
        body_bytes: its size as sent.
    """
    status, wait_s = answer.status, retry_after_s(answer.headers, time.time())
    reason = f"http_{status}"
    if status in _LATER or (status >= 500 and status != HTTPStatus.NETWORK_AUTHENTICATION_REQUIRED) or status < 200:
        return TryLater(reason, wait_s)
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE and body_bytes > SMALLEST_LIMIT_BYTES:
        return BodyRefused(reason, too_large=True, own=proof.is_own_refusal(answer, known))
    finding = proof.recognise(answer, asked, known, sent)
    if finding.verdict != proof.OWN:
        return NotTheServer(finding.reason, wait_s, finding.text, is_bare=finding.verdict == proof.BARE)
    if answer.is_success:
        count = proof.count_of(document(answer.body))
        return Accepted(count if isinstance(count, int) else sent)
    if status in _ABOUT_THE_BODY:
        is_size = status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        return BodyRefused(reason, too_large=is_size, own=proof.is_own_refusal(answer, known))
    return NotWelcome(reason)
