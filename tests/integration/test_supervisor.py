"""The client against a real supervisord: states, a supervisord that hangs, one that is not there."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from healthd.supervisor import TIMEOUT_S, Program, Supervision, Supervisor
from tests.harness import wait_for
from tests.patience import Patience
from tests.scratch import scratch

CONFIG = """
[unix_http_server]
file = {dir}/supervisor.sock
[supervisord]
nodaemon = true
logfile = {dir}/supervisord.log
pidfile = {dir}/supervisord.pid
childlogdir = {dir}
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[group:collectors]
programs = cpu,memory
[program:cpu]
command = /bin/sleep 1000
startsecs = 0
[program:memory]
command = /bin/sh -c "exit 78"
startretries = 0
[program:buffer]
command = /no/such/program
startretries = 0
[program:shipper]
command = /bin/sh -c "exit 3"
startsecs = 0
autorestart = false
[program:healthd]
command = /bin/sleep 1000
autostart = false
"""


@pytest.fixture(scope="module")
def supervisord() -> Iterator[tuple[Path, int]]:
    """A running supervisord; its control socket and process id."""
    with scratch() as folder:
        config = folder / "supervisord.conf"
        config.write_text(CONFIG.format(dir=folder), encoding="ascii")
        process = subprocess.Popen(
            [sys.executable, "-m", "supervisor.supervisord", "-c", str(config)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        path = folder / "supervisor.sock"
        try:
            wait_for("its socket", path.exists, 20)
            yield path, process.pid
        finally:
            answer = Supervisor(path).poll(0.0)
            process.kill()  # what SIGTERM does takes seconds
            process.wait()
            for program in answer.programs.values() if answer else ():
                if program.pid:
                    os.kill(program.pid, signal.SIGKILL)


def settled(client: Supervisor) -> dict[str, Program]:
    """Return the programs once all have come to rest."""

    def probe() -> dict[str, Program]:
        answer = client.poll(time.monotonic())
        programs = dict(answer.programs) if answer else {}
        states = {name: program.state for name, program in programs.items()}
        ends = states.get("shipper") == "RUNNING"  # a moment later it does
        return {} if ends or {"STARTING", "BACKOFF"} & set(states.values()) else programs

    return wait_for("states to settle", probe, 20)


def test_states_groups_and_reasons(supervisord: tuple[Path, int]) -> None:
    """Every program comes with its group, state and why it is not running."""
    programs = settled(Supervisor(supervisord[0]))
    expected = {
        "cpu": ("collectors", "RUNNING"),
        "memory": ("collectors", "FATAL"),
        "buffer": ("buffer", "FATAL"),
        "shipper": ("shipper", "EXITED"),
        "healthd": ("healthd", "STOPPED"),
    }
    assert expected == {name: (program.group, program.state) for name, program in programs.items()}
    assert programs["cpu"].pid > 0
    assert (0, True) == (programs["memory"].pid, "too quickly" in programs["memory"].spawn_error)
    assert "no such" in programs["buffer"].spawn_error or "can't find" in programs["buffer"].spawn_error
    assert (3, True, False) == (
        programs["shipper"].exit_status,
        programs["shipper"].started,
        programs["healthd"].started,
    )


def test_a_pid_is_dated_when_it_is_first_seen(supervisord: tuple[Path, int]) -> None:
    """A process keeps its date from poll to poll and gets a new one when it is another."""
    client = Supervisor(supervisord[0])
    first = client.poll(1.0)
    second = client.poll(2.0)
    assert first is not None
    assert second is not None
    os.kill(first.programs["cpu"].pid, signal.SIGKILL)

    def restarted() -> Supervision | None:
        answer = client.poll(3.0)
        running = answer is not None and answer.programs["cpu"].state == "RUNNING"
        return answer if running and answer and answer.programs["cpu"].pid != first.programs["cpu"].pid else None

    third = wait_for("a restart", restarted, 20)
    assert third is not None
    assert [1.0, 1.0, 3.0] == [answer.programs["cpu"].changed_s for answer in (first, second, third)]


def test_a_supervisord_that_hangs_costs_a_second(supervisord: tuple[Path, int]) -> None:
    """While supervisord is stopped a poll ends after its time limit, and works again afterwards."""
    path, pid = supervisord
    client = Supervisor(path)
    before = client.poll(1.0)
    os.kill(pid, signal.SIGSTOP)
    try:
        patience, began_s = Patience(2 * TIMEOUT_S), time.monotonic()
        answer = client.poll(2.0)
        took_s = time.monotonic() - began_s
        assert not patience.is_over()
    finally:
        os.kill(pid, signal.SIGCONT)
    print(f"a poll of a stopped supervisord took {took_s:.2f} s")
    assert answer is not None
    assert before is not None
    assert ("timed out", None, before.programs) == (answer.problem, answer.program("cpu"), answer.programs)
    assert TIMEOUT_S <= took_s
    again = wait_for("an answer", lambda: (it := client.poll(3.0)) and it.problem is None and it, 20)
    assert again


def test_no_socket_is_no_supervisord(tmp_path: Path) -> None:
    """Without a control socket there is nothing to report."""
    assert Supervisor(tmp_path / "supervisor.sock").poll(1.0) is None


XML = b"HTTP/1.0 200 OK\r\n\r\n<?xml version='1.0'?><methodResponse><params><param>%s</param></params></methodResponse>"
FAULT = (
    b"HTTP/1.0 200 OK\r\n\r\n<?xml version='1.0'?><methodResponse><fault><value><struct>"
    b"<member><name>faultCode</name><value><int>%d</int></value></member>"
    b"<member><name>faultString</name><value>NO</value></member></struct></value></fault></methodResponse>"
)
STRUCT = b"<struct><member><name>name</name><value>cpu</value></member></struct>"
NONSENSE = {
    "nothing": b"",
    "an error": b"HTTP/1.0 500 Oops\r\n\r\n",
    "no XML": b"HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\nnope",
    "no HTTP": b"SSH-2.0\r\n",
    "a row of one column": XML % (b"<value><array><data><value>%s</value></data></array></value>" % STRUCT),
    "a fault": FAULT % 10,
    "its own end": FAULT % 6,
    "a number": XML % b"<value><int>1</int></value>",
}


@pytest.mark.parametrize("case", NONSENSE)
def test_nonsense_is_no_answer(case: str) -> None:
    """Whatever else answers on the socket, it is a supervisord that does not answer."""
    with scratch() as folder, socket.socket(socket.AF_UNIX) as listener:
        path = folder / "supervisor.sock"
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            while True:
                try:
                    taken, _ = listener.accept()
                except OSError:
                    return  # shut down
                with taken:
                    asked = b""
                    while b"</methodCall>" not in asked:
                        asked += taken.recv(65_536)
                    taken.sendall(NONSENSE[case])

        serving = threading.Thread(target=serve)
        serving.start()
        polled = Supervisor(path).poll(1.0)
        listener.shutdown(socket.SHUT_RDWR)
        serving.join()
    assert polled is not None
    assert polled.problem
    assert (case == "its own end") == polled.ending


def test_a_dead_supervisord_is_a_problem(tmp_path: Path) -> None:
    """A socket file that nobody listens on any more is reported."""
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
    polled = Supervisor(path).poll(1.0)
    assert polled is not None
    assert "refused" in str(polled.problem)


def test_a_socket_that_was_deleted_is_a_problem() -> None:
    """Without its control socket nothing can be restarted, although supervisord runs."""
    with scratch() as folder:
        client = Supervisor(folder / "supervisor.sock")
        client._programs = {
            "cpu": Program("cpu", "cpu", "RUNNING", 1, started=True, exit_status=0, spawn_error="", changed_s=0.0)
        }
        polled = client.poll(1.0)
    assert polled is not None
    assert "supervisor.sock was deleted" in str(polled.problem)
