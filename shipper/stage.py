"""The shipper as a process: when a lane is due, lease its samples, take them to the server, account for them.

Reads leases from the buffer and its wake-ups, emits HTTP requests. One step sends one chunk, so that P0 and
P1 go before P2 between any two. While the server is in trouble nothing is asked of it until the backoff is
over, then one request tells. While the buffer is away it is called again every second. Neither ends the
process.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable

import zmq

from common import lock
from common.config import Config, ConfigError
from common.process import Process
from common.sample import PRIORITIES
from shipper.audit import Audit
from shipper.backoff import Backoff
from shipper.courier import Courier, Exchange
from shipper.drain import BufferAwayError, BufferBusyError, Drain, LeaseLostError, Link, wake_ups
from shipper.interrupt import Interrupted
from shipper.outcome import Accepted, BodyRefused, NotWelcome, TryLater
from shipper.report import BUFFER, Report
from shipper.schedule import MAX_CHUNK_SAMPLES, Pace, Schedule
from shipper.skew import ClockCheck
from shipper.transport import Transport, open_transport
from shipper.upload import Upload

TURN_S = 0.001  # between two chunks: long enough for the loop to look at everything else
PAUSE_S = 1.0  # until the buffer is called again
STATS_S = 5.0
FIRST_SKEW_S = 1.0  # the first uploads go first
FIRST_AUDIT_S = 5.0


class Stage:
    """The steps of the shipper's process."""

    def __init__(self, process: Process, transport: Transport) -> None:
        settings = process.config.settings
        self._process = process
        self._remote = settings.remote
        self._link = Link(process.run_dir, self._is_stopping)
        self._drain = Drain(self._link.ask)
        self._courier = Courier(process, transport)
        self._clocks = ClockCheck(process, self._courier)
        self._report = Report(process)
        self._schedule = Schedule(settings.remote.priority, time.monotonic())
        self._uploads: dict[int, Upload] = {}
        self._greeted = False
        self._reconnects = 0
        self._start_afresh()
        self._feed = wake_ups(process.run_dir)
        process.loop.on_readable(self._feed, self.woken)
        self._timer = process.loop.every(TURN_S, self.work)
        process.loop.every(STATS_S, self.look, first_s=STATS_S)
        interval_s = settings.monitoring.clock_skew_check_interval_s
        self._audit = Audit(process, self._drain, self._courier)
        self._audit_timer = process.loop.every(settings.remote.audit.interval_s, self.audit, first_s=FIRST_AUDIT_S)
        self._skew_timer = process.loop.every(interval_s, self.compare_clocks, first_s=FIRST_SKEW_S)
        process.on_reload(self.reload)
        process.on_close(self.close)

    def woken(self) -> None:
        """P0 was committed: send it now."""
        while True:
            try:
                self._feed.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                break
        self._schedule.wake(time.monotonic())
        self.work()

    def work(self) -> None:
        """Do the next thing there is to do and set the time for the one after it."""
        if self._remote.enabled:
            self._timer.postpone(self._guarded(self._turn))
        else:
            self._timer.postpone(time.monotonic() + PAUSE_S)

    def look(self) -> None:
        """Ask the buffer for the backlog."""
        if self._remote.enabled and self._greeted:
            next_s = self._guarded(self._look)
            if not self._greeted:
                self._timer.postpone(next_s)

    def compare_clocks(self) -> None:
        """Measure the clock skew; while the server is in trouble, afterwards."""
        if not self._remote.enabled:
            return
        if time.monotonic() < self._backoff.until_s:
            self._skew_timer.postpone(self._backoff.until_s)
        else:
            self._clocks.compare()

    def audit(self) -> None:
        """Compare what was uploaded with what the server has; not while there is trouble with it."""
        if self._remote.enabled and self._greeted and time.monotonic() >= self._backoff.until_s:
            self._audit_timer.postpone(self._guarded(self._compare))

    def reload(self, config: Config) -> None:
        """Take over another server, token, retry or lanes; what is under way goes back to pending."""
        try:
            transport = open_transport(config, self._process.log, self._is_stopping)
        except ConfigError as error:
            self._process.log.error("the old server stays in use", errors=error.messages)  # noqa: TRY400
            return
        self._courier.transport.close()
        self._courier.transport = transport
        self._remote = config.settings.remote
        self._forget_leases()
        self._start_afresh()
        self._schedule.configure(self._remote.priority, time.monotonic())
        self._skew_timer.interval_s = config.settings.monitoring.clock_skew_check_interval_s
        self._timer.postpone(time.monotonic())

    def close(self) -> None:
        """Give back what is under way and let go of the sockets."""
        self._link.close([upload.lease.number for upload in self._uploads.values()])
        self._feed.close(linger=0)
        self._courier.transport.close()

    def _is_stopping(self) -> bool:
        return self._process.loop.stopping

    def _start_afresh(self) -> None:
        """Know nothing of the server."""
        retry = self._remote.retry
        self._most_attempts = retry.max_attempts if retry.enabled else 1
        self._backoff = Backoff(retry, random.random)
        self._pace = Pace(self._remote.chunk_size, self._remote.chunk_bytes)
        self._report.serving(self._remote.enabled, self._courier.transport.endpoint)

    def _guarded(self, step: Callable[[], float]) -> float:
        """Do a step that needs the buffer; return when the next one is due."""
        try:
            return step()
        except Interrupted:
            return time.monotonic()  # the loop ends
        except BufferBusyError as error:
            self._report.trouble(BUFFER, error)
        except BufferAwayError as error:
            self._forget_leases()
            if not self._process.loop.stopping:
                self._report.trouble(BUFFER, error)
        return time.monotonic() + PAUSE_S

    def _turn(self) -> float:
        if not self._greeted:
            self._drain.hello()
            self._greeted = True
            self._report.well(BUFFER)
        now_s = time.monotonic()
        priority = self._schedule.due(now_s)
        if priority is None or now_s < self._backoff.until_s:
            self._courier.at_rest()
            return max(self._schedule.next_s(), self._backoff.until_s)
        try:
            upload = self._uploads.get(priority) or self._begin(priority)
            if upload is not None:
                self._advance(upload)
        except LeaseLostError as error:
            self._uploads.pop(priority, None)
            self._process.log.info("a lease is void, the buffer was started anew", detail=str(error))
        self._count_retries()
        return time.monotonic()

    def _begin(self, priority: int) -> Upload | None:
        most = max(min(self._remote.batch_size, MAX_CHUNK_SAMPLES), self._pace.samples)
        lease = self._drain.lease(priority, most)
        if lease is None:
            self._schedule.rest(priority, time.monotonic())
            return None
        upload = Upload(lease, self._drain, self._courier, self._remote.chunk_bytes)
        self._uploads[priority] = upload
        return upload

    def _advance(self, upload: Upload) -> None:
        """Send one chunk, learn from the answer, tell the buffer."""
        rejected_before, attempt = upload.rejected, upload.attempt
        exchange = upload.advance(self._pace.samples)
        if exchange is not None:
            self._learn(upload, exchange, attempt)
        upload.settle()
        self._report.well(BUFFER)
        self._report.rejected(upload.rejected - rejected_before)
        if upload.finished:
            self._end(upload)

    def _learn(self, upload: Upload, exchange: Exchange, attempt: int) -> None:
        outcome = exchange.outcome
        if isinstance(outcome, Accepted):
            self._report.accepted(upload, exchange, outcome.count, attempt)
            self._succeeded(upload, exchange, outcome.count)
        elif isinstance(outcome, BodyRefused):
            if outcome.too_large:
                self._pace.too_large(exchange.samples)
            self._report.refused(upload, exchange, attempt)
        elif isinstance(outcome, TryLater):
            wait_s = self._backoff.failed(time.monotonic(), outcome.retry_after_s)
            self._report.failed(upload, exchange, attempt, wait_s, outcome.retry_after_s)
            self._failed(upload, final=upload.attempt > self._most_attempts)
        elif isinstance(outcome, NotWelcome):
            wait_s = self._backoff.refused(time.monotonic())
            self._report.failed(upload, exchange, attempt, wait_s, 0.0)
            self._failed(upload, final=True)

    def _succeeded(self, upload: Upload, exchange: Exchange, count: int) -> None:
        if self._backoff.failures:
            self._backoff.succeeded()
            self._schedule.all_due(time.monotonic())
            self._suspect()
        elif self._courier.transport.reconnects != self._reconnects:
            self._suspect()
        self._schedule.shipped(upload.lease.priority)
        behind = upload.lease.full or count < upload.remaining
        if behind and count == exchange.samples:
            self._pace.succeeded(exchange.samples, exchange.bytes_sent)

    def _suspect(self) -> None:
        """Have the audit look soon whether the server was started anew."""
        self._reconnects = self._courier.transport.reconnects
        self._audit.suspect()
        self._audit_timer.postpone(time.monotonic())

    def _failed(self, upload: Upload, *, final: bool) -> None:
        """Begin with little next time; after the last attempt of a round its samples are pending again."""
        self._pace.failed()
        if final:
            del self._uploads[upload.lease.priority]
            self._drain.release(upload.lease.number)

    def _end(self, upload: Upload) -> None:
        del self._uploads[upload.lease.priority]
        self._report.ended(upload)
        if not upload.lease.full:
            self._schedule.rest(upload.lease.priority, time.monotonic())
            self._look()

    def _compare(self) -> float:
        return time.monotonic() + self._audit.step()

    def _look(self) -> float:
        stats = self._drain.stats([self._remote.priority.interval_s(priority) for priority in PRIORITIES])
        self._process.facts["ignored_replies"] = self._link.ignored
        self._report.backlog(stats, current=not any(stats.due) and time.monotonic() >= self._backoff.until_s)
        return 0.0

    def _count_retries(self) -> None:
        retried = [upload.remaining for upload in self._uploads.values() if upload.attempt > 1]
        self._process.facts["retry_queue_size"] = sum(retried)

    def _forget_leases(self) -> None:
        """Say hello before anything else, which voids them."""
        self._uploads.clear()
        self._greeted = False
        self._count_retries()


def build(options: argparse.Namespace) -> Process:
    """Build the shipper's process.

    Raises:
        AlreadyRunning: another shipper has this run directory.
        ConfigError: the token or the certificate authority cannot be used.
    """
    process = Process("shipper", options)
    transport = open_transport(process.config, process.log, lambda: process.loop.stopping)
    lock.hold(process.run_dir / "shipper.lock", f"the run directory {process.run_dir}")
    Stage(process, transport)
    return process
