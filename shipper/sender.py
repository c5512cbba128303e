"""Send chunks to the server: choose the next one, handle its answer, report to buffer, log and `/health`.

One turn sends one chunk, so that P0 and P1 go before everything else between any two. `queues.py` says which samples
go next, `upload.py` sends one lease, `policy.py` decides what an answer means for the next request; while the server
is in trouble nothing is asked of it until the wait is over, then one request tells.
"""

from __future__ import annotations

import random
import time
from dataclasses import replace
from typing import Any, NamedTuple, TypeAlias

from common import clock
from common.events import Event
from common.remote import JSON
from common.sample import PRIORITIES
from shipper import envelope, jsonl
from shipper.buffer_client import BufferClient, Chunk, Stats
from shipper.http.client import Exchange, HttpClient
from shipper.http.outcome import Accepted, BodyRefused, NotTheServer, NotWelcome, TryLater
from shipper.policy import Decision, Result, decide
from shipper.queues import Queue, Queues
from shipper.quota import DataQuota
from shipper.report import BUFFER, SERVER, Report
from shipper.state import State
from shipper.upload import Upload
from shipper.upload_lines import UploadLines

Failure: TypeAlias = "NotTheServer | NotWelcome | TryLater"

SERVER_DEAD = ("connection", "http_502", "http_503")  # not in a tunnel: there, nobody answers
NEVER_S = 1e9  # the interval of a lane that nobody waits for
MAX_PARKED = 8  # leases with a sample that was refused once; then old samples wait for them


# VictoriaMetrics drops what lies two days ahead of its clock, and answers 204 (lib/storage, maxFutureTimestamp).
FUTURE_MS = 47 * 3_600_000


class UploadError(Exception):
    """An upload failed; the samples are still pending."""


class Trouble(NamedTuple):
    """An outage that is over, or a connection that was dead.

    Attributes:
        failed_ms: since when the server's machine, or a proxy before it, answered that it does not run; Unix ms.
    """

    failed_ms: int | None = None


