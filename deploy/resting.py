"""Let supervisord sleep while none of its processes starts, stops or waits for its next try.

supervisord looks at all of them once a second. What it has to know comes by itself: output, the end of a process, a
request and a signal are each readable. So it looks once a second only while something moves.
"""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from supervisor import supervisord
from supervisor.poller import PollPoller
from supervisor.states import ProcessStates, SupervisorStates

REST_S = 30.0
MOVING = {ProcessStates.STARTING, ProcessStates.BACKOFF, ProcessStates.STOPPING}
READ_SIGNALS_BYTES = 4096


class SignalReader:
    """A place in supervisord's loop that is readable after a signal, which does not end a poll (PEP 475)."""

    def __init__(self) -> None:
        self._read, self._written = socket.socketpair()
        self._read.setblocking(False)
        self._written.setblocking(False)
        signal.set_wakeup_fd(self._written.fileno(), warn_on_full_buffer=False)

    def fileno(self) -> int:
        """Return the descriptor to wait for."""
        return self._read.fileno()

    def readable(self) -> bool:
        """Say that it waits to read, always."""
        return True

    def writable(self) -> bool:
        """Say that it never waits to write."""
        return False

    def handle_read_event(self) -> None:
        """Read the numbers of the signals: supervisord's handlers have them already."""
        with suppress(BlockingIOError):
            self._read.recv(READ_SIGNALS_BYTES)

    def handle_error(self) -> None:
        """Do nothing: there is no error to handle."""

    def close(self) -> None:
        """Have signals wake nobody any more."""
        signal.set_wakeup_fd(-1)
        self._read.close()
        self._written.close()


class RestingPoller(PollPoller):  # type: ignore[misc] # supervisor has no types
    """supervisord's poller, which waits longer while nothing moves.

    Attributes:
        supervisor: whose processes are looked at; set by itself.
    """

    supervisor: Any = None
    _seen: tuple[int, ...] = ()

    def poll(self, timeout: float) -> tuple[list[int], list[int]]:
        """Wait for what is readable or writable, `timeout` seconds or `REST_S`."""
        states = tuple(_states(self.supervisor.process_groups.values()))
        # One that has just ended may have to be started again: its state has changed since the last look.
        is_moving = states != self._seen or not MOVING.isdisjoint(states)
        self._seen = states
        rests = not is_moving and self.supervisor.options.mood == SupervisorStates.RUNNING
        found: tuple[list[int], list[int]] = super().poll(REST_S if rests else timeout)
        return found


class RestingSupervisor(supervisord.Supervisor):  # type: ignore[misc] # supervisor has no types
    """supervisord with that poller."""

    def __init__(self, options: Any) -> None:
        super().__init__(options)
        options.poller.supervisor = self


def _states(groups: Iterable[Any]) -> Iterable[int]:
    for group in groups:
        for process in group.processes.values():
            yield process.get_state()
