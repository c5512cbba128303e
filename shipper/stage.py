"""The shipper as a process: its steps on the loop, and how they get along with the buffer and the operator.

Reads leases from the buffer and its wake-ups, emits HTTP requests. What goes when is for `dispatch.py`; while
the buffer is away it is called again every second. Neither that nor an outage ends the process.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import zmq

from common import lock
from common.config import Config, ConfigError
from common.service import Service
from shipper.audit import Audit
from shipper.dispatch import LOOK_S, Dispatch
from shipper.drain import Chunk, Drain
from shipper.event_log import EventLog
from shipper.http.courier import Courier
from shipper.http.interrupt import Interrupted
from shipper.http.transport import Transport, open_transport
from shipper.link import BufferAwayError, BufferBusyError, LeaseLostError, Link, wake_ups
from shipper.newest import Newest
from shipper.pace.purse import Purse
from shipper.report import BUFFER, Report
from shipper.skew import ClockCheck

TURN_S = 0.001  # between two chunks: long enough for the loop to look at everything else
PAUSE_S = 1.0  # until the buffer is called again
FIRST_SKEW_S = 1.0  # the first uploads go first
FIRST_AUDIT_S = 5.0


class Stage:
    """The steps of the shipper's process."""

    def __init__(self, process: Service, transport: Transport) -> None:
        settings = process.config.settings
        self._process = process
        self._remote = settings.remote
        self._link = Link(process.run_dir, self._is_stopping)
        self._drain = Drain(self._link.ask)
        self._courier = Courier(process, transport)
        self._clocks = ClockCheck(process, self._courier)
        self._audit = Audit(process, self._drain, self._courier)
        self._newest = Newest(process, self._courier)
        self._purse = Purse(process, transport.meter)
        self._event_log = EventLog(process, self._drain, self._is_stopping, transport.meter)
        report = Report(process)
        self._report = report
        self._dispatch = Dispatch(process, self._drain, self._courier, report, self._purse, self._suspect)
        self._greeted = False
        self._untold: list[Chunk] = []
        self._was_away = False
        self._feed = wake_ups(process.run_dir)
        process.loop.on_readable(self._feed, self.woken)
        self._timer = process.loop.every(TURN_S, self.work)
        process.loop.every(LOOK_S, self.look, first_s=LOOK_S)
        self._event_timer = process.loop.every(LOOK_S, self.ship_events, first_s=LOOK_S)
        interval_s = settings.monitoring.clock_skew_check_interval_s
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
        self._dispatch.schedule.wake(time.monotonic())
        self.work()

    def work(self) -> None:
        """Do the next thing there is to do and set the time for the one after it."""
        if self._remote.enabled:
            self._timer.postpone(self._guarded(self._turn))
        else:
            self._timer.postpone(time.monotonic() + PAUSE_S)

    def look(self) -> None:
        """See how far the budget goes, and ask the buffer for the backlog."""
        self._purse.settle()
        if self._remote.enabled and self._greeted:
            next_s = self._guarded(self._look)
            if not self._greeted:
                self._timer.postpone(next_s)

    def compare_clocks(self) -> None:
        """Measure the clock skew; while the server is in trouble, afterwards."""
        if not self._may_ask:
            return
        if time.monotonic() < self._dispatch.tempo.backoff.until_s:
            self._skew_timer.postpone(self._dispatch.tempo.backoff.until_s)
        else:
            self._clocks.compare()

    def audit(self) -> None:
        """Compare what was uploaded with what the server has; not while there is trouble with it."""
        if self._may_ask and self._greeted and time.monotonic() >= self._dispatch.tempo.backoff.until_s:
            self._audit_timer.postpone(self._guarded(self._compare))

    def ship_events(self) -> None:
        """Send events in words to where they go, if anywhere; after the samples of the same moment."""
        if self._may_ask and self._greeted:
            self._event_timer.postpone(self._guarded(self._event_log.step))

    def reload(self, config: Config) -> None:
        """Take over another server, token, retry or lanes; what is under way goes back to pending."""
        try:
            transport = open_transport(config, self._process.log, self._is_stopping, self._courier.transport.meter)
            self._event_log.configure()
        except ConfigError as error:
            self._process.log.error("the old server stays in use", errors=error.messages)  # noqa: TRY400
            return
        self._courier.transport.close()
        self._courier.transport = transport
        self._remote = config.settings.remote
        self._purse.configure(self._remote.budget)
        self._forget_leases()
        self._dispatch.start_afresh()
        self._dispatch.schedule.configure(self._remote.priority, time.monotonic())
        self._skew_timer.interval_s = config.settings.monitoring.clock_skew_check_interval_s
        self._timer.postpone(time.monotonic())

    def close(self) -> None:
        """Give back what is under way, write down what was spent and let go of the sockets."""
        self._link.close(self._dispatch.leases)
        self._feed.close(linger=0)
        self._courier.transport.close()
        self._event_log.close()
        self._purse.settle()
        self._purse.save()

    @property
    def _may_ask(self) -> bool:
        """Whether the server may be asked something that is no upload."""
        return self._remote.enabled and self._dispatch.tempo.mode.sends and self._purse.budget.allows_questions

    def _is_stopping(self) -> bool:
        return self._process.loop.stopping

    def _guarded(self, step: Callable[[], float]) -> float:
        """Do a step that needs the buffer; return when the next one is due."""
        try:
            return step()
        except Interrupted:
            return time.monotonic()  # the loop ends
        except BufferBusyError as error:
            self._report.trouble(BUFFER, error)
        except LeaseLostError as error:
            self._forget_leases()
            self._process.log.info("a lease is void, the buffer was started anew", detail=str(error))
            return time.monotonic()
        except BufferAwayError as error:
            self._forget_leases()
            if not self._process.loop.stopping:
                self._report.trouble(BUFFER, error)
        return time.monotonic() + PAUSE_S

    def _turn(self) -> float:
        if not self._greeted:
            marked = self._drain.hello(self._untold)
            if marked:
                self._process.log.info("the buffer was told what the server had taken before", count=marked)
            self._untold.clear()
            self._greeted = True
            self._report.well(BUFFER)
        return self._dispatch.turn()

    def _look(self) -> float:
        self._process.facts["ignored_replies"] = self._link.ignored
        self._dispatch.look()
        return 0.0

    def _suspect(self, after_outage: bool) -> None:
        """Have the audit look soon whether the server was started anew."""
        self._was_away = self._was_away or after_outage
        self._audit.suspect()
        self._audit_timer.postpone(time.monotonic())

    def _compare(self) -> float:
        if self._was_away:
            self._was_away = False
            self._newest.ask()
        return time.monotonic() + self._audit.step()

    def _forget_leases(self) -> None:
        """Say hello before anything else, which voids them, and what of them the server took."""
        self._untold += self._dispatch.forget()
        self._greeted = False


def build(options: argparse.Namespace) -> Service:
    """Build the shipper's process.

    Raises:
        AlreadyRunning: another shipper has this run directory.
        ConfigError: the token or the certificate authority cannot be used.
    """
    process = Service("shipper", options)
    transport = open_transport(process.config, process.log, lambda: process.loop.stopping)
    lock.hold(process.run_dir / "shipper.lock", f"the run directory {process.run_dir}")
    process.publishes()
    Stage(process, transport)
    return process
