"""The local clock against the server's: a GET every few minutes, its Date header halfway between its ends.

Emits `time.skew_ms`, positive when the local clock is ahead. The header counts whole seconds, so half of one
is added to it; what remains is half a second either way and half the round trip. Any answer of the server
will do, but not a portal's. No answer is a log line; uploads do not wait for it but for its short timeout.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

from common.events import Event
from common.service import Service
from shipper.http.courier import Courier
from shipper.http.interrupt import Interrupted
from shipper.http.outcome import Answer, http_date_s, is_page
from shipper.http.transport import Transport, TransportError

TIMEOUT_S = 2.0  # to connect, and again for the answer
LONGEST_S = 4 * TIMEOUT_S  # two measurements
SLOW_S = 0.5  # a round trip beyond it included making a connection, or is too long to halve: measure again
RESOLUTION_S = 1.0  # of the Date header


@dataclass(frozen=True)
class Skew:
    """One comparison: how far the local clock is ahead, and which server says so."""

    ms: int
    server: str
    duration_s: float


def base_url(remote_url: str) -> str:
    """Return the server of an import URL, with the prefix that a proxy gave it."""
    parts = urlsplit(remote_url)
    ends = [end for mark in ("/insert/", "/api/v1/import") if (end := parts.path.find(mark)) >= 0]
    prefix = parts.path[: min(ends)] if ends else ""
    return urlunsplit((parts.scheme, parts.netloc, prefix, "", ""))


def health_url(remote_url: str) -> str:
    """Return where the server of an import URL answers without having to do anything."""
    return f"{base_url(remote_url)}/health"


def compare(answer: Answer, began_s: float) -> Skew | None:
    """Return the skew that an answer shows, None where it shows none; `began_s` is Unix seconds."""
    server_s = http_date_s(answer.headers.get("Date", ""))
    if server_s is None or 300 <= answer.status < 400 or is_page(answer):
        return None
    local_s = began_s + answer.duration_s / 2
    ahead_s = local_s - (server_s + RESOLUTION_S / 2)
    return Skew(round(1000 * ahead_s), answer.headers.get("X-Server-Hostname", ""), answer.duration_s)


def measure(transport: Transport, url: str) -> Skew:
    """Compare the clocks once, or twice where the first round trip was slow.

    Raises:
        TransportError: there was no answer, or none with a usable Date.
        Interrupted: the process was asked to end.
    """
    skew = _once(transport, url)
    if skew.duration_s <= SLOW_S:
        return skew
    again = _once(transport, url)
    return min(skew, again, key=lambda one: one.duration_s)


class ClockCheck:
    """The comparison as a step of the shipper."""

    def __init__(self, process: Service, courier: Courier) -> None:
        self._process = process
        self._courier = courier
        process.facts["skew_ms"] = None
        self._is_large = False

    def compare(self) -> None:
        """Measure and report; what was known stays known when nothing could be measured."""
        settings = self._process.config.settings
        url = settings.monitoring.clock_skew_url or health_url(settings.remote.url)
        shown = url.partition("?")[0]  # a query can hold a key
        self._courier.announce(LONGEST_S)
        try:
            skew = measure(self._courier.transport, url)
        except Interrupted:
            return
        except TransportError as error:
            self._process.log.throttled_warning(
                "skew", "clock skew not measured", error=str(error), clock_skew_url=shown
            )
            return
        finally:
            self._courier.at_rest()
        self._process.facts["skew_ms"] = skew.ms
        self._process.instruments.gauge("time.skew_ms", skew.ms)
        self._tell(skew, settings.monitoring.clock_skew_warn_threshold_ms, shown)

    def _tell(self, skew: Skew, threshold_ms: int, clock_skew_url: str) -> None:
        log, large = self._process.log, abs(skew.ms) > threshold_ms
        (log.warning if large else log.info)(
            "large clock skew" if large else "clock skew measured",
            skew_ms=skew.ms,
            threshold_ms=threshold_ms,
            clock_skew_url=clock_skew_url,
            ingest_url=self._courier.transport.endpoint,
            server=skew.server,
        )
        if large != self._is_large:
            self._is_large = large
            text = f"this clock is {skew.ms / 1000:+.1f} s against that of {clock_skew_url}"
            self._process.event(Event("clock_skewed" if large else "clock_agrees", text))


def _once(transport: Transport, url: str) -> Skew:
    began_s = time.time()
    answer = transport.get(url, TIMEOUT_S)
    skew = compare(answer, began_s)
    if skew is None:
        raise TransportError("no_date", f"HTTP {answer.status} without a usable Date")
    return skew
