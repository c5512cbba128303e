"""Find running processes by name within a second of their start, without opening every process each time.

Shared by several collectors.

Reads: proc/*/{comm,stat,status}.
Source: proc(5).
Errors: a process of a user who is not trusted is ignored, whatever its name: see `Host.trusted_users`. A process that
    changes its name later than `SETTLED_S` after its start, or a pid that is reused between two calls, is found after
    `AGAIN_S`.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import NamedTuple

from collectors.host import Host, unsigned

SETTLED_S = 2.0  # a process takes its name within milliseconds of its fork
AGAIN_S = 10.0

_USER = re.compile(r"^Uid:\t(?:\d{1,10}\t)(\d{1,10})\t", re.MULTILINE)  # the effective one
_HERTZ = 100  # USER_HZ, the unit of starttime in /proc/PID/stat


class RunningProcess(NamedTuple):
    """A process.

    Attributes:
        pid: its number.
        name: its command.
        started_s: seconds after boot at which it was started.
    """

    pid: int
    name: str
    started_s: float


class ProcessTable:
    """What was seen at the last look.

    Args:
        names: of the programs that are looked for.
    """

    def __init__(self, names: Collection[str]) -> None:
        self._names = frozenset(names)
        self._others: dict[str, tuple[float, float]] = {}  # by number: when first seen, and when to look again

    def look(self, host: Host) -> list[RunningProcess]:
        """Return the running processes of these names, oldest first."""
        entries = [entry for entry in host.names("proc") if entry.isdecimal()]
        before, self._others = self._others, {}
        found = []
        for entry in entries:
            first_s, again_s = before.get(entry, (host.now_s, host.now_s))
            if host.now_s < again_s:
                self._others[entry] = first_s, again_s
            elif (host.text(f"proc/{entry}/comm") or "").strip() in self._names and _is_trusted(host, entry):
                found += _program(host, entry)
            else:
                is_settled = host.now_s - first_s >= SETTLED_S
                self._others[entry] = first_s, host.now_s + (AGAIN_S if is_settled else 0.0)
        host.absent -= {path for path in host.absent if path.startswith("proc/")}  # ended while we looked
        return sorted(found, key=lambda program: (program.started_s, program.pid))


def _is_trusted(host: Host, entry: str) -> bool:
    """Return whether a process runs for a trusted user; its folder may be root's without being so (prctl(2))."""
    path = f"proc/{entry}/status"
    if not host.exists(path):  # a recorded tree
        return True
    match = _USER.search(host.text(path) or "")
    if match is not None and int(match[1]) in host.trusted_users():
        return True
    host.fault(f"proc/{entry}", f"is called like a streaming program and runs for user {match[1] if match else '?'}")
    return False


def _program(host: Host, entry: str) -> list[RunningProcess]:
    """Return a process, nothing where it has ended."""
    stat = host.text(f"proc/{entry}/stat") or ""
    fields = stat.rpartition(")")[2].split()  # the name before it may hold anything
    started = unsigned(fields[19]) if len(fields) > 19 else None
    if started is None or fields[0] == "Z":
        return []
    return [RunningProcess(int(entry), stat.partition("(")[2].rpartition(")")[0], started / _HERTZ)]
