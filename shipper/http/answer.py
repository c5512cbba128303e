"""An HTTP answer, and how its headers and body are read. Pure; whatever they hold, reading them does not raise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timezone
from email.utils import parsedate_to_datetime
from typing import Any

from common.untrusted import UntrustedError, json_object

_PAGE_TYPES = ("text/html", "application/xhtml+xml")
_BOM = b"\xef\xbb\xbf"
MAX_DOCUMENT_BYTES = 16 * 1024 * 1024  # counts of 100,000 series


@dataclass(frozen=True)
class Answer:
    """What came back for one request.

    Attributes:
        status: of HTTP.
        headers: by name, as HTTP has it: upper and lower case alike.
        body: at most as much as the client reads.
        duration_s: from the first byte out (or the connection's begin) to the last byte in.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    duration_s: float = 0.0

    @property
    def is_success(self) -> bool:
        """Whether the status is a 2xx."""
        return 200 <= self.status < 300

    @property
    def text(self) -> bytes:
        """The body without what may stand before a document."""
        return self.body.removeprefix(_BOM).strip()

    @property
    def is_page(self) -> bool:
        """Whether the body is a page for people; the type alone says nothing, frameworks put it on an empty 204."""
        kind = self.headers.get("Content-Type", "").lower()
        return self.text.startswith(b"<") or (kind.startswith(_PAGE_TYPES) and self.text[:1] not in (b"", b"{"))


def document(body: bytes) -> dict[str, Any]:
    """Return the JSON object of a body, or an empty one where it is none or too deep; no number in it is infinite."""
    try:
        return json_object(body.removeprefix(_BOM), max_bytes=MAX_DOCUMENT_BYTES)
    except UntrustedError:
        return {}


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


def age_s(headers: Mapping[str, str]) -> float:
    """Return how long a cache has kept an answer, 0 where none has."""
    text = headers.get("Age", "").strip()
    return float(text) if text.isascii() and text.isdecimal() and len(text) < 10 else 0.0


def http_date_s(text: str) -> float | None:
    """Read one of the three date formats of RFC 9110 as Unix seconds."""
    try:
        moment = parsedate_to_datetime(text)
        # A date without a zone is of the third format, asctime, which is UTC.
        return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):  # what the parser raises on garbage
        return None
