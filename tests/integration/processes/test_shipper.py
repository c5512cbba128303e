"""`python -m shipper` as supervisord runs it: exit codes, signals, the lock."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fake_vm import FakeVm
from tests.launcher import program
from tests.patience import Patience
from tests.unit.shipper.stub import BoundBuffer, StubBuffer, rows, tcp_server, wait_for

ROOT = Path(__file__).parents[3]
Launch = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def launch(environment: Callable[..., None]) -> Iterator[Launch]:
    """Start the program with keys of the configuration."""
    made: list[subprocess.Popen[str]] = []

    def start(**keys: str) -> subprocess.Popen[str]:
        environment(logging__output="stdout", **keys)
        process = program(
            [sys.executable, "-m", "shipper"],
            cwd=ROOT, env=os.environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        made.append(process)
        return process

    yield start
    for process in made:
        process.kill()
        process.communicate()


def ended(process: subprocess.Popen[str], number: int = signal.SIGTERM) -> tuple[int, float, str]:
    """Send a signal; return the exit code, how long it took besides waiting for a core, and what was written."""
    began_s, patience = time.monotonic(), Patience(1)
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    return process.returncode, time.monotonic() - began_s - patience.waited_s(), output


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_at_once_while_the_server_hangs(run_dir: Path, launch: Launch, vm: FakeVm, number: int) -> None:
    """Well under a second; nothing is done, and the lease is given back."""
    stub = StubBuffer(rows(10))
    vm.script([{"delay_s": 20.0, "repeat": -1}])
    with BoundBuffer(run_dir, stub):
        process = launch()
        wait_for("a lease", lambda: "lease" in stub.asked and len(stub.pending) == 0)
        wait_for("the request", lambda: vm.steps_left and _waits_for_an_answer(process.pid, vm))
        code, took_s, output = ended(process, number)
        wait_for("the lease to come back", lambda: stub.released)
    assert (0, []) == (code, stub.done)
    assert took_s < 1
    assert "Traceback" not in output


def test_it_ends_at_once_while_the_server_drips(run_dir: Path, launch: Launch) -> None:
    """A connection that is alive does not keep it."""
    stub, reached = StubBuffer(rows(10)), []

    def drip(connection: object) -> None:
        reached.append(connection)
        for _ in range(1000):
            connection.sendall(b"H")  # type: ignore[attr-defined]
            time.sleep(0.02)

    with BoundBuffer(run_dir, stub), tcp_server(drip) as url:
        process = launch(remote__url=url)
        wait_for("the request", lambda: reached)
        code, took_s, _ = ended(process)
    assert (0, []) == (code, stub.done)
    assert took_s < 1


def test_it_ends_at_once_while_the_buffer_is_away(launch: Launch) -> None:
    """Nobody waits for somebody who is not there."""
    process = launch()
    assert process.stdout is not None
    while "not there" not in process.stdout.readline():
        pass
    code, took_s, _ = ended(process)
    assert code == 0
    assert took_s < 1


def test_a_second_one_does_not_run(run_dir: Path, launch: Launch) -> None:
    """Exit code 75, with the process that holds the lock."""
    stub = StubBuffer()
    with BoundBuffer(run_dir, stub):
        first = launch()
        wait_for("the first", lambda: stub.hellos)
        second = launch()
        output, _ = second.communicate(timeout=20)
    assert second.returncode == 75
    assert f"in use by process {first.pid}" in output


def test_a_token_that_others_can_read_is_not_used_and_said(run_dir: Path, launch: Launch, vm: FakeVm) -> None:
    """The process runs, with the key and what to do in its log; mended, it is used without a restart."""
    (run_dir / "token").write_text("t0k3n-of-somebody", encoding="ascii")
    (run_dir / "token").chmod(0o644)
    stub = StubBuffer(rows(10))
    with BoundBuffer(run_dir, stub):
        process = launch(remote__auth__type="bearer_token", remote__auth__token_file=str(run_dir / "token"))
        assert process.stdout is not None
        line = process.stdout.readline()
        while "remote.auth.token_file" not in line:
            line = process.stdout.readline()
        assert "chmod 600" in line
        assert "t0k3n" not in line
        assert [] == vm.requests()
        (run_dir / "token").chmod(0o600)
        wait_for("the upload", lambda: stub.uploaded, 60)
    assert {"Bearer"} == {request.headers["authorization"] for request in vm.requests()}


def test_the_help_names_the_variable_for_the_token() -> None:
    """And the options that every program has."""
    done = subprocess.run(
        [sys.executable, "-m", "shipper", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "BELABOX_TOKEN" in done.stdout
    assert "--config" in done.stdout


def _waits_for_an_answer(pid: int, vm: FakeVm) -> bool:
    """Tell whether a process has sent everything on a connection to the server."""
    port = f"{int(vm.url.rpartition(':')[2]):04X}"
    inodes = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            inodes.add(str(entry.readlink()))
        except FileNotFoundError:
            pass  # closed meanwhile
    connections = (line.split() for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:])
    return any(
        row[2].endswith(f":{port}") and row[4].startswith("00000000:") and f"socket:[{row[9]}]" in inodes
        for row in connections
    )
