"""Send chunks to the server: choose the next one, handle its answer, report to buffer, log and `/health`.

One turn sends one chunk, so that P0 and P1 go before everything else between any two. `queues.py` says which samples
go next, `upload.py` sends one lease, `policy.py` decides what an answer means for the next request; while the server
is in trouble nothing is asked of it until the wait is over, then one request tells.
"""

from __future__ import annotations

import math
import random
import time
from dataclasses import replace
from typing import NamedTuple

from common import clock
from common.remote import JSON
from common.sample import CRITICAL, PRIORITIES
from common.settings import Settings
from shipper import envelope, jsonl
from shipper.buffer_client import BufferClient, Chunk
from shipper.http.client import Exchange, HttpClient
from shipper.http.outcome import Accepted, BodyRefused
from shipper.policy import Decision, Result, decide
from shipper.queues import Queue, Queues
from shipper.quota import DataQuota
from shipper.report import Report
from shipper.state import initial
from shipper.upload import Upload
from shipper.upload_report import Failure, UploadReport

SERVER_DEAD = ("connection", "http_502", "http_503")  # not in a tunnel: there, nobody answers
NEVER_S = 1e9  # the interval of a lane that nobody waits for
MAX_PARKED = 8  # leases with a sample that was refused once; then old samples wait for them
# VictoriaMetrics drops what lies two days ahead of its clock, and answers 204 (lib/storage, maxFutureTimestamp).
FUTURE_MS = 47 * 3_600_000
ON_THE_WAY_S = 60.0  # a sample gets older until it is there


class Trouble(NamedTuple):
    """An outage that is over, or a connection that was dead.

    Attributes:
        failed_ms: since when the server's machine, or a proxy before it, answered that it does not run; Unix ms.
    """

    failed_ms: int | None = None


