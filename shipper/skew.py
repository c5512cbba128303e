"""Measure the clock skew against the server: a GET every few minutes, whose Date is taken as the middle of the request.

Emits `time.skew_ms`, positive when the local clock is ahead. The header counts whole seconds, so half of one is added
to it, and what a cache says of the answer's Age; what remains is half a second either way and half the round trip.
Any answer of the server will do, but not a portal's. No answer is a log line; uploads do not wait for it but for its
short timeout.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from common import clock
from common.events import Event
from common.settings import Monitoring
from shipper.http import proof
from shipper.http.answer import Answer, age_s, http_date_s
from shipper.http.client import HttpClient
from shipper.http.interrupt import Interrupted
from shipper.http.transport import TransportError
from shipper.report import Report
from shipper.urls import health_url

TIMEOUT_S = 2.0  # to connect, and again for the answer
SLOW_S = 0.5  # a round trip beyond it included making a connection, or is too long to halve: measure again
RESOLUTION_S = 1.0  # of the Date header
STEP_MS = 2_000  # of the wall clock against the monotonic one


@dataclass(frozen=True)
class Skew:
    """One comparison: how far the local clock is ahead, and which server says so."""

    ms: int
    server: str
    duration_s: float


def compare(answer: Answer, began_s: float) -> Skew | None:
    """Return the skew that an answer shows, None where it shows none; `began_s` is Unix seconds."""
    server_s = http_date_s(answer.headers.get("Date", ""))
    if server_s is None:
        return None
    local_s = began_s + answer.duration_s / 2
    ahead_s = local_s - (server_s + age_s(answer.headers) + RESOLUTION_S / 2)
    return Skew(round(1000 * ahead_s), answer.headers.get(proof.OWN_HEADER, ""), answer.duration_s)


class WallClock:
    """Notices when the wall clock of this machine is set."""

    def __init__(self) -> None:
        self._offset_ms = self._offset()

    def was_set(self) -> bool:
        """Return whether the wall clock was set since the last call."""
        before_ms, self._offset_ms = self._offset_ms, self._offset()
        return abs(self._offset_ms - before_ms) > STEP_MS

    @staticmethod
    def _offset() -> int:
        return clock.wall_ms() - int(1000 * time.monotonic())


class ClockCheck:
    """The comparison as a step of the shipper.

    Args:
        monitoring: section monitoring.
        remote_url: of the import.
        client: asks the server.
        report: takes what people hear.
    """

    def __init__(self, monitoring: Monitoring, remote_url: str, client: HttpClient, report: Report) -> None:
        self._client, self._report = client, report
        self._threshold_ms = monitoring.clock_skew_warn_threshold_ms
        self._url = monitoring.clock_skew_url or health_url(remote_url)
        self._shown_url = self._url.partition("?")[0]  # a query can hold a key
        self._is_large = False

    def compare(self) -> bool:
        """Measure the skew and report it; keep the last one where nothing could be measured.

        Returns:
            whether the server was reached: where it was not, asking again soon costs next to nothing.
        """
        try:
            skew = measure(self._client, self._url)
        except Interrupted:
            return True
        except TransportError as error:
            self._report.log.throttled_warning(
                "skew", "clock skew not measured", error=str(error), clock_skew_url=self._shown_url
            )
            return error.is_sent
        self._report.status.skew_ms = skew.ms
        self._report.instruments.gauge("time.skew_ms", skew.ms)
        self._report_skew(skew)
        return True

    def _report_skew(self, skew: Skew) -> None:
        log, large = self._report.log, abs(skew.ms) > self._threshold_ms
        (log.warning if large else log.info)(
            "large clock skew" if large else "clock skew measured",
            skew_ms=skew.ms,
            threshold_ms=self._threshold_ms,
            clock_skew_url=self._shown_url,
            ingest_url=self._client.transport.endpoint,
            server=skew.server,
        )
        if large != self._is_large:
            self._is_large = large
            side = "ahead of" if skew.ms > 0 else "behind"
            text = f"this clock is {abs(skew.ms) / 1000:.1f} s {side} that of {self._shown_url}"
            self._report.event(Event("clock_skewed" if large else "clock_agrees", text))


def measure(client: HttpClient, url: str) -> Skew:
    """Compare the clocks once, or twice where the first round trip was slow.

    Raises:
        TransportError: there was no answer of the server, or none with a usable Date.
        Interrupted: the process was asked to end.
    """
    skew = _once(client, url)
    if skew.duration_s <= SLOW_S:
        return skew
    again = _once(client, url)
    return min(skew, again, key=lambda one: one.duration_s)


def _once(client: HttpClient, url: str) -> Skew:
    began_s = clock.wall_ms() / 1000
    answer = client.ask(url, proof.HEALTH, TIMEOUT_S)
    skew = compare(answer, began_s)
    if skew is None:
        raise TransportError("no_date", f"HTTP {answer.status} without a usable Date", is_sent=True)
    return skew
