"""The steps of healthd on its loop: hear, look, listen, publish.

Reads: heartbeats at health.ipc (which it binds), supervisord's control socket.
Emits: a view for the HTTP threads every second, the processes' own metrics as samples, events of the watchdog.
Fails: garbage is counted and dropped.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import zmq

from common import clock, lock, wire
from common.config import Config
from common.feed import Feed
from common.service import Service
from healthd import rollup, selfmetrics
from healthd.heartbeats import Heartbeats
from healthd.listener import RETRY_S, Listener
from healthd.notify import Notify
from healthd.polling import Polling
from healthd.programs import GRACE_S, Known
from healthd.report import View
from healthd.rollup import Reason, Verdict
from healthd.supervisor import Supervisor
from healthd.watchdog import Watchdog

LOOK_S = 1.0  # also how often heartbeats are read: each wake-up costs ten times what reading one does
MOVES_S = 60.0  # a batch at least; this process alone gives one a minute

MAX_MESSAGES = 1000  # of one step, so that a flood does not keep the timers waiting
RECEIVE_QUEUE = 1000  # heartbeats of one process; what a hung healthd misses says nothing new
MAX_MESSAGE_BYTES = 1024 * 1024  # a heartbeat with a hundred instruments is 10 KiB


class Stage:
    """The steps of healthd's process."""

    def __init__(self, process: Service) -> None:
        self._process = process
        self._heartbeats = Heartbeats()
        self._supervisor = Supervisor(process.run_dir / "supervisor.sock")
        self._polling = Polling(self._supervisor)
        self._watchdog = Watchdog(self._supervisor, process.event)
        self._notify = Notify(os.environ)
        self._started_s = time.monotonic()
        self._verdict = Verdict()
        self._uploaded = False
        self._socket = bind(process.run_dir)
        self._publisher = process.publishes()
        self._feed = Feed(process.run_dir)
        self._listener = Listener(process, self._view(self._started_s))
        self._timers()
        process.facts["kind"] = "healthd"
        process.on_reload(self.reload)
        process.on_close(self.close)

    def _timers(self) -> None:
        loop, interval_s = self._process.loop, self._process.config.settings.health.self_metrics_interval_s
        loop.every(LOOK_S, self.look)
        loop.every(RETRY_S, self._listener.listen)
        self._publish_timer = loop.every(interval_s, self.publish, first_s=min(interval_s, GRACE_S))

    def hear(self) -> None:
        """Take the heartbeats that have come."""
        for _ in range(MAX_MESSAGES):
            try:
                frames = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            try:
                self._heartbeats.accept(frames, time.monotonic())
            except wire.WireError as error:
                self._process.instruments.count("healthd.refused_heartbeats_total", reason=error.reason)
                self._process.log.throttled_warning(error.reason, "dropped a message", error=str(error))

    def look(self) -> None:
        """Judge what is known and replace the view."""
        self.hear()  # what was said before is older than supervisord's answer
        now_s = time.monotonic()
        self._polling.look(self._heartbeats.beats, now_s)
        self._follow(now_s)
        shipper = self._heartbeats.beats.get("shipper")
        self._uploaded = self._uploaded or (shipper is not None and "last_upload_ms" in shipper.happened_s)
        settings = self._process.config.settings
        known, lines = self._known(), rollup.thresholds(settings)
        before, self._verdict = self._verdict, rollup.assess(known, lines, now_s, self._verdict)
        self._watchdog.look(known, self._verdict.conditions, now_s, acts=settings.health.watchdog)
        self._tell_systemd(now_s)
        self._listener.endpoints.show(self._view(now_s))
        self._tell(before)

    def publish(self) -> None:
        """Make samples of the heartbeats."""
        readings = selfmetrics.readings(self._known(), self._verdict)
        self._publisher.publish(list(selfmetrics.samples(readings)), clock.wall_ms())

    def reload(self, config: Config) -> None:
        """Take over thresholds, listen anew where address or token has changed, try what is off."""
        self._listener.reopen(self._view(time.monotonic()))
        self._publish_timer.interval_s = config.settings.health.self_metrics_interval_s
        self.look()
        self._watchdog.start_off(self._known(), self._verdict.conditions)
        self._listener.listen()

    def close(self) -> None:
        """Answer no more and let go of the socket."""
        self._notify.leave()
        self._listener.close()
        self._feed.close()
        self._socket.close(linger=0)

    def _follow(self, now_s: float) -> None:
        """Take what the buffer has committed since the last look."""
        latest, beats = self._listener.endpoints.latest, self._heartbeats.beats
        latest.intervals_s = {name: beat.number("collect_interval_s") or 0.0 for name, beat in beats.items()}
        for batch in self._feed.batches():
            latest.take(batch, now_s)
        latest.forget(now_s)

    def _tell_systemd(self, now_s: float) -> None:
        """Say that it lives while samples are committed, or an operator has stopped what commits them."""
        heard_s, health = self._listener.endpoints.latest.heard_s, self._process.config.settings.health
        moves = heard_s is not None and now_s - heard_s <= max(MOVES_S, 3 * health.self_metrics_interval_s)
        buffer = self._verdict.conditions.get("buffer")
        if moves or (buffer is not None and buffer.state == "stopped"):
            self._notify.moving(f"{self._verdict.status}: {len(self._verdict.reasons)} reasons")

    def _known(self) -> Known:
        return Known(self._started_s, dict(self._heartbeats.beats), self._polling.supervision)

    def _view(self, now_s: float) -> View:
        settings = self._process.config.settings
        return View(
            known=self._known(),
            verdict=self._verdict,
            made_s=now_s,
            uploads=settings.remote.enabled,
            uploaded=self._uploaded,
            clock_synchronised=clock.is_synchronised(),
            path=settings.health.path,
        )

    def _tell(self, before: Verdict) -> None:
        """Log what has changed; that everything stops when supervisord does is no news."""
        supervision = self._polling.supervision
        if supervision is not None and supervision.ending:
            return
        old, new = _by_rule(before), _by_rule(self._verdict)
        for key, reason in new.items():
            if key not in old or old[key].severity != reason.severity:
                self._process.log.warning("trouble", part=reason.part, severity=reason.severity, reason=reason.text)
        for key in old.keys() - new.keys():
            self._process.log.info("trouble over", part=old[key].part, reason=old[key].text)
        if before.status != self._verdict.status:
            self._process.log.info("health changed", status=self._verdict.status, was=before.status)


def build(options: argparse.Namespace) -> Service:
    """Build healthd's process.

    Raises:
        AlreadyRunning: another healthd serves this run directory.
    """
    process = Service("healthd", options)
    lock.hold(process.run_dir / "healthd.lock", f"the run directory {process.run_dir}")
    Stage(process)
    return process


def bind(run_dir: Path) -> zmq.Socket[bytes]:
    """Bind the socket for heartbeats; the file of a predecessor that was killed is replaced."""
    socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.SUB)
    socket.setsockopt(zmq.RCVHWM, RECEIVE_QUEUE)
    socket.setsockopt(zmq.MAXMSGSIZE, MAX_MESSAGE_BYTES)
    socket.subscribe(wire.STATUS_TOPIC)
    socket.bind(f"ipc://{run_dir / 'health.ipc'}")
    return socket


def _by_rule(verdict: Verdict) -> dict[tuple[str, str], Reason]:
    return {(reason.part, reason.rule): reason for reason in verdict.reasons}
