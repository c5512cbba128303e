"""The run loop: grid, signals, sources, one whole step at a time."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest
import zmq

from common import loop as module
from common.loop import Loop, Timer
from tests.patience import Patience

pytestmark = pytest.mark.usefixtures("own_signals")


@pytest.fixture
def loop() -> Iterator[Loop]:
    """A loop whose own sockets are closed afterwards."""
    new = Loop()
    yield new
    new.close()


class Clock:
    """A monotonic clock that a test moves."""

    def __init__(self, now_s: float) -> None:
        self.now_s = now_s

    def monotonic(self) -> float:
        """Return the time."""
        return self.now_s


def nothing() -> None:
    """Do nothing."""


@pytest.mark.parametrize(
    ("now_s", "due_s", "skipped"),
    [(100.0, 110.0, 0), (109.9, 110.0, 0), (110.0, 120.0, 1), (110.1, 120.0, 1), (119.9, 120.0, 1), (151.0, 160.0, 5)],
)
def test_deadlines_lie_on_a_grid_and_missed_ones_are_counted(now_s: float, due_s: float, skipped: int) -> None:
    """After an overrun the next deadline is the next one of the grid that lies ahead; none is made up for."""
    timer = Timer(nothing, 10.0, 100.0)
    timer.advance(now_s)
    assert (due_s, skipped) == (timer.due_s, timer.skipped)


@pytest.mark.parametrize(("began_s", "due_s"), [(103.0, 110.0), (105.0, 110.0), (105.1, 120.0), (109.9, 120.0)])
def test_a_timer_joins_the_grid_of_all_processes(began_s: float, due_s: float) -> None:
    """The multiples of its interval, the first of them half an interval away at least; nothing counts as missed."""
    timer = Timer(nothing, 10.0, began_s)
    timer.advance(began_s)
    assert (due_s, 0) == (timer.due_s, timer.skipped)


def test_timers_of_several_intervals_coincide(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whenever they were begun: one wake-up does for all of them."""
    clock = Clock(1000.3)
    monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(loop, "_timeout_ms", lambda: 0)
    timers = []
    for interval_s in (0.5, 1.0, 2.0, 5.0, 10.0, 30.0):
        timers.append(loop.every(interval_s, nothing))
        loop.turn()
        clock.now_s += 0.17
    assert {0.0} == {timer.due_s % timer.interval_s for timer in timers}


def test_a_timer_does_not_drift(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that is late by a little is not late by more the next time."""
    clock = Clock(100.0)
    monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(loop, "_timeout_ms", lambda: 0)
    ran_s: list[float] = []
    loop.every(1.0, lambda: ran_s.append(clock.now_s))
    for _ in range(1000):
        loop.turn()
        clock.now_s += 0.013
    assert 13 == len(ran_s)
    assert all(0 <= when_s - (100.0 + index) < 0.014 for index, when_s in enumerate(ran_s))


def test_a_step_that_overruns_skips_and_counts(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A collect of 35 s on a 10 s interval costs three deadlines and runs next on the grid."""
    clock = Clock(100.0)
    monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(loop, "_timeout_ms", lambda: 0)

    def step() -> None:
        clock.now_s += 35

    timer = loop.every(10.0, step)
    loop.turn()
    assert (3, 140.0) == (timer.skipped, timer.due_s)


def test_the_first_step_comes_when_it_is_asked_for(loop: Loop) -> None:
    """At once, or after a wait."""
    before_s = time.monotonic()
    assert before_s <= loop.every(60.0, nothing).due_s <= time.monotonic()
    assert before_s + 5 <= loop.every(60.0, nothing, first_s=5).due_s <= time.monotonic() + 5


def test_a_shorter_interval_brings_the_next_deadline_forward(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reload from a day to ten seconds does not take effect tomorrow."""
    monkeypatch.setattr(module, "time", Clock(1000.0))
    timer = Timer(nothing, 86_400.0, 80_000.0)
    timer.interval_s = 10.0
    assert 1010.0 == timer.due_s
    timer.interval_s = 60.0
    assert (1010.0, 60.0) == (timer.due_s, timer.interval_s)


def test_a_step_can_set_its_own_next_deadline(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Postponing wins over the grid, once."""
    clock = Clock(100.0)
    monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(loop, "_timeout_ms", lambda: 0)
    timer = loop.every(5.0, lambda: timer.postpone(130.0))
    loop.turn()
    assert (130.0, 0) == (timer.due_s, timer.skipped)


def test_the_loop_sleeps_until_the_next_deadline(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """It wakes for what is due first, a millisecond late at most, and not at all without timers."""
    assert -1 == loop._timeout_ms()
    monkeypatch.setattr(module, "time", Clock(100.0))
    loop.every(60.0, nothing, first_s=60)
    loop.every(60.0, nothing, first_s=2.5)
    assert 2501 == loop._timeout_ms()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_an_idle_loop_at_once(loop: Loop, number: signal.Signals) -> None:
    """From SIGTERM in the middle of a long sleep to the end of `run` is less than 100 ms; the best of three tells."""
    loop.every(3600.0, nothing, first_s=3600)
    sent_s: list[float] = []
    took_s: list[float] = []

    def send() -> None:
        sent_s.append(time.monotonic())
        os.kill(os.getpid(), number)

    loop._take_signals()  # as `run` does; a signal before that is not the loop's, and this machine may be late
    for _ in range(3):
        loop.stopping = False
        timer = threading.Timer(0.05, send)
        timer.start()
        loop.run()
        took_s.append(time.monotonic() - sent_s[-1])
        timer.join()
    assert min(took_s) < 0.1


def test_a_step_is_never_cut_in_half(loop: Loop) -> None:
    """A signal in the middle of a step waits for its end; steps after it are not begun."""
    story: list[str] = []

    def step() -> None:
        story.append("begun")
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.02)  # interrupted by the signal, and resumed
        story.append("ended")

    loop.every(60.0, step)
    loop.every(60.0, lambda: story.append("never"))
    loop.run()
    assert ["begun", "ended"] == story


def test_sighup_asks_for_a_reload_at_once(loop: Loop) -> None:
    """The reload step is done on the loop, between steps, and the loop goes on."""
    story: list[str] = []

    def reload() -> None:
        story.append("reloaded")
        loop.every(60.0, loop.stop)

    loop.on_reload(reload)
    loop.every(3600.0, nothing, first_s=3600)
    timer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGHUP))
    timer.start()
    patience = Patience(0.5)
    loop.run()
    timer.join()
    assert ["reloaded"] == story
    assert not patience.is_over()


