"""Whom the watchdog ends, whom it leaves alone, and what it says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from common.events import Event
from common.service import EXIT_OFF
from healthd.programs import OFF, Condition
from healthd.supervisor import Program, Supervisor
from healthd.watchdog import BUSY_S, PAUSE_S, RETRY_S, UNHEARD_S, Watchdog
from tests.unit.healthd.build import NOW_S, beat, known, program, supervision

SILENT = Condition("silent", "sends no heartbeats")
RUNNING = Condition("running")


class FakeSupervisor(Supervisor):
    """One that notes what it is told."""

    def __init__(self) -> None:
        super().__init__(Path("/nowhere"))
        self.told: list[str] = []

    def kill(self, program: Program) -> bool:
        """Note it."""
        self.told.append(f"kill {program.full_name}")
        return True

    def start(self, program: Program) -> bool:
        """Note it."""
        self.told.append(f"start {program.full_name}")
        return True


class Play:
    """A watchdog that looks every second."""

    def __init__(self, proc: Path, noted: Callable[[str], tuple[str, str]] = lambda _: ("", "")) -> None:
        self.proc = proc
        self.supervisor = FakeSupervisor()
        self.events: list[Event] = []
        self.now_s = NOW_S
        self._watchdog = Watchdog(self.supervisor, self.events.append, proc, noted)
        self.works(0)

    def works(self, ticks: int, state: str = "S") -> None:
        """Set the CPU time and the state of every process."""
        fields = [state, *["0"] * 10, str(ticks), "0", *["0"] * 6, "1"]
        for pid in (100, 101):
            folder = self.proc / str(pid)
            folder.mkdir(exist_ok=True)
            (folder / "stat").write_text(f"{pid} (python3) {' '.join(fields)}\n", encoding="ascii")
            (folder / "statm").write_text("10 5 3 1 0 1 0\n", encoding="ascii")

    def look(
        self,
        state: Condition = SILENT,
        *programs: Program,
        seconds: int = 1,
        acts: bool = True,
        beats: Mapping[str, str] | None = None,
    ) -> list[str]:
        """Look some times at a collector `cpu`; return what supervisord was told."""
        for _ in range(seconds):
            self.now_s += 1
            said = [beat(name, state=word) for name, word in (beats or {}).items()]
            self._watchdog.look(known(*said, supervision=supervision(*programs)), {"cpu": state}, self.now_s, acts=acts)
        told, self.supervisor.told = self.supervisor.told, []
        return told

    def crashes(self) -> Mapping[str, int]:
        """Return what was counted."""
        return self._watchdog.crashes(self.now_s)

    def kinds(self) -> list[str]:
        """Return the kinds of the events so far, and forget them."""
        kinds = [event.kind for event in self.events]
        self.events.clear()
        return kinds


@pytest.fixture
def play(tmp_path: Path) -> Play:
    """One watchdog that has looked before."""
    play = Play(tmp_path)
    play.look(RUNNING, seconds=2)
    return play


def test_a_silent_process_is_ended(play: Play) -> None:
    """Once, and with an event."""
    assert ["kill collectors:cpu"] == play.look(seconds=3)
    assert ["process_hung"] == play.kinds()


@pytest.mark.parametrize(
    ("noted", "said"),
    [
        (("cpu", "proc/stat"), " while its source cpu reads proc/stat"),
        (("modem", ""), " while its source modem is at work"),
        (("", ""), ""),
    ],
)
def test_the_event_names_what_a_process_hangs_at(tmp_path: Path, noted: tuple[str, str], said: str) -> None:
    """As the process has noted it, in whose log its stack is."""
    play = Play(tmp_path, lambda process: noted if process == "cpu" else ("", ""))
    play.look(RUNNING, seconds=2)
    play.look(seconds=3)
    (event,) = play.events
    assert f"heartbeat for 6 s{said}; killed, supervisord restarts it" in event.text


def test_a_silent_process_that_works_is_left_alone(play: Play) -> None:
    """A migration takes its time, but not for ever."""
    for second in range(int(BUSY_S / PAUSE_S)):
        play.works(second)
        play.now_s += PAUSE_S - 1
        assert [] == play.look()
    play.works(999_999)
    play.now_s += PAUSE_S - 1
    assert ["kill collectors:cpu"] == play.look()


def test_a_process_that_waits_for_the_disk_is_left_alone(play: Play) -> None:
    """SIGKILL would not reach it anyway."""
    play.works(0, "D")
    assert [] == play.look(seconds=60)


def test_nobody_is_judged_after_a_pause(play: Play) -> None:
    """The silence may be this process' own."""
    play.look(seconds=1)
    play.now_s += PAUSE_S + 1
    assert [] == play.look(seconds=2)


