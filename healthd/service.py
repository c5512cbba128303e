"""The healthd process: receive heartbeats and samples, judge them, answer over HTTP, kill processes that hang.

Reads: heartbeats at health.ipc (which it binds), supervisord's control socket, what the buffer commits.
Emits: a view for the HTTP threads every second and whenever something urgent was committed, the processes' own
    metrics and its verdicts as samples, events of the watchdog.
Fails: garbage is counted and dropped.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import zmq

from common import clock, lock, wire
from common.activity import noted
from common.bound import bind_again
from common.config import Config, ConfigError
from common.feed import Feed
from common.notify import Notify
from common.sample import Sample
from common.service import Service
from common.status import HealthdStatus
from common.thresholds import DEGRADED, ERROR, RANKS
from healthd import selfmetrics
from healthd.heartbeats import Heartbeats
from healthd.http.listener import RETRY_S, Listener
from healthd.polling import Polling
from healthd.programs import GRACE_S, Snapshot
from healthd.report import View
from healthd.supervisor import Supervisor
from healthd.verdict import delivery, rollup, stream
from healthd.verdict.rollup import Reason, Verdict
from healthd.verdict.tile import Tile
from healthd.watchdog import Watchdog

LOOK_S = 1.0  # also how often heartbeats are read: each wake-up costs ten times what reading one does
NEWS_S = 0.2  # between two looks, however much is committed that could not wait
MOVES_S = 60.0  # a batch at least; this process alone gives one a minute

MAX_MESSAGES = 1000  # of one step, so that a flood does not keep the timers waiting
RECEIVE_QUEUE = 1000  # heartbeats of one process; what a hung healthd misses says nothing new
MAX_MESSAGE_BYTES = 1024 * 1024  # a heartbeat with a hundred instruments is 10 KiB


def build(options: argparse.Namespace) -> Service:
    """Build healthd's process.

    Raises:
        AlreadyRunning: another healthd serves this run directory.
        ConfigError: there is no run directory, or no log.
    """
    service, errors = _service(options)
    lock.hold(service.run_dir / "healthd.lock", f"the run directory {service.run_dir}")
    service.status = HealthdStatus()
    healthd = Healthd(service, errors)
    service.loop.every(RETRY_S, healthd.listener.listen)
    service.loop.on_readable(healthd.feed.socket, healthd.take_news)
    service.on_reload(healthd.reload)
    service.on_close(healthd.close)
    return service


def _service(options: argparse.Namespace) -> tuple[Service, list[str]]:
    """Return the process and what is wrong with its configuration: to show that is its work, on this device alone."""
    try:
        return Service("healthd", options), []
    except ConfigError as error:
        if error.usable is None:
            raise
        settings = error.usable.settings
        alone = replace(settings, health=replace(settings.health, bind="127.0.0.1"))
        options.loaded = replace(error.usable, settings=alone)
        return Service("healthd", options), error.messages


class Healthd:
    """The steps of the process.

    Args:
        service: the process.
        errors: what is wrong with its configuration.

    Attributes:
        listener: the HTTP server.
        feed: what the buffer commits.
    """

    def __init__(self, service: Service, errors: Sequence[str] = ()) -> None:
        self._service = service
        self._errors = tuple(errors)
        self._heartbeats = Heartbeats()
        self._supervisor = Supervisor(service.run_dir / "supervisor.sock")
        self._polling = Polling(self._supervisor)
        self._watchdog = Watchdog(self._supervisor, service.event, noted=partial(noted, service.run_dir))
        self._notify = Notify(os.environ)
        self._started_s = self._looked_s = time.monotonic()
        self._verdict = Verdict()
        self._stream = stream.NOTHING
        self._levels: dict[str, int] = {}
        self._epochs: dict[str, str] = {}
        self._uploaded = False
        self._socket = bind(service.run_dir)
        self._publisher = service.publishes()
        self.feed = Feed(service.run_dir)
        self.listener = Listener(service, self._view(self._known(), self._started_s))
        self._errors += self.listener.errors
        interval_s = service.config.settings.health.self_metrics_interval_s
        self._look_timer = service.loop.every(LOOK_S, self.look)
        self._publish_timer = service.loop.every(interval_s, self.publish, first_s=min(interval_s, GRACE_S))

    def hear(self) -> None:
        """Read the heartbeats that have arrived."""
        for _ in range(MAX_MESSAGES):
            try:
                frames = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            try:
                self._heartbeats.accept(frames, time.monotonic())
            except wire.WireError as error:
                self._service.instruments.count("healthd.refused_heartbeats_total", reason=error.reason)
                self._service.log.throttled_warning(error.reason, "dropped a message", error=str(error))

    def look(self) -> None:
        """Judge the processes and the stream, and replace the view."""
        self.hear()  # what was said before is older than supervisord's answer
        now_s = self._looked_s = time.monotonic()
        if bind_again(self._socket, self._service.run_dir / "health.ipc"):
            self._service.log.warning("the file of a socket was deleted, it is made again", file="health.ipc")
        self._polling.look(self._heartbeats.beats, now_s)
        shipper = self._heartbeats.beats.get("shipper")
        self._uploaded = self._uploaded or (shipper is not None and "last_upload_ms" in shipper.happened_s)
        before, known = self._verdict, self._known()
        self._judge(known, now_s)
        acts = self._service.config.settings.health.watchdog
        if not self._service.is_orphan:  # what it sees then are the processes of the next supervisord
            self._watchdog.look(known, self._verdict.conditions, now_s, acts=acts)
        self._tell_systemd(now_s)
        self.listener.endpoints.show(self._view(known, now_s))
        self._tell(before)
        self._publish_levels()

    def take_news(self) -> None:
        """Take the committed batches; if one was urgent, look at once, but at most every `NEWS_S`."""
        if self._take():
            self._look_timer.postpone(min(self._look_timer.due_s, max(time.monotonic(), self._looked_s + NEWS_S)))

    def _take(self) -> bool:
        """Take the batches committed since the last call; return whether one of them was urgent."""
        now_s, latest, is_urgent = time.monotonic(), self.listener.endpoints.latest, False
        for batch in self.feed.batches():
            latest.take(batch, now_s)
            is_urgent = is_urgent or batch.urgent
        return is_urgent

    def publish(self) -> None:
        """Publish the metrics of the heartbeats as samples."""
        readings = selfmetrics.readings(self._known(), self._verdict)
        self._publisher.publish([*selfmetrics.samples(readings), *self._level_samples()], clock.wall_ms())

    def reload(self, config: Config) -> None:
        """Apply thresholds, listen again where address or token has changed, try what is off."""
        self.listener.reopen(self._view(self._known(), time.monotonic()))
        self._errors = self.listener.errors
        self._publish_timer.interval_s = config.settings.health.self_metrics_interval_s
        self.look()
        self._watchdog.start_off(self._known(), self._verdict.conditions)
        self.listener.listen()

    def close(self) -> None:
        """Close the HTTP server and all sockets."""
        if self._service.loop.stopping:  # not by a bug: then systemd watches on until it is back
            self._notify.disarm_watchdog()
        self.listener.close()
        self.feed.close()
        self._socket.close(linger=0)

    def _judge(self, known: Snapshot, now_s: float) -> None:
        """Take the batches committed since the last look, then judge the recorder and the stream."""
        settings, latest = self._service.config.settings, self.listener.endpoints.latest
        limits = rollup.limits(settings)
        latest.link_names = settings.device.links
        self._take()
        tiles = (*delivery.disk(latest, now_s), *delivery.budget(known), *self._configuration(), *self._crashes(now_s))
        self._verdict = rollup.assess(known, limits, now_s, self._verdict, tiles)
        latest.forget(now_s, self._gone())
        self._stream = stream.assess(latest, settings.alerts, now_s, clock.wall_ms(), self._stream)

    def _configuration(self) -> Iterator[Tile]:
        for text in self._errors[:1]:
            yield Tile("configuration", "the configuration cannot be used:", text, ERROR)

    def _crashes(self, now_s: float) -> Iterator[Tile]:
        """Yield the processes that crashed more than once: one crash is an event, more have a cause that stays."""
        again = sorted((name, count) for name, count in self._watchdog.crashes(now_s).items() if count > 1)
        if again:
            text = ", ".join(f"{name} {count} times in ten minutes" for name, count in again)
            yield Tile("crashes", "processes crash:", text, DEGRADED)

    def _gone(self) -> set[str]:
        """Return the sources whose process is gone or was restarted: their values are old."""
        gone = set()
        for name, beat in self._heartbeats.beats.items():
            condition = self._verdict.conditions.get(name)
            restarted = self._epochs.get(name, beat.heartbeat.epoch) != beat.heartbeat.epoch
            self._epochs[name] = beat.heartbeat.epoch
            if restarted or (condition is not None and condition.trouble):
                gone |= {name, *beat.sources}
        return gone

    def _tell_systemd(self, now_s: float) -> None:
        """Feed systemd's watchdog while samples are committed, or while an operator has stopped the buffer."""
        heard_s, health = self.listener.endpoints.latest.heard_s, self._service.config.settings.health
        moves = heard_s is not None and now_s - heard_s <= max(MOVES_S, 3 * health.self_metrics_interval_s)
        buffer = self._verdict.conditions.get("buffer")
        if moves or (buffer is not None and buffer.state == "stopped"):
            self._notify.report_progress(f"{self._verdict.status}: {len(self._verdict.reasons)} reasons")

    def _known(self) -> Snapshot:
        return Snapshot(self._started_s, dict(self._heartbeats.beats), self._polling.supervision)

    def _view(self, known: Snapshot, now_s: float) -> View:
        settings = self._service.config.settings
        return View(
            known=known,
            verdict=self._verdict,
            made_s=now_s,
            uploads=settings.remote.enabled,
            uploaded=self._uploaded,
            clock_synchronised=clock.is_synchronised(),
            path=settings.health.path,
            stream=self._stream,
            warnings=self._service.config.warnings,
            errors=self._errors,
            samples=settings.health.samples,
        )

    def _publish_levels(self) -> None:
        """Publish the verdicts at once when one has changed."""
        levels = {"stream": RANKS.get(self._stream.level, 0), "recorder": RANKS[self._verdict.status]}
        if levels != self._levels:
            self._levels = levels
            self._publisher.publish(self._level_samples(), clock.wall_ms())

    def _level_samples(self) -> list[Sample]:
        return [Sample("verdict.level", level, {"verdict": name}) for name, level in self._levels.items()]

    def _tell(self, before: Verdict) -> None:
        """Log the changes of the verdict, except while supervisord stops everything."""
        supervision = self._polling.supervision
        if supervision is not None and supervision.ending:
            return
        old, new = _by_rule(before), _by_rule(self._verdict)
        for key, reason in new.items():
            if key not in old or old[key].severity != reason.severity:
                self._service.log.warning("trouble", part=reason.part, severity=reason.severity, reason=reason.text)
        for key in old.keys() - new.keys():
            self._service.log.info("trouble over", part=old[key].part, reason=old[key].text)
        if before.status != self._verdict.status:
            self._service.log.info("health changed", status=self._verdict.status, was=before.status)


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
