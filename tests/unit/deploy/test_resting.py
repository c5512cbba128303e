"""supervisord sleeps while nothing moves, and wakes for what is news."""

from __future__ import annotations

import os
import signal
from types import SimpleNamespace

import pytest
from supervisor.poller import PollPoller
from supervisor.states import ProcessStates, SupervisorStates

from deploy.resting import REST_S, RestingPoller, SignalReader

LOOK_S = 1


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Have a poller wait in name only; return how long it would have."""
    times: list[float] = []

    def poll(_self: PollPoller, timeout: float) -> tuple[list[int], list[int]]:
        times.append(timeout)
        return [], []

    monkeypatch.setattr(PollPoller, "poll", poll)
    return times


def poller(*states: int, mood: int = SupervisorStates.RUNNING) -> RestingPoller:
    """Return the poller of a supervisord with one process in each of these states."""
    processes = {at: SimpleNamespace(get_state=lambda state=state: state) for at, state in enumerate(states)}
    made = RestingPoller(SimpleNamespace())
    options = SimpleNamespace(mood=mood)
    made.supervisor = SimpleNamespace(options=options, process_groups={"all": SimpleNamespace(processes=processes)})
    return made


@pytest.mark.parametrize("state", [ProcessStates.STARTING, ProcessStates.BACKOFF, ProcessStates.STOPPING])
def test_what_moves_is_looked_at(waits: list[float], state: int) -> None:
    """Once a second, for as long as it moves."""
    moving = poller(ProcessStates.RUNNING, state)
    for _ in range(3):
        moving.poll(LOOK_S)
    assert [LOOK_S] * 3 == waits


def test_nothing_moves(waits: list[float]) -> None:
    """What runs, has ended for good, or was given up is left alone from the second look on."""
    resting = poller(ProcessStates.RUNNING, ProcessStates.EXITED, ProcessStates.FATAL, ProcessStates.STOPPED)
    for _ in range(3):
        resting.poll(LOOK_S)
    assert [LOOK_S, REST_S, REST_S] == waits


def test_one_that_has_ended_is_started_again(waits: list[float]) -> None:
    """Supervisord does that at its next look, so there is one."""
    watched = poller(ProcessStates.RUNNING)
    watched.poll(LOOK_S)
    watched.poll(LOOK_S)
    watched.supervisor.process_groups["all"].processes[0].get_state = lambda: ProcessStates.EXITED
    watched.poll(LOOK_S)
    assert [LOOK_S, REST_S, LOOK_S] == waits


def test_a_supervisord_that_ends_is_looked_at(waits: list[float]) -> None:
    """Its processes are killed at their time."""
    ending = poller(ProcessStates.RUNNING, mood=SupervisorStates.SHUTDOWN)
    ending.poll(LOOK_S)
    ending.poll(LOOK_S)
    assert [LOOK_S] * 2 == waits


def test_a_signal_wakes() -> None:
    """It would not end a poll by itself; and it is read, or it would wake for ever."""
    before = signal.signal(signal.SIGUSR2, lambda _number, _frame: None)
    reader, plain = SignalReader(), PollPoller(SimpleNamespace())
    try:
        plain.register_readable(reader.fileno())
        os.kill(os.getpid(), signal.SIGUSR2)
        assert [reader.fileno()] == plain.poll(60)[0]
        reader.handle_read_event()
        assert [] == plain.poll(0)[0]
    finally:
        reader.close()
        signal.signal(signal.SIGUSR2, before)
