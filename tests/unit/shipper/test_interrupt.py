"""A blocked call ends when its time is over or the process is to end, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from shipper.http.interrupt import DeadlineOver, Interrupted, interruptible
from tests.patience import Patience

NUMBERS = (signal.SIGTERM, signal.SIGINT, signal.SIGALRM)


@pytest.fixture(autouse=True)
def noted() -> Iterator[list[int]]:
    """The run loop's handlers, which only take a note."""
    numbers: list[int] = []
    before = {number: signal.getsignal(number) for number in NUMBERS}
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda got, _frame: numbers.append(got))
    yield numbers
    for number, handler in before.items():
        signal.signal(number, handler)


def handlers() -> list[Any]:
    """Return the handlers in force."""
    return [signal.getsignal(number) for number in NUMBERS]


def running() -> bool:
    """Nobody has asked the process to end."""
    return False


def many_short_waits() -> None:
    """None of which takes long."""
    for _ in range(1000):
        time.sleep(0.01)


def after(delay_s: float, act: Callable[[], object]) -> None:
    """Do something in a while."""
    timer = threading.Timer(delay_s, act)
    timer.daemon = True
    timer.start()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_end_ends_the_call(noted: list[int], number: int) -> None:
    """At once, and the loop is told."""
    before, patience = handlers(), Patience(1)

    def call() -> None:
        after(0.05, lambda: os.kill(os.getpid(), number))  # from here on: before, the signal is the loop's
        time.sleep(30)

    with pytest.raises(Interrupted):
        interruptible(call, 30, running)
    assert not patience.is_over()
    assert [number] == noted
    assert before == handlers()


def test_a_call_has_a_deadline() -> None:
    """However it spends its time."""
    before, patience = handlers(), Patience(1)
    with pytest.raises(DeadlineOver):
        interruptible(many_short_waits, 0.05, running)
    assert not patience.is_over()
    assert before == handlers()


def test_what_is_to_end_already_does_not_begin() -> None:
    """The signal came before there was a handler that raises."""
    calls: list[int] = []
    with pytest.raises(Interrupted):
        interruptible(lambda: calls.append(1), 30, lambda: True)
    assert [] == calls


def test_the_result_comes_back_and_so_do_the_handlers() -> None:
    """A call that is not cut short is as if nothing had been there."""
    before = handlers()
    assert interruptible(lambda: 7, 30, running) == 7
    assert before == handlers()


def test_an_error_comes_through() -> None:
    """It is the caller's."""
    with pytest.raises(ZeroDivisionError):
        interruptible(lambda: 1 // 0, 30, running)


def test_a_signal_afterwards_is_the_loops(noted: list[int]) -> None:
    """Nothing raises any more."""
    interruptible(lambda: 7, 30, running)
    os.kill(os.getpid(), signal.SIGTERM)
    assert [signal.SIGTERM] == noted


def test_an_alarm_of_somebody_else_still_comes() -> None:
    """With what was left of its time."""
    came: list[float] = []
    ours, (left_s, again_s) = signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)
    signal.signal(signal.SIGALRM, lambda _number, _frame: came.append(time.monotonic()))
    try:
        patience, began_s = Patience(1), time.monotonic()
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        interruptible(lambda: time.sleep(0.05), 30, running)
        while not came and not patience.is_over():
            time.sleep(0.01)
    finally:
        signal.signal(signal.SIGALRM, ours)
        signal.setitimer(signal.ITIMER_REAL, left_s, again_s)
    assert came
    assert 0.15 < came[0] - began_s
