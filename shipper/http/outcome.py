"""What an answer means for the samples it was given to: four outcomes and no more.

Pure: status, headers and body in, an outcome out. Accepted: mark them. BodyRefused: the samples may be at
fault, look closer. NotWelcome: they are not, and asking again soon is no use. TryLater: they are not, and
it may work in a while. A 2xx is looked at too: a captive portal answers 200 to everything.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timezone
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, TypeAlias

# RFC 9110: 400 and 422 speak of the content, 413 of its size.
_ABOUT_THE_BODY = (HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNPROCESSABLE_ENTITY)
_LATER = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS)

# How receivers that count say how many samples they took; the first that is there holds.
_COUNT_KEYS = ("accepted", "received")
_PAGE_TYPES = ("text/html", "application/xhtml+xml")


@dataclass(frozen=True)
class Accepted:
    """The first `count` samples of the body are the server's."""

    count: int


@dataclass(frozen=True)
class BodyRefused:
    """The body, or something in it, is at fault; `too_large` says that it is its size."""

    reason: str
    too_large: bool = False


@dataclass(frozen=True)
class NotWelcome:
    """This server does not take uploads from here, whatever is in them."""

    reason: str


@dataclass(frozen=True)
class TryLater:
    """Not now; `retry_after_s` is what the server asked to wait, 0 if it did not."""

    reason: str
    retry_after_s: float = 0.0


Outcome: TypeAlias = "Accepted | BodyRefused | NotWelcome | TryLater"


@dataclass(frozen=True)
class Answer:
    """What came back for one request.

    Attributes:
        status: of HTTP.
        headers: by name, as HTTP has it: upper and lower case alike.
        body: at most as much as the transport reads.
        duration_s: from the first byte out (or the connection's begin) to the last byte in.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    duration_s: float = 0.0


def judge(answer: Answer, sent: int, now_s: float) -> Outcome:
    """Tell what an answer means for a body of `sent` samples; `now_s` is the wall clock, Unix seconds."""
    status = answer.status
    reason = f"http_{status}"
    if status == HTTPStatus.NETWORK_AUTHENTICATION_REQUIRED or (_is_success(status) and is_page(answer)):
        return TryLater("captive_portal", retry_after_s(answer.headers, now_s))
    if _is_success(status):
        return _judge_document(answer, sent, now_s)
    if status in _ABOUT_THE_BODY:
        return BodyRefused(reason, too_large=status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    if status in _LATER or status >= 500 or status < 200:
        return TryLater(reason, retry_after_s(answer.headers, now_s))
    return NotWelcome(reason)


def is_page(answer: Answer) -> bool:
    """Tell whether this is a page for people: no import API answers with one, a captive portal does."""
    kind = answer.headers.get("Content-Type", "").lower()
    return kind.startswith(_PAGE_TYPES) or answer.body.lstrip().startswith(b"<")


def retry_after_s(headers: Mapping[str, str], now_s: float) -> float:
    """Return how long the server asks to wait, 0 where it does not or nothing can be made of it.

    A date is compared with the server's own clock where it tells it: the local one may be wrong.
    """
    text = headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdecimal():
        return float(text)
    until_s = http_date_s(text)
    if until_s is None:
        return 0.0
    server_now_s = http_date_s(headers.get("Date", ""))
    return max(0.0, until_s - (now_s if server_now_s is None else server_now_s))


def http_date_s(text: str) -> float | None:
    """Read one of the three date formats of RFC 9110 as Unix seconds."""
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):  # what the parser raises on garbage
        return None
    # A date without a zone is of the third format, asctime, which is UTC.
    return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()


def _is_success(status: int) -> bool:
    return 200 <= status < 300


def _judge_document(answer: Answer, sent: int, now_s: float) -> Outcome:
    """Look for a count in a 2xx; without one all of it is accepted."""
    document = _document(answer.body)
    wait_s = retry_after_s(answer.headers, now_s)
    if document.get("success") is False:
        return TryLater("unsuccessful", wait_s)
    counts = [document[key] for key in _COUNT_KEYS if key in document]
    if not counts:
        return Accepted(sent)
    count = counts[0]
    if type(count) is not int or count < 0:
        return TryLater("bad_answer", wait_s)
    if count == 0 < sent:
        return TryLater("nothing_accepted", wait_s)
    # More than was sent: it counts something else (bytes, lines of two requests), and has all of it.
    return Accepted(min(count, sent))


def _document(body: bytes) -> dict[str, Any]:
    """Return the JSON object of a body, or an empty one where it is none."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}
