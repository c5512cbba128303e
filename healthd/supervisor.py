"""The client of supervisord's control socket: list the processes, start or kill one.

Reads: XML-RPC ``supervisor.getAllProcessInfo`` at RUN_DIR/supervisor.sock.
Source: http://supervisord.org/api.html, http://supervisord.org/subprocess.html#process-states.
Emits: a `Supervision`, or None where there is no socket: not under supervisord, which is fine.
Fails: a supervisord that is stopped or dead costs the caller at most `TIMEOUT_S`, and is reported in it.
"""

from __future__ import annotations

import http.client
import socket
import time
import xml.parsers.expat
import xmlrpc.client
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.service import STACK_SIGNAL

STACK_S = 0.1  # to write a stack takes a thousandth of it
TIMEOUT_S = 1.0  # a busy supervisord answers within 10 ms

_SHUTDOWN_STATE = 6  # supervisor.xmlrpc.Faults

# No connection or none in time; no HTTP; no XML-RPC; no list of programs as this version knows it.
_NO_ANSWER = (
    OSError,
    http.client.HTTPException,
    xmlrpc.client.Error,
    xml.parsers.expat.ExpatError,
    KeyError,
    TypeError,
)

RUNNING, STARTING, STOPPED, STOPPING = "RUNNING", "STARTING", "STOPPED", "STOPPING"
BACKOFF, EXITED, FATAL = "BACKOFF", "EXITED", "FATAL"
UP = frozenset({RUNNING, STARTING})


@dataclass(frozen=True)
class Program:
    """A program as supervisord sees it.

    Attributes:
        name: without the group.
        group: its group, the name itself where it has none.
        state: supervisord's word, e.g. ``RUNNING``.
        pid: 0 while it does not run.
        started: it has run at least once.
        exit_status: of its last run.
        spawn_error: why it could not be started, or "".
        changed_s: monotonic time at which this pid was first seen.
    """

    name: str
    group: str
    state: str
    pid: int
    started: bool
    exit_status: int
    spawn_error: str
    changed_s: float

    @property
    def full_name(self) -> str:
        """The name that supervisord's commands take, with its group."""
        return self.name if self.group == self.name else f"{self.group}:{self.name}"


@dataclass(frozen=True)
class Supervision:
    """The last answer of supervisord.

    Attributes:
        polled_s: monotonic time at which it was asked.
        programs: by name, as of the last answer.
        problem: why there was no answer now, or None.
        ending: supervisord is stopping everything and then itself.
    """

    polled_s: float
    programs: Mapping[str, Program] = field(default_factory=dict)
    problem: str | None = None
    ending: bool = False

    def program(self, name: str) -> Program | None:
        """Return the state of a program, None while supervisord does not answer."""
        return None if self.problem else self.programs.get(name)


class Supervisor:
    """The client.

    Args:
        path: supervisord's control socket.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._programs: dict[str, Program] = {}

    def kill(self, program: Program) -> bool:
        """Have a program write its stack to its log, then kill it, to be restarted; tell whether supervisord did."""
        asked = self._tell("signalProcess", program.full_name, str(int(STACK_SIGNAL)))
        time.sleep(STACK_S if asked else 0)
        return self._tell("signalProcess", program.full_name, "KILL") or asked  # which ends what has not begun to run

    def start(self, program: Program) -> bool:
        """Start a program that does not run; tell whether supervisord tries."""
        return self._tell("startProcess", program.full_name, False)

    def _tell(self, method: str, *arguments: Any) -> bool:
        transport = _Transport(self._path)
        proxy = xmlrpc.client.ServerProxy("http://localhost", transport=transport)
        try:
            return bool(getattr(proxy.supervisor, method)(*arguments))
        except _NO_ANSWER:
            return False  # it ended by itself meanwhile, or the next look tries again
        finally:
            transport.close()

    def poll(self, now_s: float) -> Supervision | None:
        """Ask for the state of every program; block for `TIMEOUT_S` at most."""
        transport = _Transport(self._path)
        proxy = xmlrpc.client.ServerProxy("http://localhost", transport=transport)
        try:
            rows: Any = proxy.supervisor.getAllProcessInfo()
            self._programs = {row["name"]: self._program(row, now_s) for row in rows}
        except FileNotFoundError:
            return None
        except _NO_ANSWER as error:
            ending = isinstance(error, xmlrpc.client.Fault) and error.faultCode == _SHUTDOWN_STATE
            return Supervision(now_s, self._programs, str(error) or type(error).__name__, ending)
        finally:
            transport.close()
        return Supervision(now_s, self._programs)

    def _program(self, row: Mapping[str, Any], now_s: float) -> Program:
        old = self._programs.get(row["name"])
        return Program(
            name=row["name"],
            group=row["group"],
            state=row["statename"],
            pid=row["pid"],
            started=bool(row["start"]),
            exit_status=row["exitstatus"],
            spawn_error=row["spawnerr"],
            changed_s=old.changed_s if old and old.pid == row["pid"] else now_s,
        )


class _Transport(xmlrpc.client.Transport):
    """XML-RPC over a Unix socket with a time limit; supervisor's own transport waits for ever."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: xmlrpc.client._HostType) -> http.client.HTTPConnection:
        """Return a connection to the socket, whatever the URL says; `close` closes it."""
        connection = _Connection(self._path)
        self._connection = host, connection
        return connection


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))