class Sender:
    """The queues on their way to one server.

    Args:
        state: what is known of the server at the beginning; the configuration is in it.
        queues: which samples go next.
        buffer: gives leases.
        client: takes bodies to the server.
        quota: says who waits for the end of a day or month.
        report: takes what people hear.

    Attributes:
        state: what is known of the server.
        trouble: the server may have been started again; who looks sets it back.
    """

    def __init__(
        self, state: State, queues: Queues, buffer: BufferClient, client: HttpClient, quota: DataQuota, report: Report
    ) -> None:
        self.state = state
        self.trouble: Trouble | None = None
        self._failed_ms: int | None = None
        self._queues, self._buffer, self._client, self._quota, self._report = queues, buffer, client, quota, report
        self._uploads: dict[Queue, Upload] = {}
        self._parked: list[tuple[Queue, Upload]] = []
        self._reconnects = client.transport.reconnects
        self._lines = UploadLines(report.log)
        queues.schedule.stretch(state.high_interval_s)

    @property
    def uploads(self) -> list[Upload]:
        """All that is under way."""
        return [*self._uploads.values(), *(upload for _, upload in self._parked)]

    def forget(self) -> list[Chunk]:
        """Drop what is under way, whose leases are void; return what of it the server took and nobody knows of."""
        unreported = [chunk for upload in self.uploads for chunk in upload.unreported()]
        self._uploads.clear()
        self._parked.clear()
        self._count_retries()
        return unreported

    def p0_committed(self) -> None:
        """Send P0 as soon as its interval allows."""
        self._queues.schedule.wake(time.monotonic())

    def turn(self) -> float:
        """Do the next thing there is to do; return when the one after it is due, monotonic.

        Raises:
            BufferAwayError, BufferBusyError, LeaseLostError, Interrupted: as the buffer's and HTTP's clients do.
        """
        now_s = time.monotonic()
        if now_s < self.state.wait_until_s:
            return self.state.wait_until_s
        self._unpark(now_s)
        lanes, state = self._lanes(now_s), self.state
        if len(self._parked) >= MAX_PARKED:
            state = replace(state, old_until_s=max(state.old_until_s, self._unpark_s()))
        queue = self._queues.next(lanes, state, now_s, self._uploads)
        if queue is None:
            return min(self._queues.next_s(lanes, state, now_s, self._uploads), self._unpark_s())
        upload = self._uploads.get(queue) or self._begin(queue)
        if upload is not None:
            self._advance(queue, upload)
        self._count_retries()
        return time.monotonic()

    def look(self) -> None:
        """Ask the buffer for the backlog and report it; what a mode, quota or the operator holds back is not late.

        Raises:
            BufferAwayError, BufferBusyError: as the buffer's client does.
        """
        remote, held = self.state.remote, self.state.held.union(self._quota.quota.holding)
        stats = self._buffer.stats([NEVER_S if p in held else remote.lanes.interval_s(p) for p in PRIORITIES])
        horizons_ms = [self._queues.horizon_ms(priority, self.state) for priority in PRIORITIES]
        self._queues.old = {p for p in PRIORITIES if (oldest_ms := stats.oldest_ms[p]) and oldest_ms < horizons_ms[p]}
        if not remote.backfill.enabled and any(stats.due):
            old = self._buffer.stats([self._queues.fresh_s(priority, self.state) for priority in PRIORITIES]).due
            stats = stats._replace(due=[max(0, due - gone) for due, gone in zip(stats.due, old, strict=True)])
        self._report_backlog(stats)

    def _lanes(self, now_s: float) -> list[int]:
        return [priority for priority in self.state.lanes(now_s) if priority not in self._quota.quota.holding]

    def _begin(self, queue: Queue) -> Upload | None:
        """Lease samples of a queue; None where there are none."""
        since_ms, before_ms = self._queues.span_ms(queue, self.state)
        latest_ms = latest_taken_ms(self._report.status.skew_ms, clock.wall_ms())
        if latest_ms is not None:
            before_ms = latest_ms if before_ms is None else min(before_ms, latest_ms)
        most = self.state.lease(old=queue.old)
        lease = self._buffer.lease(queue.priority, most, since_ms=since_ms, before_ms=before_ms)
        if lease is None:
            self._queues.rest(queue, self.state, time.monotonic())
            return None
        remote = self.state.remote
        encode = envelope.body if remote.type == JSON else jsonl.body
        upload = Upload(lease, self._buffer, self._client, remote.chunk_bytes, encode)
        self._uploads[queue] = upload
        return upload

    def _advance(self, queue: Queue, upload: Upload) -> None:
        """Send one chunk, act on the answer, tell the buffer."""
        rejected_before, attempt = upload.rejected, upload.attempt
        exchange = upload.advance(self.state.chunk(old=queue.old))
        if exchange is not None:
            self._act(queue, upload, exchange, attempt)
        upload.settle()
        self._report.well(BUFFER)
        self._report_rejected(upload.rejected - rejected_before)
        if upload.finished or upload.parked_until_s is not None:
            self._end(queue, upload)

    def _act(self, queue: Queue, upload: Upload, exchange: Exchange, attempt: int) -> None:
        """Do what the policy says of an answer."""
        outcome, now_s = exchange.outcome, time.monotonic()
        more = upload.lease.full or upload.remaining > 0
        result = Result(
            outcome, exchange.samples, exchange.bytes_sent, exchange.duration_s, queue.old, more, attempt,
            random.random(),  # noqa: S311 - it spreads load
        )  # fmt: skip
        mode, decision = self.state.mode, decide(self.state, result, now_s)
        self.state = decision.state
        self._queues.schedule.stretch(self.state.high_interval_s)
        if isinstance(outcome, Accepted):
            self._succeeded(queue, upload, exchange, attempt)
        elif isinstance(outcome, BodyRefused):
            self._report_refused(upload, exchange, attempt)
        else:
            self._failed(upload, exchange, outcome, decision, attempt)
        self._report_mode(mode, decision)
        if decision.send_all:
            self._queues.send_all(now_s)
            self.trouble, self._failed_ms = Trouble(self._failed_ms), None
        if decision.release and self._uploads.get(queue) is upload:
            del self._uploads[queue]
            self._buffer.release(upload.lease.number, upload.doubtful)

    def _succeeded(self, queue: Queue, upload: Upload, exchange: Exchange, attempt: int) -> None:
        if not queue.old:
            self._queues.schedule.shipped(queue.priority)
        if self._reconnects != self._client.transport.reconnects:  # the server's end of it may have died
            self._reconnects, self.trouble = self._client.transport.reconnects, self.trouble or Trouble()
        count, status = exchange.outcome.count if isinstance(exchange.outcome, Accepted) else 0, self._report.status
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

    def _failed(self, upload: Upload, exchange: Exchange, outcome: Failure, decision: Decision, attempt: int) -> None:
        status, wait_ms = self._report.status, round(1000 * decision.wait_s)
        status.upload_failures += 1
        if outcome.reason in SERVER_DEAD and self._failed_ms is None:
            self._failed_ms = clock.wall_ms()
        status.backoff_until_ms = clock.wall_ms() + wait_ms
        status.refusal = exchange.detail if isinstance(outcome, (NotWelcome, NotTheServer)) else None
        fields = {**self._fields(upload, exchange, attempt), "backoff_ms": wait_ms}
        if not isinstance(outcome, NotWelcome) and outcome.retry_after_s:
            fields["retry_after_sec"] = outcome.retry_after_s
        self._report.trouble(SERVER, UploadError(f"upload failed, {exchange.detail}"), **fields)

    def _end(self, queue: Queue, upload: Upload) -> None:
        """Take a finished upload off its queue; one that waits for a refused sample is tried again later."""
        if self._uploads.get(queue) is upload:
            del self._uploads[queue]
        if not upload.finished:
            self._parked.append((queue, upload))
            return
        self._lines.ended(upload, self._client.transport.endpoint, time.monotonic())
        if not upload.lease.full:
            self._queues.rest(queue, self.state, time.monotonic())
            self.look()

    def _unpark(self, now_s: float) -> None:
        """Try again what was refused once, when its minute is over."""
        for queue, upload in list(self._parked):
            until_s = upload.parked_until_s
            if (until_s is None or until_s <= now_s) and now_s >= self.state.wait_until_s:
                self._parked.remove((queue, upload))
                self._advance(queue, upload)

    def _unpark_s(self) -> float:
        times_s = [upload.parked_until_s or 0.0 for _, upload in self._parked]
        return min(times_s, default=float("inf"))

    def _count_retries(self) -> None:
        self._report.status.retry_queue_size = sum(u.remaining for u in self.uploads if u.attempt > 1)

    def _report_mode(self, before: str, decision: Decision) -> None:
        for event in decision.events:
            self._report.event(event)
        new = decision.state.mode
        if new != before:
            self._report.status.mode = new
            self._report.instruments.count("uploader.mode_changes_total", mode=new)
            why = next(event.text for event in decision.events if event.kind == "mode_changed").partition(": ")[2]
            self._report.log.info("mode changed", **{"from": before, "to": new, "why": why})

    def _report_refused(self, upload: Upload, exchange: Exchange, attempt: int) -> None:
        self._report.status.upload_failures += 1
        fields = self._fields(upload, exchange, attempt)
        self._report.log.throttled_warning(
            "refused", "a body was refused, looking closer", error=exchange.detail, **fields
        )

    def _report_rejected(self, count: int) -> None:
        if count:
            self._report.event(Event("samples_refused", f"the server refused {count} samples for good"))
        self._report.instruments.count("uploader.rejected_samples_total", count)

    def _report_backlog(self, stats: Stats) -> None:
        now_ms, status = clock.wall_ms(), self._report.status
        status.pending, status.due = stats.pending, stats.due
        if not any(stats.due) and time.monotonic() >= self.state.wait_until_s:
            status.last_current_ms = now_ms
        for priority, oldest_ms in zip(PRIORITIES, stats.oldest_ms, strict=True):
            age_s = max(0.0, (now_ms - oldest_ms) / 1000) if oldest_ms else 0.0
            self._report.instruments.gauge("uploader.lane_age_seconds", age_s, priority=str(priority))

    def _fields(self, upload: Upload, exchange: Exchange, attempt: int) -> dict[str, Any]:
        return self._lines.fields(upload, exchange, self._client.transport.endpoint, attempt)


def latest_taken_ms(skew_ms: int | None, now_ms: int) -> int | None:
    """Return before which time the server takes samples, by its own clock; None where this one agrees or nobody knows.

    Args:
        skew_ms: how far the local clock is ahead of the server's.
        now_ms: the local clock, Unix milliseconds.
    """
    return now_ms - skew_ms + FUTURE_MS if skew_ms is not None and skew_ms > FUTURE_MS else None
