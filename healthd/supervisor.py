"""The client of supervisord's control socket: list the processes, start or kill one.

Reads: XML-RPC ``supervisor.getAllProcessInfo`` at RUN_DIR/supervisor.sock.
Source: http://supervisord.org/api.html, http://supervisord.org/subprocess.html#process-states.
Emits: a `Supervision`, or None where there is no socket: not under supervisord, which is fine.
Fails: a supervisord that is stopped or dead costs the caller at most `TIMEOUT_S`, and is reported in it.
"""

from __future__ import annotations

import re
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
MAX_PIECE_BYTES = 65_536
TIMEOUT_S = 1.0  # a busy supervisord answers within 10 ms

_SHUTDOWN_STATE = 6  # supervisor.xmlrpc.Faults

# No connection or none in time, or no HTTP; no XML-RPC; no list of programs as this version knows it.
_NO_ANSWER = (OSError, xmlrpc.client.Error, xml.parsers.expat.ExpatError, KeyError, TypeError)
_HEAD = b"POST /RPC2 HTTP/1.0\r\nContent-Type: text/xml\r\nContent-Length: %d\r\n\r\n"  # 1.0: the answer ends with EOF
_OK = re.compile(rb"HTTP/1\.[01] 200\b")

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
        return (
            self._tell("signalProcess", program.full_name, "KILL") or asked
        )  # the first alone ends a process that has no handler yet

    def start(self, program: Program) -> bool:
        """Start a program that does not run; tell whether supervisord tries."""
        return self._tell("startProcess", program.full_name, False)

    def _tell(self, method: str, *arguments: Any) -> bool:
        try:
            return bool(self._call(method, *arguments))
        except _NO_ANSWER:
            return False  # it ended by itself meanwhile, or the next look tries again

    def poll(self, now_s: float) -> Supervision | None:
        """Ask for the state of every program; block for `TIMEOUT_S` at most."""
        try:
            rows = self._call("getAllProcessInfo")
            self._programs = {row["name"]: self._program(row, now_s) for row in rows}
        except FileNotFoundError:
            if not self._programs:
                return None
            return Supervision(now_s, self._programs, f"its socket {self._path} was deleted")
        except _NO_ANSWER as error:
            ending = isinstance(error, xmlrpc.client.Fault) and error.faultCode == _SHUTDOWN_STATE
            return Supervision(now_s, self._programs, str(error) or type(error).__name__, ending)
        return Supervision(now_s, self._programs)

    def _call(self, method: str, *arguments: Any) -> Any:
        """Return the answer to a call; raise one of `_NO_ANSWER` where there is none.

        The few lines of HTTP are written here: http.client and the e-mail parser behind it would be copied into this
        process's own memory, 0.5 MB.
        """
        body = xmlrpc.client.dumps(arguments, f"supervisor.{method}").encode()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(TIMEOUT_S)
            client.connect(str(self._path))
            client.sendall(_HEAD % len(body) + body)
            answer = b"".join(iter(lambda: client.recv(MAX_PIECE_BYTES), b""))
        head, _, content = answer.partition(b"\r\n\r\n")
        status = head.partition(b"\r\n")[0]
        if not _OK.match(status):
            raise OSError(f"the answer is not that of supervisord: {status[:40]!r}")
        return xmlrpc.client.loads(content.decode("utf-8", "replace"))[0][0]

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
