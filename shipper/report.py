"""What the shipper says of itself: counters, gauges, what `/health` shows, and one log line per round.

Failures go through `Service.failed`, which throttles them and carries the last one in the heartbeat. Trouble
with the buffer and trouble with the server end separately.
"""

from __future__ import annotations

import time
from typing import Any

from common import clock
from common.events import Event
from common.sample import PRIORITIES
from common.service import Service
from shipper.away import Away
from shipper.drain import Stats
from shipper.http.courier import Exchange
from shipper.pace.mode import DEGRADED, OFFLINE, REALTIME, Change
from shipper.upload import Upload

BUFFER, SERVER = "buffer", "server"


class UploadError(Exception):
    """An upload failed; the samples are still pending."""


class Report:
    """The shipper's books, on the instruments and facts of its process."""

    def __init__(self, process: Service) -> None:
        self._process = process
        self._trouble = ""
        self._away = Away(process.event)
        for name in ("metrics_uploaded", "upload_failures", "partial_success", "bytes_sent", "rejected_samples"):
            process.instruments.count(f"uploader.{name}_total", 0)
        for mode in (REALTIME, DEGRADED, OFFLINE):
            process.instruments.count("uploader.mode_changes_total", 0, mode=mode)
        process.facts.update(
            kind="shipper",
            last_upload_ms=None,
            last_current_ms=clock.wall_ms(),
            metrics_uploaded=0,
            upload_failures=0,
            pending=None,
            due=None,
            oldest_ms=None,
            retry_queue_size=0,
            last_http_status=None,
            backoff_until_ms=None,
        )

    def serving(self, enabled: bool, endpoint: str, mode: str) -> None:
        """Say where samples go, if they go."""
        self._process.facts.update(enabled=enabled, mode=mode if enabled else "disabled", endpoint=endpoint)

    def mode_changed(self, change: Change) -> None:
        """Say that another mode is in force."""
        self._process.facts["mode"] = change.new
        self._process.instruments.count("uploader.mode_changes_total", mode=change.new)
        self._process.log.info("mode changed", **{"from": change.old, "to": change.new, "why": change.why})
        self._process.event(Event("mode_changed", f"from {change.old} to {change.new}: {change.why}"))

    def accepted(self, upload: Upload, exchange: Exchange, count: int, attempt: int) -> None:
        """A body was accepted, or the first `count` samples of it."""
        facts, instruments = self._process.facts, self._process.instruments
        facts["last_upload_ms"] = facts["last_current_ms"] = clock.wall_ms()
        facts["backoff_until_ms"] = None
        facts["metrics_uploaded"] += count
        instruments.count("uploader.metrics_uploaded_total", count)
        if count < exchange.samples:
            instruments.count("uploader.partial_success_total")
            self._process.log.throttled_warning(
                "partial",
                "the server took a part of a chunk",
                accepted=count,
                **self._fields(upload, exchange, attempt),
            )
        self._process.log.debug("chunk uploaded", **self._fields(upload, exchange, attempt))
        self.well(SERVER)
        self._away.over(time.monotonic())

    def refused(self, upload: Upload, exchange: Exchange, attempt: int) -> None:
        """A body was refused and is looked into."""
        self._process.facts["upload_failures"] += 1
        self._process.log.throttled_warning(
            "refused",
            "a body was refused, looking closer",
            error=exchange.detail,
            **self._fields(upload, exchange, attempt),
        )

    def failed(self, upload: Upload, exchange: Exchange, attempt: int, wait_s: float, retry_after_s: float) -> None:
        """A request failed; the server is left alone for a while."""
        self._process.facts["upload_failures"] += 1
        self._process.facts["backoff_until_ms"] = clock.wall_ms() + round(1000 * wait_s)
        asked = {"retry_after_sec": retry_after_s} if retry_after_s else {}
        fields = {**self._fields(upload, exchange, attempt), "backoff_ms": round(1000 * wait_s), **asked}
        self.trouble(SERVER, UploadError(f"upload failed, {exchange.detail}"), **fields)
        self._away.failed(exchange.detail, time.monotonic())

    def rejected(self, count: int) -> None:
        """Samples were put aside for good."""
        if count:
            self._process.event(Event("samples_refused", f"the server refused {count} samples for good"))
        self._process.instruments.count("uploader.rejected_samples_total", count)

    def ended(self, upload: Upload) -> None:
        """All of a lease is accounted for."""
        self._process.log.info(
            "uploaded",
            batch_id=upload.batch_id,
            priority=upload.lease.priority,
            count=upload.accepted,
            rejected=upload.rejected,
            chunks=upload.chunk_index,
            bytes_sent=upload.bytes_sent,
            duration_ms=round(1000 * (time.monotonic() - upload.began_s), 1),
            endpoint=self._process.facts["endpoint"],
            http_status=self._process.facts["last_http_status"],
        )

    def backlog(self, stats: Stats, current: bool) -> None:
        """Say what waits in the buffer; `current` tells that nothing waits longer than it may."""
        now_ms = clock.wall_ms()
        self._process.facts.update(pending=stats.pending, due=stats.due, oldest_ms=stats.oldest_ms)
        if current:
            self._process.facts["last_current_ms"] = now_ms
        for priority, oldest_ms in zip(PRIORITIES, stats.oldest_ms, strict=True):
            age_s = max(0.0, (now_ms - oldest_ms) / 1000) if oldest_ms else 0.0
            self._process.instruments.gauge("uploader.lane_age_seconds", age_s, priority=str(priority))

    def trouble(self, where: str, error: Exception, **fields: Any) -> None:
        """Carry a failure in the heartbeat until `well` is said of the same place."""
        self._trouble = where
        self._process.failed(error, **fields)

    def well(self, where: str) -> None:
        """Forget the trouble of a place."""
        if self._trouble == where:
            self._trouble = ""
            self._process.worked()

    def _fields(self, upload: Upload, exchange: Exchange, attempt: int) -> dict[str, Any]:
        return {
            "batch_id": upload.batch_id,
            "chunk_index": upload.chunk_index,
            "attempt": attempt,
            "count": exchange.samples,
            "endpoint": self._process.facts["endpoint"],
            "http_status": exchange.status or None,
            "bytes_sent": exchange.bytes_sent,
            "bytes_rcvd": exchange.bytes_rcvd,
            "duration_ms": round(1000 * exchange.duration_s, 1),
        }