class Sender:
    """The queues on their way to one server.

    Args:
        settings: of all sections.
        buffer: gives leases.
        client: takes bodies to the server.
        quota: says who waits for the end of a day or month.
        report: takes what people hear.

    Attributes:
        state: what is known of the server.
        trouble: the server may have been started again; whoever checks resets it.
        retention_s: how long the server keeps samples: it would acknowledge older ones, and drop them.
    """

    def __init__(
        self, settings: Settings, buffer: BufferClient, client: HttpClient, quota: DataQuota, report: Report
    ) -> None:
        remote, now_s = settings.remote, time.monotonic()
        phase = random.random()  # noqa: S311 - it spreads load
        self.state = initial(remote, now_s)
        self.trouble: Trouble | None = None
        self.retention_s = math.inf
        self._failed_ms: int | None = None
        self._queues = Queues(remote.lanes, settings.storage.commit_interval_s, now_s, phase)
        self._buffer, self._client, self._quota = buffer, client, quota
        self._report = UploadReport(report, client.transport.endpoint)
        self._uploads: dict[Queue, Upload] = {}
        self._parked: list[tuple[Queue, Upload]] = []
        self._reconnects = client.transport.reconnects
        self._queues.schedule.stretch(self.state.high_interval_s)

    @property
    def uploads(self) -> list[Upload]:
        """All unfinished uploads."""
        return [*self._uploads.values(), *(upload for _, upload in self._parked)]

    def forget(self) -> list[Chunk]:
        """Drop all uploads, whose leases are void; return accepted chunks that the buffer does not know of."""
        unreported = [chunk for upload in self.uploads for chunk in upload.unreported()]
        self._uploads.clear()
        self._parked.clear()
        self._count_retries()
        return unreported

    def p0_committed(self) -> None:
        """Send P0 as soon as its interval allows."""
        self._queues.schedule.wake(time.monotonic())

    def turn(self) -> float:
        """Send the next chunk; return when the one after it is due, monotonic.

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
        """Ask the buffer for the backlog and report it; samples held back by mode or quota are not late.

        Raises:
            BufferAwayError, BufferBusyError: as the buffer's client does.
        """
        remote, held = self.state.remote, self.state.held.union(self._quota.quota.holding)
        stats = self._buffer.stats([NEVER_S if p in held else remote.lanes.interval_s(p) for p in PRIORITIES])
        if stats.pending[CRITICAL]:
            self._queues.schedule.wake(time.monotonic())
        horizons_ms = [self._queues.horizon_ms(priority, self.state) for priority in PRIORITIES]
        self._queues.old = {p for p in PRIORITIES if (oldest_ms := stats.oldest_ms[p]) and oldest_ms < horizons_ms[p]}
        if not remote.backfill.enabled and any(stats.due):
            old = self._buffer.stats([self._queues.fresh_s(priority, self.state) for priority in PRIORITIES]).due
            stats = stats._replace(due=[max(0, due - gone) for due, gone in zip(stats.due, old, strict=True)])
        self._report.backlog(stats, waits=time.monotonic() < self.state.wait_until_s)

    def _lanes(self, now_s: float) -> list[int]:
        return [priority for priority in self.state.lanes(now_s) if priority not in self._quota.quota.holding]

    def _begin(self, queue: Queue) -> Upload | None:
        """Lease samples of a queue; None where there are none."""
        span = self._queues.span_ms(queue, self.state)
        since_ms, before_ms = taken_ms(span, clock.wall_ms(), self._report.skew_ms, self.retention_s)
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
        self._report.rejected(upload.rejected - rejected_before)
        if upload.finished or upload.parked_until_s is not None:
            self._end(queue, upload)

    def _act(self, queue: Queue, upload: Upload, exchange: Exchange, attempt: int) -> None:
        """Apply the policy's decision on an answer."""
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
            self._report.refused(upload, exchange, attempt)
        else:
            self._failed(upload, exchange, outcome, decision, attempt)
        self._report.mode(mode, decision)
        if decision.send_all:
            self._queues.send_all(now_s)
            self.trouble, self._failed_ms = Trouble(self._failed_ms), None
        if decision.release and self._uploads.get(queue) is upload:
            del self._uploads[queue]
            self._buffer.release(upload.lease.number, upload.doubtful)

    def _succeeded(self, queue: Queue, upload: Upload, exchange: Exchange, attempt: int) -> None:
        if not queue.old:
            self._queues.schedule.uploaded(queue.priority)
        if self._reconnects != self._client.transport.reconnects:  # the server's end of it may have died
            self._reconnects, self.trouble = self._client.transport.reconnects, self.trouble or Trouble()
        self._report.succeeded(upload, exchange, attempt)

    def _failed(self, upload: Upload, exchange: Exchange, outcome: Failure, decision: Decision, attempt: int) -> None:
        if outcome.reason in SERVER_DEAD and self._failed_ms is None:
            self._failed_ms = clock.wall_ms()
        self._report.failed(upload, exchange, outcome, decision.wait_s, attempt)

    def _end(self, queue: Queue, upload: Upload) -> None:
        """Remove a finished upload from its queue; park one that waits for a refused sample."""
        if self._uploads.get(queue) is upload:
            del self._uploads[queue]
        if not upload.finished:
            self._parked.append((queue, upload))
            return
        self._report.ended(upload)
        if not upload.lease.full:
            self._queues.rest(queue, self.state, time.monotonic())
            self.look()

    def _unpark(self, now_s: float) -> None:
        """Retry the parked uploads whose minute is over."""
        for queue, upload in list(self._parked):
            until_s = upload.parked_until_s
            if (until_s is None or until_s <= now_s) and now_s >= self.state.wait_until_s:
                self._parked.remove((queue, upload))
                self._advance(queue, upload)

    def _unpark_s(self) -> float:
        times_s = [upload.parked_until_s or 0.0 for _, upload in self._parked]
        return min(times_s, default=float("inf"))

    def _count_retries(self) -> None:
        self._report.retrying(sum(upload.remaining for upload in self.uploads if upload.attempt > 1))


def taken_ms(
    span: tuple[int | None, int | None], now_ms: int, skew_ms: int | None, retention_s: float
) -> tuple[int | None, int | None]:
    """Return the part of a span of time of which the server takes samples, by its own clock; None is no limit.

    Args:
        span: from which time on, and before which.
        now_ms: the local clock, Unix milliseconds.
        skew_ms: how far it is ahead of the server's; None where nobody knows.
        retention_s: how long the server keeps samples.
    """
    (since_ms, before_ms), server_ms = span, now_ms - (skew_ms or 0)
    if skew_ms is not None and skew_ms > FUTURE_MS:
        before_ms = min(before_ms or server_ms + FUTURE_MS, server_ms + FUTURE_MS)
    if retention_s != math.inf:
        since_ms = max(since_ms or 0, server_ms - round(1000 * (retention_s - ON_THE_WAY_S)))
    return since_ms, before_ms
