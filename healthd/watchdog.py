"""Kill a process that hangs, and retry one that supervisord gave up; each is reported as an event.

A hang is a process that runs, sends no heartbeat and uses no CPU time. That heartbeats are missing is found in
`programs.py` (condition `silent`).

Reads: conditions of the processes, supervisord's list, /proc/<pid>/stat.
Emits: SIGKILL, through supervisord, to a process that hangs, so that it is restarted; a start, at growing intervals, of
    a process that is FATAL; at a reload, a start of one that was disabled; events process_hung, process_fatal,
    process_died, process_back.
Fails: no data is lost by a kill, every process is built for it. A silent process that works (its CPU time grows) or
    waits for the disk is left alone for `BUSY_S`. After a pause of healthd itself no process is judged.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from common.events import Event
from common.service import EXIT_OFF
from healthd import procfs, supervisor
from healthd.programs import OFF, Condition, Snapshot
from healthd.supervisor import Program, Supervisor

UNHEARD_S = 60.0  # from a start to the first heartbeat: imports on a worn SD card
BUSY_S = 900.0  # a migration or a check of a large database is one long step
IDLE_S = 2.0  # without CPU time
AGAIN_S = 15.0
CRASHES_S, MAX_CRASHES = 600.0, 1000
EXIT_BUG = 1  # Python's, after a traceback; a signal is somebody's, 75 and 78 say what is wrong
PAUSE_S = 5.0  # between two looks, a second apart: this process hung, or the machine did
RETRY_S, RETRY_MOST_S = 30.0, 600.0


@dataclass
class Silence:
    """A silent process: its pid, since when, when it worked last, and its CPU time then."""

    pid: int
    since_s: float
    worked_s: float
    cpu_seconds: float | None = None


@dataclass
class GaveUp:
    """A program that supervisord has given up: when it is started again, and how long after that."""

    next_s: float
    wait_s: float = RETRY_S


class Watchdog:
    """Watches the other processes.

    Args:
        supervisor: through which it acts.
        report: takes events.
        proc: where /proc is.
        noted: returns the source that is at work in a process, and what it reads.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        report: Callable[[Event], None],
        proc: Path = procfs.PROC,
        noted: Callable[[str], tuple[str, str]] = lambda _process: ("", ""),
    ) -> None:
        self._supervisor = supervisor
        self._report = report
        self._proc = proc
        self._noted = noted
        self._looked_s: float | None = None
        self._silences: dict[str, Silence] = {}
        self._fatal: dict[str, GaveUp] = {}
        self._pids: dict[str, int] = {}
        self._down: set[str] = set()
        self._crashes: deque[tuple[float, str]] = deque(maxlen=MAX_CRASHES)

    def crashes(self, now_s: float) -> Counter[str]:
        """Return how often each process has ended by a bug in the last ten minutes."""
        return Counter(name for at_s, name in self._crashes if now_s - at_s <= CRASHES_S)

    def look(self, known: Snapshot, conditions: Mapping[str, Condition], now_s: float, *, acts: bool) -> None:
        """Judge every process once.

        Args:
            known: heartbeats, and supervisord's list.
            conditions: what was made of it.
            now_s: monotonic time.
            acts: end and start processes; else only report.
        """
        paused = self._looked_s is None or now_s - self._looked_s > PAUSE_S
        self._looked_s = now_s
        if known.supervision is None or known.supervision.problem or paused:
            self._silences.clear()
            return
        for name, condition in conditions.items():
            program = known.program(name)
            if program is not None and name != "healthd":
                self._follow(program, known, now_s)
                if acts:
                    self._end_silent(program, condition, known, now_s)
                    self._start_fatal(program, now_s)

    def start_off(self, known: Snapshot, conditions: Mapping[str, Condition]) -> None:
        """Start processes that had ended as disabled: a reload may have enabled them; if not, they end again."""
        for name, condition in conditions.items():
            program = known.program(name)
            if program is not None and condition.state == OFF:
                self._supervisor.start(program)

    def _follow(self, program: Program, known: Snapshot, now_s: float) -> None:
        """Report when a process has died without announcing its end, and when it runs again."""
        name, beat, before = program.name, known.beats.get(program.name), self._pids.get(program.name)
        gone = before is not None and program.pid != before
        announced = beat is not None and beat.heartbeat.pid == before and beat.heartbeat.state == "stopping"
        is_off = program.state == supervisor.EXITED and program.exit_status == EXIT_OFF
        if gone and not announced and not is_off and program.state not in {supervisor.STOPPED, supervisor.STOPPING}:
            self._down.add(name)
            if program.exit_status == EXIT_BUG:
                self._crashes.append((now_s, name))
            self._report(Event("process_died", f"{name} died: {_how(program)}; supervisord restarts it", name))
        if program.pid:
            self._pids[name] = program.pid
        elif gone:
            del self._pids[name]
        heard = beat is not None and beat.heartbeat.pid == program.pid and beat.heartbeat.state == "running"
        if name in self._down and heard:
            self._down.discard(name)
            self._report(Event("process_back", f"{name} runs again", name))

    def _end_silent(self, program: Program, condition: Condition, known: Snapshot, now_s: float) -> None:
        name, beat = program.name, known.beats.get(program.name)
        if condition.state != "silent" or program.state != supervisor.RUNNING:
            self._silences.pop(name, None)
            return
        unheard = beat is None or beat.heartbeat.pid != program.pid
        silence = self._silences.get(name)
        if silence is None or silence.pid != program.pid:
            silence = self._silences[name] = Silence(program.pid, now_s, now_s)
        if unheard and now_s - program.changed_s < UNHEARD_S:
            return
        if self._is_busy(silence, now_s) and now_s - silence.since_s < BUSY_S:
            return
        silence.worked_s = now_s + AGAIN_S  # until supervisord's list shows the new process
        where = self._where(name)
        if self._supervisor.kill(program):
            self._down.add(name)
            self._pids.pop(name, None)  # its death is no news
            heard_s = program.changed_s if unheard or beat is None else beat.received_s
            text = f"{name} sent no heartbeat for {now_s - heard_s:.0f} s{where}; killed, supervisord restarts it"
            self._report(Event("process_hung", text, name))

    def _where(self, process: str) -> str:
        """Return in words which source was at work when a process hung; its stack is in its log."""
        source, path = self._noted(process)
        work = f"reads {path}" if path else "is at work"
        return f" while its source {source} {work}" if source else ""

    def _is_busy(self, silence: Silence, now_s: float) -> bool:
        """Return whether a process used CPU time in the last seconds, or waits for the disk."""
        used = procfs.usage(silence.pid, self._proc)
        if used is None or used.state == "D" or used.cpu_seconds != silence.cpu_seconds:
            silence.worked_s = now_s
            silence.cpu_seconds = used.cpu_seconds if used else None
        return now_s - silence.worked_s < IDLE_S

    def _start_fatal(self, program: Program, now_s: float) -> None:
        name = program.name
        if program.state != supervisor.FATAL:
            if program.state == supervisor.RUNNING and now_s - program.changed_s > RETRY_MOST_S:
                self._fatal.pop(name, None)
            return
        given = self._fatal.get(name)
        if given is None:
            self._fatal[name] = GaveUp(now_s + RETRY_S)
            self._down.add(name)
            text = f"{name} cannot be started, supervisord has given up; tried again in {RETRY_S:g} s. Its log says why"
            self._report(Event("process_fatal", text, name))
        elif now_s >= given.next_s and self._supervisor.start(program):
            given.wait_s = min(RETRY_MOST_S, 2 * given.wait_s)
            given.next_s = now_s + given.wait_s


def _how(program: Program) -> str:
    if program.exit_status < 0:
        return "killed by a signal"
    return f"exit status {program.exit_status}" if program.exit_status else "killed, or it ended by itself"
