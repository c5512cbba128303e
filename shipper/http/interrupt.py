"""Cut a blocking call short: when its time is over, or when the process is asked to end.

A read timeout bounds each wait for bytes, not their sum: a server that sends one byte now and then keeps a
call for hours. And the run loop's handlers only take a note, which a blocked call does not read. So for the
time of the call an alarm and the signals to end raise inside it. For the main thread only.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from types import FrameType
from typing import TypeVar

Result = TypeVar("Result")

REPEAT_S = 1.0  # an exception raised inside a destructor is lost; the next one is not
_END = (signal.SIGTERM, signal.SIGINT)


class Interrupted(BaseException):
    """The process was asked to end. Not an `Exception`, so that no library takes it for a network error."""


class DeadlineOver(BaseException):
    """The call took longer than it may."""


def interruptible(call: Callable[[], Result], deadline_s: float, stopping: Callable[[], bool]) -> Result:
    """Run a call that SIGTERM or its deadline interrupts; return its result.

    The handlers in force before are still called, and are in force again afterwards; so is an alarm that
    somebody else had set.

    Args:
        call: what may block.
        deadline_s: how long it may take.
        stopping: whether the process was asked to end already, before there was a handler that raises.

    Raises:
        Interrupted: SIGTERM or SIGINT came.
        DeadlineOver: `deadline_s` seconds have passed.
    """
    armed = True
    before = {number: signal.getsignal(number) for number in (*_END, signal.SIGALRM)}

    def end(number: int, frame: FrameType | None) -> None:
        noted = before[signal.Signals(number)]
        if callable(noted):
            noted(number, frame)
        if armed:
            raise Interrupted

    def alarm(_number: int, _frame: FrameType | None) -> None:
        if armed:
            raise DeadlineOver

    began_s = time.monotonic()
    others_alarm_s = signal.getitimer(signal.ITIMER_REAL)[0]
    try:
        try:
            for number in _END:
                signal.signal(number, end)
            signal.signal(signal.SIGALRM, alarm)
            signal.setitimer(signal.ITIMER_REAL, deadline_s, REPEAT_S)
            if stopping():
                raise Interrupted
            return call()
        finally:
            armed = False
    finally:  # a second one: the signal that comes just before the first is through must not skip this
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)
        if others_alarm_s:
            signal.setitimer(signal.ITIMER_REAL, max(others_alarm_s - (time.monotonic() - began_s), 0.001))