def test_a_process_has_time_for_its_first_heartbeat(play: Play) -> None:
    """Another pid than the one that was heard: it may still import."""
    fresh = program("cpu", pid=101, changed_s=play.now_s)
    assert [] == play.look(SILENT, fresh, seconds=int(UNHEARD_S))
    assert ["kill collectors:cpu"] == play.look(SILENT, fresh, seconds=3)


def test_it_only_reports_where_it_may_not_act(play: Play) -> None:
    """`health.watchdog: false` leaves hung processes, and those given up, to the operator."""
    assert [] == play.look(seconds=10, acts=False)
    assert [] == play.look(RUNNING, program("cpu", "FATAL"), seconds=2 * int(RETRY_S), acts=False)
    assert ["process_died"] == play.kinds()


def test_what_supervisord_has_given_up_is_tried_again(play: Play) -> None:
    """With growing waits, and one event."""
    fatal = Condition("fatal", "given up by supervisord")
    gone = program("cpu", "FATAL", pid=0, spawn_error="exited too quickly")
    looks = [play.look(fatal, gone) for _ in range(300)]
    starts = [second for second, told in enumerate(looks) if told]
    assert [30, 90, 210] == starts
    assert ["process_died", "process_fatal"] == play.kinds()
    play.look(RUNNING, program("cpu"), beats={"cpu": "running"})
    assert ["process_back"] == play.kinds()


def test_crashes_of_the_last_ten_minutes_are_counted(play: Play) -> None:
    """Whoever is killed has not crashed."""
    play.look(RUNNING, program("cpu", pid=100, exit_status=-1), beats={"cpu": "running"})
    for pid in (101, 102, 103):
        play.look(RUNNING, program("cpu", pid=pid, exit_status=1), beats={"cpu": "running"})
    assert {"cpu": 3} == play.crashes()
    play.now_s += 600
    assert {"cpu": 1} == play.crashes()
    play.now_s += 1
    assert {} == play.crashes()


def test_a_death_is_an_event_and_a_goodbye_is_none(play: Play) -> None:
    """Killed: died and back; stopped by an operator, or restarted with a goodbye: nothing."""
    play.look(RUNNING, program("cpu", pid=101, exit_status=-1), beats={"cpu": "running"})
    died = [event.text for event in play.events]
    assert ["cpu died: killed by a signal; supervisord restarts it"] == died
    assert ["process_died"] == play.kinds()
    play.look(RUNNING, program("cpu"))
    play.kinds()
    play.look(Condition("stopped"), program("cpu", "STOPPED"))
    assert [] == play.kinds()
    play.look(RUNNING, program("cpu"))
    play.look(RUNNING, program("cpu", pid=102), beats={"cpu": "stopping"})
    assert "process_died" not in play.kinds()


def test_what_ends_because_it_is_off_did_not_die(play: Play) -> None:
    """A collector that the configuration has switched off says so with its exit code."""
    play.look(Condition(OFF), program("cpu", "EXITED", pid=0, exit_status=EXIT_OFF))
    assert [] == play.kinds()


@pytest.mark.parametrize("fields", [{"state": "EXITED", "exit_status": 0}, {"pid": 101, "exit_status": EXIT_OFF}])
def test_what_ends_otherwise_or_runs_again_has_died(play: Play, fields: dict[str, Any]) -> None:
    """Both, the state and the exit code, say that it is off."""
    play.look(RUNNING, program("cpu", **fields))
    assert ["process_died"] == play.kinds()


def test_what_was_ended_and_is_heard_again_is_back(play: Play) -> None:
    """One event for each."""
    play.look(SILENT, seconds=3)
    play.look(RUNNING, program("cpu", pid=100), seconds=2, beats={"cpu": "running"})
    assert ["process_hung", "process_back"] == play.kinds()


def test_a_silence_is_counted_from_the_last_start(play: Play) -> None:
    """A heartbeat of the process before it is none of this one."""
    play.look(SILENT, program("cpu", pid=101, changed_s=play.now_s - 97), seconds=3, beats={"cpu": "running"})
    assert ["sent no heartbeat for 100 s"] == [
        event.text.partition("cpu ")[2].partition(";")[0] for event in play.events if event.kind == "process_hung"
    ]


def test_what_is_off_is_tried_at_a_reload(tmp_path: Path) -> None:
    """It may be enabled now; an operator's stop holds."""
    supervisor = FakeSupervisor()
    conditions = {"cpu": Condition(OFF), "disk": Condition("stopped"), "nobody": Condition(OFF)}
    status = known(supervision=supervision(program("cpu", "EXITED"), program("disk", "STOPPED")))
    Watchdog(supervisor, print, tmp_path).start_off(status, conditions)
    assert ["start collectors:cpu"] == supervisor.told
