"""The shipper process: build, loop, close; and its steps.

Reads leases and wake-ups from the buffer, emits HTTP requests. While the buffer does not answer, it is asked again
every second. Neither that nor an outage of the server ends the process.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import zmq

from common import lock
from common.config import Config, ConfigError
from common.remote import Remote
from common.service import Service
from shipper.audit import Auditor
from shipper.buffer_client import BufferClient, Chunk
from shipper.buffer_connection import BufferAwayError, BufferBusyError, BufferConnection, LeaseLostError, wake_ups
from shipper.event_uploader import EventUploader, remote_for_events
from shipper.http.client import Exchange, HttpClient
from shipper.http.interrupt import Interrupted
from shipper.http.meter import Meter
from shipper.http.outcome import Accepted
from shipper.http.proof import initially_known
from shipper.http.transport import Transport, open_transport
from shipper.queues import LOOK_S
from shipper.quota import DataQuota
from shipper.report import BUFFER, Report
from shipper.sender import Sender
from shipper.skew import ClockCheck, WallClock
from shipper.urls import health_url

UPLOAD_S = 0.001  # between two chunks: long enough for the loop to look at everything else
PAUSE_S = 1.0  # until the buffer is called again
FIRST_SKEW_S = 1.0  # the first uploads go first
NEXT_SKEW_S = 30.0  # where the server could not be reached: after a boot, the modems come later
FIRST_AUDIT_S = 5.0
QUIET_MARGIN_S = 1.0  # for what is done around a request: building, compressing, judging


def build(options: argparse.Namespace) -> Service:
    """Build the shipper; the frame runs its loop and closes it.

    Raises:
        AlreadyRunning: another shipper has this run directory.
        ConfigError: the token or the certificate authority cannot be used.
    """
    service = Service("shipper", options)
    way = open_transport(service.config, service.log, lambda: service.loop.stopping)
    lock.hold(service.run_dir / "shipper.lock", f"the run directory {service.run_dir}")
    service.publishes()
    Shipper(service, way)
    return service


class _Server(NamedTuple):
    """What is made for one configuration, and made again when that changes."""

    client: HttpClient
    sender: Sender
    audit: Auditor
    clocks: ClockCheck
    events: EventUploader | None


class Shipper:
    """The steps of the shipper on the loop of its service.

    Args:
        service: the frame.
        way: to the server.

    Raises:
        ConfigError: the way to the log server cannot be used.
    """

    def __init__(self, service: Service, way: Transport) -> None:
        settings = service.config.settings
        self._service, self._report = service, Report(service)
        self._connection = BufferConnection(service.run_dir, lambda: service.loop.stopping)
        self._buffer = BufferClient(self._connection.ask)
        file = settings.storage.path.parent / "budget.json"
        self._quota = DataQuota(settings.remote.budget, file, way.meter, self._report)
        self._server = self._connect(service.config, way)
        self._greeted = False
        self._unreported: list[Chunk] = []
        self._announced_s = 0.0
        self._wall_clock = WallClock()
        self._feed = wake_ups(service.run_dir)
        loop, audit_s = service.loop, settings.remote.audit.interval_s
        loop.on_readable(self._feed, self.p0_committed)
        self._upload_timer = loop.every(UPLOAD_S, self.upload)
        loop.every(LOOK_S, self.look, first_s=LOOK_S)
        self._event_timer = loop.every(LOOK_S, self.upload_events, first_s=LOOK_S)
        self._audit_timer = loop.every(audit_s, self.audit, first_s=FIRST_AUDIT_S)
        skew_s = settings.monitoring.clock_skew_check_interval_s
        self._skew_timer = loop.every(skew_s, self.compare_clocks, first_s=FIRST_SKEW_S)
        service.on_reload(self.reload)
        service.on_close(self.close)

    def p0_committed(self) -> None:
        """Send P0 now."""
        while True:
            try:
                self._feed.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                break
        self._server.sender.p0_committed()
        self.upload()

    def upload(self) -> None:
        """Send the next chunk and set the time of the one after it."""
        if not self._remote.enabled:
            self._upload_timer.postpone(time.monotonic() + PAUSE_S)
            return
        next_s = self._guarded(self._turn)
        if next_s > time.monotonic():
            self._service.quiet_s = 0.0
        self._upload_timer.postpone(next_s)
        trouble, self._server.sender.trouble = self._server.sender.trouble, None
        if trouble is not None:
            self._server.audit.suspect(trouble.failed_ms)
            self._audit_timer.postpone(time.monotonic())

    def look(self) -> None:
        """Update the quota and the backlog; compare the clocks again if this one was set."""
        self._quota.settle()
        if self._wall_clock.was_set():
            self._skew_timer.postpone(time.monotonic())
        if self._remote.enabled and self._greeted:
            next_s = self._guarded(self._look)
            if not self._greeted:
                self._upload_timer.postpone(next_s)

    def compare_clocks(self) -> None:
        """Measure the clock skew; while the server is in trouble, afterwards."""
        if not self._may_ask:
            return
        if time.monotonic() < self._wait_until_s:
            self._skew_timer.postpone(self._wait_until_s)
        else:
            if not self._server.clocks.compare():
                self._skew_timer.postpone(time.monotonic() + NEXT_SKEW_S)
            self._service.quiet_s = 0.0

    def audit(self) -> None:
        """Run a step of the audit, unless the server is failing."""
        if self._may_ask and self._greeted and time.monotonic() >= self._wait_until_s:
            self._audit_timer.postpone(self._guarded(lambda: time.monotonic() + self._server.audit.step()))
            self._server.sender.retention_s = self._server.audit.retention_s
            self._service.quiet_s = 0.0

    def upload_events(self) -> None:
        """Send events to the log server, if one is configured."""
        if self._server.events is not None and self._may_ask and self._greeted:
            self._event_timer.postpone(self._guarded(self._server.events.step))
            self._service.quiet_s = 0.0

    def reload(self, config: Config) -> None:
        """Apply a new configuration; unfinished uploads become pending again."""
        try:
            way = open_transport(config, self._service.log, lambda: self._service.loop.stopping, self._meter)
            server = self._connect(config, way)
        except ConfigError as error:
            self._service.log.error("the old server stays in use", errors=error.messages)  # noqa: TRY400
            return
        self._forget_leases()
        self._disconnect()
        self._server = server
        self._quota.configure(config.settings.remote.budget)
        self._skew_timer.interval_s = config.settings.monitoring.clock_skew_check_interval_s
        self._upload_timer.postpone(time.monotonic())

    def close(self) -> None:
        """Release the leases, save the quota and close the sockets."""
        self._connection.close([upload.lease.number for upload in self._server.sender.uploads])
        self._feed.close(linger=0)
        self._disconnect()
        self._quota.settle()
        self._quota.save()

    @property
    def _remote(self) -> Remote:
        return self._server.sender.state.remote

    @property
    def _wait_until_s(self) -> float:
        return self._server.sender.state.wait_until_s

    @property
    def _meter(self) -> Meter:
        return self._server.client.transport.meter

    @property
    def _may_ask(self) -> bool:
        """Whether the server may be asked something that is no upload."""
        return self._remote.enabled and self._server.sender.state.sends and self._quota.quota.allows_questions

    def _connect(self, config: Config, way: Transport) -> _Server:
        """Build the parts that depend on the server.

        Raises:
            ConfigError: the way to the log server cannot be used.
        """
        settings, report = config.settings, self._report
        remote = settings.remote
        client = HttpClient(way, initially_known(remote), health_url(remote.url), self._announce, self._count)
        sender = Sender(settings, self._buffer, client, self._quota, report)
        audit = Auditor(settings, self._buffer, client, report)
        sender.retention_s = audit.retention_s
        report.status.enabled, report.status.endpoint = remote.enabled, way.endpoint
        report.status.mode = sender.state.mode if remote.enabled else "disabled"
        report.show_lanes(config)
        return _Server(
            client,
            sender,
            audit,
            ClockCheck(settings.monitoring, remote.url, client, report),
            self._event_uploader(config, way.meter) if remote.events.url else None,
        )

    def _event_uploader(self, config: Config, meter: Meter) -> EventUploader:
        remote = remote_for_events(config.settings.remote)
        settings = replace(config.settings, remote=remote)
        log, stopping = self._service.log, lambda: self._service.loop.stopping
        way = open_transport(replace(config, settings=settings), log, stopping, meter)
        client = HttpClient(way, initially_known(remote), health_url(remote.url), self._announce, lambda _: None)
        return EventUploader(remote, self._buffer, client, self._report)

    def _disconnect(self) -> None:
        self._server.client.transport.close()
        if self._server.events is not None:
            self._server.events.close()

    def _guarded(self, step: Callable[[], float]) -> float:
        """Run a step that needs the buffer; return when the next one is due."""
        try:
            return step()
        except Interrupted:
            return time.monotonic()  # the loop ends
        except BufferBusyError as error:
            self._report.trouble(BUFFER, error)
        except LeaseLostError as error:
            self._forget_leases()
            self._service.log.info("a lease is void, the buffer was restarted", detail=str(error))
            return time.monotonic()
        except BufferAwayError as error:
            self._forget_leases()
            if not self._service.loop.stopping:
                self._report.trouble(BUFFER, error)
        return time.monotonic() + PAUSE_S

    def _turn(self) -> float:
        if not self._greeted:
            marked = self._buffer.hello(self._unreported)
            if marked:
                self._service.log.info("the buffer marked what the server had accepted before", count=marked)
            self._unreported.clear()
            self._greeted = True
            self._report.well(BUFFER)
        return self._server.sender.turn()

    def _look(self) -> float:
        self._server.sender.look()
        return 0.0

    def _forget_leases(self) -> None:
        """Register with the buffer before anything else: it drops the leases and marks what the server took of them."""
        self._unreported += self._server.sender.forget()
        self._greeted = False

    def _announce(self, longest_s: float) -> None:
        """Announce in a heartbeat that the next one may be late; once per heartbeat interval."""
        quiet_s, now_s = longest_s + QUIET_MARGIN_S, time.monotonic()
        announced = self._service.quiet_s >= quiet_s
        if announced and now_s - self._announced_s < self._service.config.settings.run.heartbeat_interval_s:
            return
        self._service.quiet_s, self._announced_s = quiet_s, now_s
        self._service.beat()

    def _count(self, exchange: Exchange) -> None:
        """Count an upload, and its bytes in the quota."""
        instruments = self._service.instruments
        instruments.observe("uploader.upload_duration_seconds", exchange.duration_s)
        instruments.count("uploader.bytes_sent_total", exchange.bytes_sent)
        if not isinstance(exchange.outcome, Accepted):
            instruments.count("uploader.upload_failures_total", reason=exchange.outcome.reason)
        self._quota.settle()
