"""The run loop: timers on a monotonic grid, sockets and signals in one poller, one step at a time.

The grid is one for all timers and all processes: the multiples of an interval on CLOCK_MONOTONIC. What is due at the
same moment costs one wake-up, of the process and of those that hear from it. A step is never cut in half: signals only
wake the poller. Deadlines missed because a step overran are skipped and counted, not made up for.
"""

from __future__ import annotations

import math
import signal
import socket
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import zmq

Step = Callable[[], None]

READ_SIGNALS_BYTES = 4096
ON_GRID = 1e-6  # of an interval: what floating point makes of its multiples


class Timer:
    """A step and when it is due.

    Attributes:
        step: what to do.
        due_s: monotonic time of the next deadline.
        skipped: deadlines that passed while a step overran.
    """

    def __init__(self, step: Step, interval_s: float, due_s: float) -> None:
        self.step = step
        self.due_s = due_s
        self.skipped = 0
        self._interval_s = interval_s

    @property
    def interval_s(self) -> float:
        """Time between two deadlines; a shorter one brings the next deadline forward."""
        return self._interval_s

    @interval_s.setter
    def interval_s(self, interval_s: float) -> None:
        if interval_s < self._interval_s:
            self.due_s = min(self.due_s, time.monotonic() + interval_s)
        self._interval_s = interval_s

    def advance(self, now_s: float) -> None:
        """Move to the next deadline of the grid that lies ahead."""
        began = self.due_s / self._interval_s
        was_on_grid = abs(began - round(began)) < ON_GRID
        next_s = (math.floor(now_s / self._interval_s + ON_GRID) + 1) * self._interval_s
        if was_on_grid:
            self.skipped += max(0, round((next_s - self.due_s) / self._interval_s) - 1)
        elif next_s - now_s < self._interval_s / 2:  # a rate over less would say little
            next_s += self._interval_s
        self.due_s = next_s

    def postpone(self, until_s: float) -> None:
        """Replace the next deadline."""
        self.due_s = until_s


class Loop:
    """Wait for the next deadline, message or signal, and do that step."""

    def __init__(self) -> None:
        self._timers: list[Timer] = []
        self._readers: dict[Any, Step] = {}
        self._poller = zmq.Poller()
        self._reload: Step | None = None
        self._reload_asked = False
        self.stopping = False
        self._wakeup, self._signalled = socket.socketpair()
        self._wakeup.setblocking(False)
        self._signalled.setblocking(False)
        self.on_readable(self._wakeup.fileno(), self._drain_wakeup)
        signal.signal(signal.SIGHUP, self._reload_wanted)  # unhandled it would kill a process that is still starting

    def every(self, interval_s: float, step: Step, *, first_s: float = 0.0) -> Timer:
        """Do a step at once (or after `first_s`) and then at the multiples of its interval, all processes together."""
        timer = Timer(step, interval_s, time.monotonic() + first_s)
        self._timers.append(timer)
        return timer

    def on_readable(self, source: Any, step: Step) -> None:
        """Do a step whenever a ZeroMQ socket or a file descriptor has something to read."""
        self._readers[source] = step
        self._poller.register(source, zmq.POLLIN)

    def ignore(self, source: Any) -> None:
        """Stop reading a source until `on_readable` is called for it again."""
        if self._readers.pop(source, None) is not None:
            self._poller.unregister(source)

    def on_reload(self, step: Step) -> None:
        """Do a step when SIGHUP asks for the configuration to be read again."""
        self._reload = step

    def stop(self) -> None:
        """End `run` after the current step."""
        self.stopping = True

    def run(self) -> None:
        """Run until SIGTERM, SIGINT or `stop`."""
        self._take_signals()
        while not self.stopping:
            self.turn()

    def close(self) -> None:
        """Close the signals' descriptors."""
        signal.set_wakeup_fd(-1)
        self._wakeup.close()
        self._signalled.close()

    def turn(self) -> None:
        """Wait for one event and handle everything that is due."""
        for source, _ in self._poller.poll(self._timeout_ms()):
            step = self._readers.get(source)
            if step is not None and not self.stopping:
                step()
        if self._reload_asked:
            self._reload_asked = False
            if self._reload is not None:
                self._reload()
        for timer in self._timers:
            if not self.stopping and timer.due_s <= time.monotonic():
                timer.step()
                if timer.due_s <= time.monotonic():  # the step itself may have set another deadline
                    timer.advance(time.monotonic())

    def _timeout_ms(self) -> int:
        if not self._timers:
            return -1
        wait_s = min(timer.due_s for timer in self._timers) - time.monotonic()
        return max(0, int(wait_s * 1000) + 1) if wait_s > 0 else 0

    def _take_signals(self) -> None:
        signal.set_wakeup_fd(self._signalled.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, self._stop_asked)
        signal.signal(signal.SIGINT, self._stop_asked)

    def _stop_asked(self, _signal: int, _frame: FrameType | None) -> None:
        self.stopping = True

    def _reload_wanted(self, _signal: int, _frame: FrameType | None) -> None:
        self._reload_asked = True

    def _drain_wakeup(self) -> None:
        try:
            self._wakeup.recv(READ_SIGNALS_BYTES)
        except BlockingIOError:
            pass  # somebody else's wake-up
