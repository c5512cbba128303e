"""Decide when to poll supervisord: at once when a process started or ended, otherwise rarely.

A poll costs 4 ms of CPU in both processes: every second or two, that is more than all other work of this process.

Reads: heartbeats, /proc/<pid>, supervisord's answers.
Emits: the latest `Supervision`.
Fails: a supervisord that hangs costs a second for each poll, so it is polled at growing intervals, by time only.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from healthd import heartbeats, procfs, supervisor
from healthd.heartbeats import Beat
from healthd.supervisor import Supervision, Supervisor

MOVING_S = 2.0  # while a program starts or stops, or supervisord is not there
STEADY_S = 30.0  # what comes or goes is seen without asking
MOST_DOUBLINGS = 4  # of MOVING_S while it does not answer: more than STEADY_S

_AT_REST = frozenset({supervisor.RUNNING, supervisor.STOPPED, supervisor.EXITED, supervisor.FATAL})


class Polling:
    """The last answer of supervisord, and when to ask again.

    Args:
        supervisor: who is asked.
        proc: where /proc is.

    Attributes:
        supervision: the answer; None where there is no supervisord.
    """

    def __init__(self, supervisor: Supervisor, proc: Path = procfs.PROC) -> None:
        self.supervision: Supervision | None = None
        self._supervisor = supervisor
        self._proc = proc
        self._next_s = 0.0
        self._unanswered = 0
        self._heard: dict[str, tuple[int, str]] = {}

    def look(self, beats: Mapping[str, Beat], now_s: float) -> None:
        """Ask supervisord if a poll is due or a process has changed."""
        heard = {name: (beat.heartbeat.pid, beat.heartbeat.state) for name, beat in beats.items()}
        news = heard != self._heard or self._has_lost_one() or self._is_contradicted(beats)
        if now_s >= self._next_s or (self._answers and news):
            self._heard = heard
            self.supervision = self._supervisor.poll(now_s)
            is_unanswered = self.supervision is not None and self.supervision.problem is not None
            self._unanswered = self._unanswered + 1 if is_unanswered else 0
            self._next_s = now_s + self._pause_s()

    @property
    def _answers(self) -> bool:
        return self.supervision is not None and self.supervision.problem is None

    def _has_lost_one(self) -> bool:
        """Return whether a process of the last answer is gone."""
        programs = self.supervision.programs.values() if self.supervision else ()
        return any(program.pid and not (self._proc / str(program.pid)).exists() for program in programs)

    def _is_contradicted(self, beats: Mapping[str, Beat]) -> bool:
        """Return whether a process that did not run at the last answer has sent a heartbeat since."""
        asked = self.supervision
        return asked is not None and any(
            one.state not in supervisor.UP
            and (beat := beats.get(one.name)) is not None
            and beat.heartbeat.state == heartbeats.RUNNING
            and beat.received_s > asked.polled_s
            for one in asked.programs.values()
        )

    def _pause_s(self) -> float:
        """Return the seconds until the next poll; they grow while supervisord does not answer."""
        if self._unanswered:
            return min(STEADY_S, MOVING_S * float(1 << min(self._unanswered - 1, MOST_DOUBLINGS)))
        programs = self.supervision.programs.values() if self.supervision else None
        is_steady = programs is not None and all(one.state in _AT_REST for one in programs)
        return STEADY_S if is_steady else MOVING_S
