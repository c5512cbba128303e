"""What goes to the server next, and what is learned from how it went.

Most urgent first among fresh samples, then among old ones: a queue is a priority and one of the two. One
turn sends one chunk, so that P0 and P1 go before everything else between any two. While the server is in
trouble nothing is asked of it until the backoff is over, then one request tells. Which queues may go at all
is for mode and budget to say.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import NamedTuple

from common.sample import CRITICAL, HIGH, PRIORITIES
from common.service import Service
from shipper.backlog import Backlog
from shipper.drain import Chunk, Drain
from shipper.http.courier import Courier, Exchange
from shipper.http.outcome import Accepted, BodyRefused, NotWelcome, TryLater
from shipper.pace.mode import FAILURES, REALTIME, Change
from shipper.pace.purse import Purse
from shipper.pace.schedule import Schedule
from shipper.pace.tempo import Tempo
from shipper.report import BUFFER, Report
from shipper.upload import Upload

LOOK_S = 5.0  # a lane that is held back is looked at as often


class Queue(NamedTuple):
    """Samples of a priority, the fresh or the old ones."""

    priority: int
    old: bool


class Dispatch:
    """The queues on their way to the server.

    Args:
        process: whose configuration, log and facts are used.
        drain, courier, report, purse: of the same process.
        suspect: called when the server may have been started anew, with whether there was an outage.

    Attributes:
        schedule: when each lane is due.
        tempo: what is known of the server.
    """

    def __init__(
        self,
        process: Service,
        drain: Drain,
        courier: Courier,
        report: Report,
        purse: Purse,
        suspect: Callable[[bool], None],
    ) -> None:
        self._process = process
        self._drain, self._courier, self._report, self._purse = drain, courier, report, purse
        self._suspect = suspect
        self._backlog = Backlog(process, drain, report, purse)
        self._uploads: dict[Queue, Upload] = {}
        self._reconnects = 0
        phase = random.random()  # noqa: S311 - it spreads load
        self.schedule = Schedule(process.config.settings.remote.priority, time.monotonic(), phase)
        self.start_afresh()

    def start_afresh(self) -> None:
        """Know nothing of the server; what was under way is to be forgotten or accounted for before."""
        self._remote = remote = self._process.config.settings.remote
        self._most_attempts = remote.retry.max_attempts if remote.retry.enabled else 1
        self.tempo = Tempo(remote, time.monotonic(), random.random)
        self._backlog.old = set(PRIORITIES)
        self.schedule.stretch(self.tempo.mode.high_interval_s)
        self._report.serving(remote.enabled, self._courier.transport.endpoint, self.tempo.mode.name)

    @property
    def leases(self) -> list[int]:
        """The numbers of all leases under way."""
        return [upload.lease.number for upload in self._uploads.values()]

    def forget(self) -> list[Chunk]:
        """Drop what is under way, whose leases are void; return what of it the server took and nobody knows of."""
        untold = [chunk for upload in self._uploads.values() if (chunk := upload.untold())]
        self._uploads.clear()
        self._count_retries()
        return untold

    def turn(self) -> float:
        """Do the next thing there is to do; return when the one after it is due, monotonic.

        Raises:
            BufferAwayError, BufferBusyError, LeaseLostError, Interrupted: as the drain and the transport do.
        """
        now_s = time.monotonic()
        if now_s < self.tempo.backoff.until_s:
            self._courier.at_rest()
            return self.tempo.backoff.until_s
        queue = self._next(now_s)
        if queue is None:
            self._courier.at_rest()
            return self._next_s(now_s)
        upload = self._uploads.get(queue) or self._begin(queue)
        if upload is not None:
            self._advance(queue, upload)
        self._count_retries()
        return time.monotonic()

    def look(self) -> None:
        """Ask the buffer for the backlog.

        Raises:
            BufferAwayError, BufferBusyError: as the drain does.
        """
        self._backlog.look(self.tempo.mode, self.tempo.backoff)

    def _lanes(self, now_s: float) -> list[int]:
        holding = self._purse.budget.holding
        return [priority for priority in self.tempo.mode.lanes(now_s) if priority not in holding]

    def _next(self, now_s: float) -> Queue | None:
        """Return the most urgent queue that may go, None while there is none."""
        lanes = self._lanes(now_s)
        fresh = self.schedule.due(now_s, lanes)
        if fresh is not None:
            return Queue(fresh, old=False)
        if now_s < self.tempo.backfill.until_s:
            return None
        old = self._with_old(lanes)
        return Queue(min(old), old=True) if old else None

    def _with_old(self, lanes: list[int]) -> list[int]:
        if not self.tempo.backfill.enabled:
            return []
        return [p for p in lanes if p in self._backlog.old or Queue(p, old=True) in self._uploads]

    def _next_s(self, now_s: float) -> float:
        lanes = self._lanes(now_s)
        times_s = [self.schedule.next_s(lanes), now_s + LOOK_S]
        if self._with_old(lanes):
            times_s.append(self.tempo.backfill.until_s)
        if self.tempo.mode.next_s is not None and self.tempo.mode.next_s > now_s:
            times_s.append(self.tempo.mode.next_s)
        return min(times_s)

    def _begin(self, queue: Queue) -> Upload | None:
        """Lease samples of a queue; None where there are none."""
        horizon_ms = self._backlog.horizon_ms(queue.priority, self.tempo.mode)
        since_ms, before_ms = (None, horizon_ms) if queue.old else (horizon_ms, None)
        lease = self._drain.lease(
            queue.priority, self.tempo.lease(old=queue.old), since_ms=since_ms, before_ms=before_ms
        )
        if lease is None:
            self._rest(queue)
            return None
        upload = Upload(lease, self._drain, self._courier, self._remote.chunk_bytes)
        self._uploads[queue] = upload
        return upload

    def _rest(self, queue: Queue) -> None:
        """A queue has nothing left."""
        if queue.old:
            self._backlog.old.discard(queue.priority)
        else:
            now_s = time.monotonic()
            self.schedule.rest(queue.priority, now_s)
            probe_s = self.tempo.mode.probe_s(now_s)
            if probe_s is not None and queue.priority not in (CRITICAL, HIGH):
                self.schedule.hasten(queue.priority, probe_s)

    def _advance(self, queue: Queue, upload: Upload) -> None:
        """Send one chunk, learn from the answer, tell the buffer."""
        rejected_before, attempt, began_s = upload.rejected, upload.attempt, time.monotonic()
        sent_before = upload.bytes_sent
        exchange = upload.advance(self.tempo.chunk(old=queue.old))
        if exchange is not None:
            self._purse.settle()
            self._learn(queue, upload, exchange, attempt)
            if queue.old:
                self.tempo.backfill.sent(began_s, upload.bytes_sent - sent_before)
        upload.settle()
        self._report.well(BUFFER)
        self._report.rejected(upload.rejected - rejected_before)
        if upload.finished:
            self._end(queue, upload)

    def _learn(self, queue: Queue, upload: Upload, exchange: Exchange, attempt: int) -> None:
        outcome = exchange.outcome
        if isinstance(outcome, Accepted):
            self._report.accepted(upload, exchange, outcome.count, attempt)
            self._succeeded(queue, upload, exchange, outcome.count)
        elif isinstance(outcome, BodyRefused):
            if outcome.too_large:
                self.tempo.too_large(exchange.samples)
            self._report.refused(upload, exchange, attempt)
        else:
            self._failed(queue, upload, exchange, outcome, attempt)

    def _succeeded(self, queue: Queue, upload: Upload, exchange: Exchange, count: int) -> None:
        failures, reconnects = self.tempo.backoff.failures, self._courier.transport.reconnects
        more = upload.lease.full or count < upload.remaining
        whole = count == exchange.samples
        change = self.tempo.taken(exchange, time.monotonic(), old=queue.old, whole=whole, more=more)
        if not queue.old:
            self.schedule.shipped(queue.priority)
        self._changed(change)
        if failures or (change is not None and change.new == REALTIME):
            self.schedule.all_due(time.monotonic())
            self._backlog.old = set(PRIORITIES)
        if failures or reconnects != self._reconnects:
            self._reconnects = reconnects
            self._suspect(failures >= FAILURES)

    def _failed(
        self, queue: Queue, upload: Upload, exchange: Exchange, outcome: TryLater | NotWelcome, attempt: int
    ) -> None:
        """Leave the server alone; after the last attempt of a round the samples are pending again."""
        wait_s, change = self.tempo.failed(outcome, time.monotonic())
        retry_after_s = outcome.retry_after_s if isinstance(outcome, TryLater) else 0.0
        self._report.failed(upload, exchange, attempt, wait_s, retry_after_s)
        self._changed(change)
        if isinstance(outcome, NotWelcome) or upload.attempt > self._most_attempts:
            del self._uploads[queue]
            self._drain.release(upload.lease.number)

    def _changed(self, change: Change | None) -> None:
        """Take over what the mode says now."""
        self.schedule.stretch(self.tempo.mode.high_interval_s)
        if change is not None:
            self._report.mode_changed(change)

    def _end(self, queue: Queue, upload: Upload) -> None:
        del self._uploads[queue]
        self._report.ended(upload)
        if not upload.lease.full:
            self._rest(queue)
            self.look()

    def _count_retries(self) -> None:
        retried = [upload.remaining for upload in self._uploads.values() if upload.attempt > 1]
        self._process.facts["retry_queue_size"] = sum(retried)
