"""The condition of each process that should run, from its heartbeats and from supervisord. Pure.

Missing heartbeats make a process `silent`; whether it hangs, and is killed, is decided in `watchdog.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from common import status
from common.service import EXIT_OFF
from common.status import BufferStatus, ShipperStatus
from healthd import heartbeats, supervisor
from healthd.heartbeats import Beat
from healthd.supervisor import Program, Supervision

GRACE_S = 10.0  # from a start to the first heartbeat: imports on a cold SD card take seconds
COLLECTORS = "collectors"  # supervisord's group
OFF = "off"  # not enabled by the configuration, and so not there
OWN = ("buffer", "shipper", "healthd")


@dataclass(frozen=True)
class Snapshot:
    """The state of all processes at one moment.

    Attributes:
        started_s: when it began to listen; this and all times here are its CLOCK_MONOTONIC.
        beats: the latest heartbeat by process.
        supervision: what supervisord said, None where there is none.
    """

    started_s: float
    beats: Mapping[str, Beat]
    supervision: Supervision | None = None

    def program(self, name: str) -> Program | None:
        """Return supervisord's state of a process, None if it does not supervise it or does not answer."""
        return self.supervision.program(name) if self.supervision else None

    def was_off(self, name: str) -> bool:
        """Return whether a process had ended as disabled at the last answer of supervisord."""
        program = self.supervision.programs.get(name) if self.supervision else None
        return program is not None and _is_off(program)

    @cached_property
    def shipper(self) -> ShipperStatus:
        """The status of the shipper; empty before its first heartbeat."""
        return status.read(ShipperStatus, self._reported("shipper"))

    @cached_property
    def buffer(self) -> BufferStatus:
        """The status of the buffer; empty before its first heartbeat."""
        return status.read(BufferStatus, self._reported("buffer"))

    def _reported(self, name: str) -> Mapping[str, Any]:
        beat = self.beats.get(name)
        return beat.heartbeat.status if beat is not None else {}

    def is_news(self, beat: Beat) -> bool:
        """Return whether a heartbeat is newer than the last answer of supervisord."""
        return self.supervision is None or beat.received_s > self.supervision.polled_s


@dataclass(frozen=True)
class Condition:
    """The state of one process, and its trouble.

    Attributes:
        state: running, starting, stopping, stopped, off, silent, missing, backoff, exited, fatal or unknown.
        trouble: what is wrong, for people; None while nothing is.
    """

    state: str
    trouble: str | None = None


_SILENT = Condition("silent", "sends no heartbeats")
_MISSING = Condition("missing", "was never heard of")


def conditions(known: Snapshot, essential: tuple[str, ...], now_s: float) -> dict[str, Condition]:
    """Return the condition of every process there should be, sorted by name.

    Args:
        known: what is known.
        essential: processes that have to be there even if nothing was ever heard of them.
        now_s: monotonic time.
    """
    names = {*essential, *known.beats}
    if known.supervision:
        listed = known.supervision.programs.values()
        names |= {program.name for program in listed if program.group == COLLECTORS or program.name in OWN}
    found = {name: _condition(name, known, now_s) for name in sorted(names)}
    return {name: it for name, it in found.items() if name in essential or not _was_removed(name, it, known)}


def is_collector(name: str, known: Snapshot) -> bool:
    """Return whether a process is a collector, by its heartbeat or by supervisord's configuration."""
    beat = known.beats.get(name)
    if beat is not None and beat.kind:
        return beat.kind == status.COLLECTOR
    program = known.supervision.programs.get(name) if known.supervision else None
    return program is not None and program.group == COLLECTORS


def _was_removed(name: str, condition: Condition, known: Snapshot) -> bool:
    """Return whether a process is gone and no longer in supervisord's configuration."""
    supervision = known.supervision
    if supervision is None or supervision.problem is not None:
        return False
    return condition.trouble is not None and name not in supervision.programs


def _condition(name: str, known: Snapshot, now_s: float) -> Condition:
    beat, program = known.beats.get(name), known.program(name)
    if program is None:
        if known.was_off(name) and (beat is None or beat.heartbeat.state == heartbeats.STOPPING):
            return Condition(OFF)
        return _by_heartbeat(beat, now_s) if beat else _unheard(known.started_s, now_s, _MISSING)
    reports = beat is not None and beat.heartbeat.state == heartbeats.RUNNING and known.is_news(beat)
    if program.state not in supervisor.UP and not reports:
        return _down(program)
    if beat is None or (beat.heartbeat.pid != program.pid and beat.received_s < program.changed_s):
        return _unheard(max(known.started_s, program.changed_s), now_s, _SILENT)
    if beat.is_stale(now_s):
        return _SILENT
    return Condition(beat.heartbeat.state)


def _by_heartbeat(beat: Beat, now_s: float) -> Condition:
    if beat.heartbeat.state == heartbeats.STOPPING:
        return Condition("stopped", "stopped")
    return _SILENT if beat.is_stale(now_s) else Condition("running")


def _unheard(since_s: float, now_s: float, then: Condition) -> Condition:
    return Condition("starting") if now_s - since_s <= GRACE_S else then


def _down(program: Program) -> Condition:
    """Return the condition of a process that supervisord reports as not running."""
    if program.state in {supervisor.STOPPED, supervisor.STOPPING}:
        return Condition("stopped", "stopped by an operator" if program.started else "stopped, never started")
    if program.state == supervisor.BACKOFF:
        return Condition("backoff", f"cannot be started, tried again: {program.spawn_error}")
    if program.state == supervisor.FATAL:
        return Condition("fatal", f"given up by supervisord: {program.spawn_error}")
    if _is_off(program):
        return Condition(OFF)
    if program.state == supervisor.EXITED:
        status = program.exit_status  # -1 for any signal
        return Condition("exited", "ended by a signal" if status < 0 else f"exited with status {status}")
    return Condition("unknown", f"supervisord calls it {program.state}")


def _is_off(program: Program) -> bool:
    return program.state == supervisor.EXITED and program.exit_status == EXIT_OFF
