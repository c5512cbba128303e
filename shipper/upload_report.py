"""Report what came of uploads: counters, `/health` fields, log lines and events."""

from __future__ import annotations

import time
from typing import Any, TypeAlias

from common import clock
from common.events import Event
from common.sample import PRIORITIES
from shipper.buffer_client import Stats
from shipper.http.client import Exchange
from shipper.http.outcome import Accepted, NotTheServer, NotWelcome, TryLater
from shipper.policy import Decision
from shipper.report import BUFFER, SERVER, Report
from shipper.upload import Upload
from shipper.upload_lines import UploadLines

Failure: TypeAlias = "NotTheServer | NotWelcome | TryLater"


class UploadError(Exception):
    """An upload failed; the samples are still pending."""


class UploadReport:
    """The reports of one sender.

    Args:
        report: of the shipper.
        endpoint: of the server, without secrets.
    """

    def __init__(self, report: Report, endpoint: str) -> None:
        self._report, self._endpoint = report, endpoint
        self._lines = UploadLines(report.log)

    @property
    def skew_ms(self) -> int | None:
        """How far the local clock is ahead of the server's, as it was measured last."""
        return self._report.status.skew_ms

    def succeeded(self, upload: Upload, exchange: Exchange, attempt: int) -> None:
        """Report a chunk that the server took, or a part of."""
        count = exchange.outcome.count if isinstance(exchange.outcome, Accepted) else 0
        status = self._report.status
        status.last_upload_ms = status.last_current_ms = clock.wall_ms()
        status.backoff_until_ms = status.refusal = None
        status.metrics_uploaded += count
        self._report.instruments.count("uploader.metrics_uploaded_total", count)
        fields = self._fields(upload, exchange, attempt)
        if count < exchange.samples:
            self._report.instruments.count("uploader.partial_success_total")
            self._report.log.throttled_warning("partial", "the server took a part of a chunk", accepted=count, **fields)
        self._report.log.debug("chunk uploaded", **fields)
        self._report.well(SERVER)

    def failed(self, upload: Upload, exchange: Exchange, outcome: Failure, wait_s: float, attempt: int) -> None:
        """Report a request that failed, and for how long nothing is asked of the server now."""
        status, wait_ms = self._report.status, round(1000 * wait_s)
        status.upload_failures += 1
        status.backoff_until_ms = clock.wall_ms() + wait_ms
        status.refusal = exchange.detail if isinstance(outcome, (NotWelcome, NotTheServer)) else None
        fields = {**self._fields(upload, exchange, attempt), "backoff_ms": wait_ms}
        if not isinstance(outcome, NotWelcome) and outcome.retry_after_s:
            fields["retry_after_sec"] = outcome.retry_after_s
        self._report.trouble(SERVER, UploadError(f"upload failed, {exchange.detail}"), **fields)

    def refused(self, upload: Upload, exchange: Exchange, attempt: int) -> None:
        """Report a body that the server refused; it is split next."""
        self._report.status.upload_failures += 1
        fields = self._fields(upload, exchange, attempt)
        self._report.log.throttled_warning(
            "refused", "a body was refused, it is split", error=exchange.detail, **fields
        )

    def rejected(self, count: int) -> None:
        """Report that the buffer knows what became of a chunk, and how many of its samples are refused for good."""
        self._report.well(BUFFER)
        if count:
            self._report.event(Event("samples_refused", f"the server refused {count} samples for good"))
        self._report.instruments.count("uploader.rejected_samples_total", count)

    def ended(self, upload: Upload) -> None:
        """Report a lease of which everything is known."""
        self._lines.ended(upload, self._endpoint, time.monotonic())

    def retrying(self, samples: int) -> None:
        """Report how many samples are in chunks that failed."""
        self._report.status.retry_queue_size = samples

    def mode(self, before: str, decision: Decision) -> None:
        """Report the mode after a decision, and its events."""
        for event in decision.events:
            self._report.event(event)
        new = decision.state.mode
        if new != before:
            self._report.status.mode = new
            self._report.instruments.count("uploader.mode_changes_total", mode=new)
            why = next(event.text for event in decision.events if event.kind == "mode_changed").partition(": ")[2]
            self._report.log.info("mode changed", **{"from": before, "to": new, "why": why})

    def backlog(self, stats: Stats, *, waits: bool) -> None:
        """Report what is pending; `waits`: for the server, after a failure."""
        now_ms, status = clock.wall_ms(), self._report.status
        status.pending, status.due = stats.pending, stats.due
        if not any(stats.due) and not waits:
            status.last_current_ms = now_ms
        for priority, oldest_ms in zip(PRIORITIES, stats.oldest_ms, strict=True):
            age_s = max(0.0, (now_ms - oldest_ms) / 1000) if oldest_ms else 0.0
            self._report.instruments.gauge("uploader.lane_age_seconds", age_s, priority=str(priority))

    def _fields(self, upload: Upload, exchange: Exchange, attempt: int) -> dict[str, Any]:
        return self._lines.fields(upload, exchange, self._endpoint, attempt)
