"""How long the watchdog waits, in figures of their own, and what it forgets."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.events import Event
from healthd.programs import Condition
from healthd.supervisor import Program
from healthd.watchdog import BUSY_S, Watchdog
from tests.unit.healthd.build import NOW_S, known, program, supervision
from tests.unit.healthd.test_watchdog import RUNNING, SILENT, FakeSupervisor, Play

FATAL = Condition("fatal", "given up by supervisord")
GIVEN_UP = program("cpu", "FATAL", pid=0)


@pytest.fixture
def play(tmp_path: Path) -> Play:
    """A watchdog that has looked before."""
    play = Play(tmp_path)
    play.look(RUNNING, seconds=2)
    return play


def looks(play: Play, state: Condition, *programs: Program, until_s: int, step_s: int = 1) -> list[int]:
    """Look for some time; return after how many seconds supervisord was told something."""
    began_s, told = play.now_s, []
    while play.now_s < began_s + until_s:
        play.now_s += step_s - 1
        told += [int(play.now_s - began_s) for _ in play.look(state, *programs)]
    return told


def test_starts_of_what_was_given_up_are_ten_minutes_apart_at_most(play: Play) -> None:
    """After 30 s, then 1, 2, 4 and 8 minutes later, then every ten."""
    assert [35, 95, 215, 455, 935, 1535, 2135] == looks(play, FATAL, GIVEN_UP, until_s=2500, step_s=5)


@pytest.mark.parametrize(("ran_s", "kinds", "starts"), [(600.0, [], [110]), (601.0, ["process_fatal"], [31, 91])])
def test_ten_minutes_of_running_begin_the_waits_again(
    play: Play, ran_s: float, kinds: list[str], starts: list[int]
) -> None:
    """What ran for longer and is given up again is news, and is tried after 30 s; what ran for less is neither."""
    looks(play, FATAL, GIVEN_UP, until_s=100)
    play.look(RUNNING, program("cpu", changed_s=play.now_s + 1 - ran_s), beats={"cpu": "running"})
    play.kinds()
    assert starts == looks(play, FATAL, GIVEN_UP, until_s=110)
    assert kinds == [kind for kind in play.kinds() if kind == "process_fatal"]


def test_a_program_that_never_ran_comes_back_with_an_event(tmp_path: Path) -> None:
    """Given up from the first look on, and running later."""
    play = Play(tmp_path)
    play.look(FATAL, GIVEN_UP, seconds=3)
    play.look(RUNNING, program("cpu"), seconds=3, beats={"cpu": "running"})
    assert ["process_fatal", "process_back"] == play.kinds()


def test_what_died_comes_back_once(play: Play) -> None:
    """One event for the end, one for the return: when the new process was heard."""
    play.look(RUNNING, program("cpu", pid=101), beats={"cpu": "running"})
    assert ["process_died"] == play.kinds()
    play.look(RUNNING, program("cpu", pid=100), seconds=3, beats={"cpu": "running"})
    assert ["process_died", "process_back"] == play.kinds()


def test_what_was_ended_comes_back_once(play: Play) -> None:
    """Its death is no second event, its return is one."""
    play.look(SILENT, seconds=3)
    assert ["process_hung"] == play.kinds()
    play.look(RUNNING, program("cpu", pid=101), seconds=2)
    play.look(RUNNING, program("cpu", pid=100, exit_status=-1), seconds=3, beats={"cpu": "running"})
    assert ["process_died", "process_back"] == play.kinds()


def test_the_first_heartbeat_may_take_a_minute(play: Play) -> None:
    """From the start of a process that was never heard of; then it is idle for two seconds, and ended."""
    fresh = program("cpu", pid=101, changed_s=play.now_s)
    assert [62] == looks(play, SILENT, fresh, until_s=70)


def test_a_process_that_works_has_a_quarter_of_an_hour() -> None:
    """What another test measures in its own terms."""
    assert 900.0 == BUSY_S


def test_it_is_ended_again_after_a_quarter_of_a_minute(play: Play) -> None:
    """Supervisord's list shows a new process later; one that did not die is ended once more."""
    assert [3, 20, 37] == looks(play, SILENT, until_s=40)


def test_five_seconds_between_two_looks_are_no_pause(play: Play) -> None:
    """After more than that nobody is judged, for the silence may be this process' own."""
    assert [10] == looks(play, SILENT, until_s=10, step_s=5)
    assert [] == looks(play, SILENT, until_s=60, step_s=6)


def test_a_silence_begins_when_it_begins(play: Play) -> None:
    """One that ended is no part of the next."""
    play.look(SILENT)
    play.look(RUNNING, seconds=10)
    assert [] == play.look(SILENT)


def test_who_was_never_heard_of_is_ended_too(play: Play) -> None:
    """A process without any heartbeat, long after its start."""
    supervisor = FakeSupervisor()
    watchdog = Watchdog(supervisor, lambda _: None, play.proc)
    for second in range(6):
        status = known(supervision=supervision(program("cpu")), without=("cpu",))
        watchdog.look(status, {"cpu": SILENT}, NOW_S + second, acts=True)
    assert ["kill collectors:cpu"] == supervisor.told


def test_healthd_does_not_end_itself(play: Play) -> None:
    """Its own heartbeat may be late."""
    supervisor, events = FakeSupervisor(), list[Event]()
    watchdog = Watchdog(supervisor, events.append, play.proc)
    for second in range(10):
        watchdog.look(known(supervision=supervision()), {"healthd": SILENT}, NOW_S + second, acts=True)
    assert ([], []) == (supervisor.told, events)


@pytest.mark.parametrize(("status", "words"), [(-1, "signal"), (0, "ended by itself"), (1, "exit status 1")])
def test_a_death_tells_how(play: Play, status: int, words: str) -> None:
    """Supervisord's exit status, in words."""
    play.look(RUNNING, program("cpu", pid=101, exit_status=status))
    assert words in play.events[0].text
