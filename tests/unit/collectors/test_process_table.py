"""Who runs, and how seldom the others are opened."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection
from pathlib import Path

import pytest

import collectors.host
from collectors.host import Host
from collectors.process_table import AGAIN_S, SETTLED_S, ProcessTable

ZEROS = " ".join(["0"] * 18)


class Machine:
    """A folder of processes, looked through at chosen times."""

    def __init__(self, root: Path) -> None:
        self.opened = 0
        self._root = root
        self.host = Host(root)
        self._table = ProcessTable({"belacoder", "srtla_send"})

    def run(self, pid: int, name: str, state: str = "S", started: int = 100, user: int | None = None) -> None:
        """Have a process of a user, by default this one; or another in its place."""
        user = os.geteuid() if user is None else user
        folder = self._root / "proc" / str(pid)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "comm").write_text(f"{name}\n", encoding="ascii")
        (folder / "status").write_text(f"Name:\t{name}\nUid:\t4\t{user}\t4\t4\n", encoding="ascii")
        (folder / "stat").write_text(f"{pid} ({name}) {state} {ZEROS} {started} 0\n", encoding="ascii")

    def end(self, pid: int) -> None:
        """Have it no more."""
        shutil.rmtree(self._root / "proc" / str(pid))

    def look(self, now_s: float) -> list[tuple[int, str, float]]:
        """Return what is found at a time."""
        self.host.begin(now_s)
        return [(program.pid, program.name, program.started_s) for program in self._table.look(self.host)]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Give a machine whose files are counted as they are opened."""
    one, read = Machine(tmp_path), collectors.host.read

    def counted(path: str, owners: Collection[int] = ()) -> bytes:
        one.opened += 1
        return read(path, owners)

    monkeypatch.setattr(collectors.host, "read", counted)
    return one


def test_found_by_name_oldest_first(machine: Machine) -> None:
    """Whatever others are called; what is a zombie does not run."""
    machine.run(9, "belacoder", started=500)
    machine.run(10, "belacoder", "Z", started=600)
    machine.run(8, "sh) S 1", started=1)
    machine.run(7, "srtla_send", started=700)
    assert [(9, "belacoder", 5.0), (7, "srtla_send", 7.0)] == machine.look(0)


def test_the_others_are_opened_seldom(machine: Machine) -> None:
    """Once they have had the time to take their name; who is new is opened at the next look."""
    for pid in range(100):
        machine.run(pid + 1, "kworker")
    machine.look(0)
    machine.look(SETTLED_S)
    machine.opened = 0
    for second in range(1, int(AGAIN_S)):
        machine.look(SETTLED_S + second)
    assert 0 == machine.opened
    machine.run(200, "belacoder")
    assert [(200, "belacoder", 1.0)] == machine.look(SETTLED_S + AGAIN_S - 0.5)
    assert 3 == machine.opened
    machine.end(200)
    assert [] == machine.look(SETTLED_S + AGAIN_S - 0.1)


def test_a_name_that_comes_late_is_seen(machine: Machine) -> None:
    """At once after a fork, within `AGAIN_S` for one that was a shell for long, or took an old number."""
    machine.run(1, "node")
    machine.look(0)
    machine.run(1, "belacoder")
    assert [(1, "belacoder", 1.0)] == machine.look(1)
    machine.run(1, "sh")
    machine.look(2)
    machine.look(2 + SETTLED_S)
    machine.run(1, "srtla_send")
    assert [] == machine.look(3 + SETTLED_S)
    assert [(1, "srtla_send", 1.0)] == machine.look(2 + SETTLED_S + AGAIN_S)


def test_a_strangers_program_is_not_ours(machine: Machine) -> None:
    """Anybody can call a script srtla_send; only root, this user and belaUI's owner are believed."""
    machine.run(5, "srtla_send", started=900, user=os.geteuid() + 1)
    machine.run(4, "srtla_send", started=400, user=os.geteuid())
    assert [(4, "srtla_send", 4.0)] == machine.look(0)
    assert ["proc/5"] == list(machine.host.faults)
