"""The frame of every process: options, configuration, log, run directory, heartbeat, exit code.

A process builds its steps on a `Service` and calls `run`. Exit codes: 0 asked to end, 2 wrong options, 3 not enabled,
75 already running, 78 configuration, 1 a bug (with its traceback in the log; supervisord restarts it).
"""

from __future__ import annotations

import argparse
import faulthandler
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import zmq

from common import VERSION, clock, config, log, private_directory, status, wire, yaml_file
from common.config import Config, ConfigError
from common.events import Event
from common.instruments import Instruments
from common.lock import AlreadyRunning
from common.loop import Loop
from common.notify import Notify
from common.publisher import Publisher, connect, send_heartbeat
from common.reporter import Reporter

EXIT_OFF = 3  # supervisord expects it of programs that are off by default
EXIT_ALREADY_RUNNING = 75  # EX_TEMPFAIL of sysexits.h
EXIT_CONFIG = 78  # EX_CONFIG
# Which process the kernel takes first when memory is short, of 1000: collectors, whose outbox is in a file, then what
# watches and what uploads; the buffer as late as any other. What is there by configuration and higher stays.
OOM_SCORES = {"buffer": 0, "healthd": 300, "shipper": 300}
OOM_SCORE = 600
GIVE_BACK_S = 60.0  # to the kernel, what malloc keeps of freed memory
STACK_SIGNAL = signal.SIGUSR1  # a process that hangs is asked for its stack, then killed
DEFAULT_CONFIG = Path("/etc/belabox-metrics/config.yaml")


class Service:
    """One running process.

    Args:
        name: as supervisord calls it, without the group.
        options: parsed command line; needs `config`, the file; may have it as `loaded` already.
        collectors: section type by collector name, for the process that collects.

    Attributes:
        name: as given.
        config: the configuration in force.
        log, loop, instruments: this process's own.
        status: what this process reports of itself: one of `common.status`; set by whoever knows.
        quiet_s: announced silence, see `wire.Heartbeat`.
        exit_code: with which `run` ends.

    Raises:
        ConfigError: the configuration cannot be used, or the run directory it names.
    """

    def __init__(
        self, name: str, options: argparse.Namespace, collectors: Mapping[str, type[Any] | None] | None = None
    ) -> None:
        os.umask(0o077)  # sockets, spool and database are this user's alone
        self.name = name
        self._file: Path | None = options.config
        self._collectors = collectors
        self.config = self._direct_log(getattr(options, "loaded", None) or self._load())
        self.log = log.Log(name)
        self.loop = Loop()
        self.instruments = Instruments()
        self.status: object = {}
        self.quiet_s = 0.0
        self.exit_code = 0
        self._notify = Notify(os.environ)
        self._error: dict[str, Any] | None = None
        self._started_ms, self._started_s = clock.wall_ms(), time.monotonic()
        self._gave_back_s = self._started_s
        self.run_dir = self.config.settings.run.dir
        private_directory.make(self.run_dir)
        self._on_reload: list[Callable[[Config], None]] = []
        self._on_close: list[Callable[[], None]] = []
        self.loop.on_reload(self._reload)
        self.publisher: Publisher | None = None
        self._reporters: dict[str, Reporter] = {}
        self._status: zmq.Socket[bytes] | None = None
        self.epoch = clock.new_epoch()
        self._parent = _supervisord()

    @property
    def is_orphan(self) -> bool:
        """Whether the supervisord that started this process is gone."""
        return self._parent is not None and self._parent != os.getppid()

    def publishes(self, names: Sequence[str] = ()) -> Publisher:
        """Make this process a producer of samples, under its own name and others of its own."""
        settings = self.config.settings.run
        self.publisher = Publisher(self.name, self.run_dir, self.instruments, self.log, settings.window_samples)
        self.publisher.changes.alerts = self.config.settings.alerts
        self.publisher.take_over(names)
        self.epoch = self.publisher.epoch
        self.loop.on_readable(self.publisher.socket, self.publisher.receive)
        return self.publisher

    def on_reload(self, step: Callable[[Config], None]) -> None:
        """Call a step with each new configuration that was accepted."""
        self._on_reload.append(step)

    def on_close(self, step: Callable[[], None]) -> None:
        """Do a step when the loop has ended, before the last heartbeat is sent."""
        self._on_close.append(step)

    def failed(self, error: BaseException | str, **fields: Any) -> None:
        """Log a failure, each `attempt` and no repetition of it, and carry it in heartbeats until `worked`."""
        kind = type(error).__name__ if isinstance(error, BaseException) else "Error"
        text = log.SECRETS.redact(str(error))
        was_well = self._error is None
        self._error = {"error": text, "error_type": kind, "timestamp_ms": clock.wall_ms()}
        key = f"{kind} {text} {fields.get('attempt', '')}"
        self.log.throttled_warning(key, "failed", error=text, error_type=kind, **fields)
        if was_well:
            self.beat()

    def event(self, event: Event, source: str = "") -> None:
        """Report an event, of the process or of a source in it; the process has to publish."""
        assert self.publisher is not None, "publishes() first"  # noqa: S101 - a service that forgot
        name = source or self.name
        if name not in self._reporters:
            self._reporters[name] = Reporter(name, self.publisher, self.log, self.instruments)
        self._reporters[name].report(event)

    def worked(self) -> None:
        """Forget the last failure: the same work succeeded again."""
        if self._error is not None:
            self._error = None
            self.beat()

    def run(self) -> int:
        """Run the loop until asked to end, send the last heartbeat, and return the exit code."""
        settings = self.config.settings
        faulthandler.register(STACK_SIGNAL, file=2, all_threads=False)
        _give_way(OOM_SCORES.get(self.name, OOM_SCORE))
        self.log.info("started", version=VERSION, config=str(self._file or "defaults"), pid=os.getpid())
        for warning in self.config.warnings:
            self.log.warning("configuration", detail=warning)
        if self.publisher is None:
            self._status = connect(self.run_dir, "health.ipc")
            self.loop.on_readable(self._status, self._ignore_subscriptions)
        self._heartbeat = self.loop.every(settings.run.heartbeat_interval_s, self._tick)
        self.loop.run()
        return self.exit_code

    def close(self, *, by_bug: bool = False) -> None:
        """Run the closing steps, say that it ends unless that is a bug, and close the sockets."""
        for step in self._on_close:
            step()
        for reporter in self._reporters.values():
            reporter.close()
        if not by_bug:
            self.beat(state="stopping")
        if self.publisher is not None:
            self.publisher.close()
        if self._status is not None:
            self._status.close(linger=100)
        self.loop.close()
        self.log.info("stopped", uptime_s=round(time.monotonic() - self._started_s, 1))

    def beat(self, state: str = "running") -> None:
        """Send a heartbeat now."""
        if self.publisher is not None:
            self.instruments.gauge("publisher.unacked_samples", self.publisher.unacked_samples, producer=self.name)
        heartbeat = wire.Heartbeat(
            process=self.name,
            pid=os.getpid(),
            epoch=self.epoch,
            started_ms=self._started_ms,
            timestamp_ms=clock.wall_ms(),
            interval_s=self.config.settings.run.heartbeat_interval_s,
            quiet_s=self.quiet_s,
            state=state,
            error=self._error,
            status=status.to_wire(self.status),
            readings=self.instruments.readings(),
        )
        socket = self.publisher.socket if self.publisher else self._status
        if socket is not None:
            send_heartbeat(socket, heartbeat)

    def _tick(self) -> None:
        for reporter in self._reporters.values():
            reporter.tick()
        if self.publisher is not None:
            self.publisher.tick()
        if self.is_orphan:
            self.log.warning("supervisord is gone, ends")
            self.loop.stop()
        if time.monotonic() - self._gave_back_s >= GIVE_BACK_S:
            self._gave_back_s = time.monotonic()
            from common import freed_memory  # noqa: PLC0415 - ctypes, which costs most where nothing else has it

            freed_memory.give_back()
        self._notify.ping_watchdog()
        self.beat()

    def _ignore_subscriptions(self) -> None:
        assert self._status is not None  # noqa: S101 - registered only when it is there
        try:
            self._status.recv(zmq.NOBLOCK)
        except zmq.Again:
            pass  # the one who subscribed is gone already

    def _load(self) -> Config:
        return config.load(self._file, os.environ, self._collectors, yaml_file.read_apart)

    def _direct_log(self, loaded: Config) -> Config:
        settings = loaded.settings.logging
        try:
            log.set_up(settings.level, settings.format, settings.output, settings.rotation)
        except OSError as error:
            raise ConfigError([f"logging.output: {error.strerror}, got {settings.output!r}"]) from error
        return loaded

    def _reload(self) -> None:
        """Apply a new configuration as a whole, or keep the old one as a whole."""
        try:
            loaded = self._direct_log(self._load())
        except ConfigError as error:
            self.log.error("reload refused, the old configuration stays in force", errors=error.messages)  # noqa: TRY400
            return
        fixed = config.fixed_changes(self.config.settings, loaded.settings)
        if fixed:
            self.log.warning("some of it takes effect with the next start", keys=fixed)
        self.config = loaded
        if self.publisher is not None:
            self.publisher.changes.alerts = loaded.settings.alerts
        self._heartbeat.interval_s = loaded.settings.run.heartbeat_interval_s
        for step in self._on_reload:
            step(loaded)
        self.log.info("reloaded", config=str(self._file or "defaults"))