def test_sighup_before_the_loop_runs_is_not_deadly(loop: Loop) -> None:
    """A process that is still starting reads its configuration again instead of dying."""
    story: list[str] = []
    loop.on_reload(lambda: story.append("reloaded"))
    os.kill(os.getpid(), signal.SIGHUP)
    loop.every(60.0, nothing)
    loop.turn()
    assert ["reloaded"] == story


def test_sighup_without_a_reload_step_is_nothing(loop: Loop) -> None:
    """Not every process has something to read again."""
    os.kill(os.getpid(), signal.SIGHUP)
    loop.every(60.0, nothing)
    loop.turn()
    assert not loop.stopping


def test_a_readable_source_wakes_the_loop_until_it_is_ignored(loop: Loop) -> None:
    """Descriptors and ZeroMQ sockets are read as they become readable, and not while they are ignored."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
    left, right = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
    left.bind("inproc://loop")
    right.connect("inproc://loop")
    reader, writer = os.pipe()
    taken: list[bytes] = []
    loop.on_readable(right, lambda: taken.append(right.recv()))
    loop.on_readable(reader, lambda: taken.append(os.read(reader, 10)))
    loop.every(60.0, nothing, first_s=0.05)
    left.send(b"socket")
    loop.turn()
    os.write(writer, b"pipe")
    loop.turn()
    assert [b"socket", b"pipe"] == taken
    loop.ignore(right)
    loop.ignore(right)
    left.send(b"later")
    loop.turn()
    assert [b"socket", b"pipe"] == taken
    loop.on_readable(right, lambda: taken.append(right.recv()))
    loop.turn()
    assert b"later" == taken[-1]
    for socket in (left, right):
        socket.close(linger=0)
    os.close(reader)
    os.close(writer)


def test_a_source_ignored_by_another_step_of_the_same_turn_is_not_read(loop: Loop) -> None:
    """Ignoring takes effect at once, also for what the poller has reported already."""
    pipes = [os.pipe() for _ in range(2)]
    taken: list[int] = []

    def take(own: int, other: int) -> None:
        taken.append(os.read(own, 1)[0])
        loop.ignore(other)

    (first, first_end), (second, second_end) = pipes
    loop.on_readable(first, lambda: take(first, second))
    loop.on_readable(second, lambda: take(second, first))
    for end in (first_end, second_end):
        os.write(end, b"x")
    loop.turn()
    assert 1 == len(taken)
    for descriptor in (first, first_end, second, second_end):
        os.close(descriptor)


def test_after_stop_no_step_is_begun(loop: Loop) -> None:
    """`stop` ends the loop after the step that called it."""
    story: list[str] = []

    def first() -> None:
        story.append("first")
        loop.stop()

    loop.every(60.0, first)
    loop.every(60.0, lambda: story.append("second"))
    loop.run()
    assert ["first"] == story


def test_many_signals_do_not_fill_anything(loop: Loop) -> None:
    """Ten thousand SIGHUPs are one reload, and the loop sleeps again afterwards."""
    story: list[str] = []
    loop.on_reload(lambda: story.append("reloaded"))
    loop._take_signals()
    for _ in range(10_000):
        os.kill(os.getpid(), signal.SIGHUP)
    loop.every(3600.0, nothing, first_s=3600)
    while loop._poller.poll(0):
        loop.turn()
    assert 1 <= len(story) <= 10
