"""How often supervisord is asked, and what makes it be asked at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from healthd.heartbeats import Beat
from healthd.polling import MOVING_S, STEADY_S, Polling
from healthd.supervisor import Supervision, Supervisor
from tests.unit.healthd.build import NOW_S, beat, program, supervision


class FakeSupervisor(Supervisor):
    """One that gives what a test says, and counts."""

    def __init__(self) -> None:
        super().__init__(Path("/nowhere"))
        self.answer: Supervision | None = supervision()
        self.asked = 0

    def poll(self, now_s: float) -> Supervision | None:
        """Count."""
        self.asked += 1
        return self.answer


class Play:
    """A supervisord and a process, looked at every second."""

    def __init__(self, proc: Path) -> None:
        self.supervisor = FakeSupervisor()
        self.pid = proc / "100"
        self.pid.mkdir()
        self._polling = Polling(self.supervisor, proc)
        self._now_s = NOW_S

    def asked(self, beats: dict[str, Beat], seconds: float) -> int:
        """Return how many questions some seconds bring."""
        before = self.supervisor.asked
        for _ in range(int(seconds)):
            self._now_s += 1
            self._polling.look(beats, self._now_s)
        return self.supervisor.asked - before


@pytest.fixture
def play(tmp_path: Path) -> Play:
    """One that has been asked."""
    one = Play(tmp_path)
    assert 1 == one.asked(STEADY, 1)
    return one


STEADY = {"cpu": beat("cpu")}


def test_while_nothing_happens_it_is_asked_seldom(play: Play) -> None:
    """Once in `STEADY_S`; what moves is followed."""
    assert 10 == play.asked(STEADY, 10 * STEADY_S)
    play.supervisor.answer = supervision(program("cpu", "BACKOFF"))
    play.asked(STEADY, STEADY_S)
    assert 5 == play.asked(STEADY, 5 * MOVING_S)


@pytest.mark.parametrize(
    "news", [{"cpu": beat("cpu", pid=101)}, {"cpu": beat("cpu", state="stopping")}, {**STEADY, "disk": beat("disk")}]
)
def test_a_heartbeat_with_news_has_it_asked_at_once(play: Play, news: dict[str, Beat]) -> None:
    """Another process, a goodbye, one that was not there: once, even where supervisord knows nothing of it."""
    assert 1 == play.asked(news, 1)
    assert 0 == play.asked(news, STEADY_S - 1)


def test_one_that_is_heard_after_it_was_said_to_have_ended_has_it_asked_at_once(play: Play) -> None:
    """A heartbeat that came late is older than the next answer; one that was started again is in it."""
    play.supervisor.answer = supervision(program("cpu", "EXITED"), polled_s=NOW_S)
    play.asked(STEADY, STEADY_S)
    late = {"cpu": beat("cpu", age_s=-0.5)}
    assert 1 == play.asked(late, 1)
    play.supervisor.answer = supervision(program("cpu", "EXITED"), polled_s=NOW_S + 100)
    play.asked(late, 1)
    assert 0 == play.asked(late, STEADY_S - 2)


def test_a_process_that_is_gone_has_it_asked_until_it_says_so(play: Play) -> None:
    """Whatever killed it said nothing."""
    play.pid.rmdir()
    assert 3 == play.asked(STEADY, 3)
    play.supervisor.answer = Supervision(NOW_S)
    assert 1 == play.asked(STEADY, 1)
    assert 0 == play.asked(STEADY, MOVING_S)


def test_one_that_did_not_answer_is_asked_again_soon_then_ever_more_rarely(play: Play) -> None:
    """A busy start may cost one answer; each question to one that hangs costs a second."""
    play.supervisor.answer = supervision(problem="timed out")
    play.asked(STEADY, STEADY_S)
    assert 1 == play.asked(STEADY, MOVING_S)
    assert [1, 1, 1] == [play.asked(STEADY, seconds) for seconds in (4, 8, 16)]
    assert 10 == play.asked(STEADY, 10 * STEADY_S)


def test_one_that_hangs_is_not_asked_for_news(play: Play) -> None:
    """Each question would cost a second; one that is not there costs nothing."""
    play.supervisor.answer = supervision(problem="timed out")
    play.asked(STEADY, 4 * STEADY_S)
    play.pid.rmdir()
    assert 1 == play.asked({"cpu": beat("cpu", pid=101)}, STEADY_S)
    play.supervisor.answer = None
    play.asked(STEADY, STEADY_S)
    assert 5 == play.asked(STEADY, 5 * MOVING_S)