def _supervisord() -> int | None:
    """Return the process id of the supervisord that started this process, None without one.

    One that died before this process had begun is not the parent any more: process 1 is, which is no supervisord.
    """
    if "SUPERVISOR_ENABLED" not in os.environ:
        return None
    parent = os.getppid()
    if parent != 1:
        return parent
    try:
        return parent if b"supervisord" in Path("/proc/1/cmdline").read_bytes() else 0
    except OSError:
        return parent


def options_parser(program: str, text: str) -> argparse.ArgumentParser:
    """Return the parser of the options that every process has."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {program}",
        description=text,
        epilog="Every key can be set in the environment too: BELABOX_REMOTE__URL sets remote.url.",
    )
    parser.add_argument(
        "--config",
        type=Path,
        default=DEFAULT_CONFIG if DEFAULT_CONFIG.exists() else None,
        metavar="FILE",
        help=f"YAML file (default: {DEFAULT_CONFIG} if it exists, else the built-in defaults)",
    )
    parser.add_argument("--version", action="version", version=f"belabox-metrics {VERSION}")
    return parser


def main(build: Callable[[argparse.Namespace], Service], options: argparse.Namespace) -> int:
    """Build, run and close a process; turn expected errors into a message and an exit code."""
    try:
        process = build(options)
    except ConfigError as error:
        print("\n".join(error.messages), file=sys.stderr)
        return EXIT_CONFIG
    except AlreadyRunning as error:
        print(error, file=sys.stderr)
        return EXIT_ALREADY_RUNNING
    sys.excepthook = process.log.uncaught
    try:
        code = process.run()
    except BaseException:
        process.close(by_bug=True)
        raise
    process.close()
    return code


def _give_way(score: int) -> None:
    """Raise this process's OOM score, which needs no privilege."""
    try:
        with Path("/proc/self/oom_score_adj").open("r+", encoding="ascii") as file:
            if int(file.read()) < score:
                file.write(str(score))
    except (OSError, ValueError):
        pass  # no /proc: no choice
