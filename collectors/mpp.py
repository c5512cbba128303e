"""Rockchip's media service: its sessions and the load of its units; a part of several collectors.

`/proc/mpp_service` exists in vendor kernels only. Which columns a table has depends on the kernel, so each is
found by its header.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from collectors.host import Host, unsigned

SESSIONS = "proc/mpp_service/sessions-summary"
LOAD = "proc/mpp_service/load"

_LOAD = re.compile(r"(\S+)\s+load:\s*(\d+\.\d+)%\s+utilization:\s*(\d+\.\d+)%")
_UNARMED = "please set load_interval first"
_FULL = 100.0  # more is a wrapped counter

Session = Mapping[str, str]


class Load(NamedTuple):
    """Share of the time a unit works, 0-100 each: by its clock, and by its tasks."""

    load: float
    utilization: float


def encoding(host: Host) -> Session | None:
    """Return the first encoder session by column name, or None where nothing is being encoded."""
    sessions = host.parse(SESSIONS, parse_sessions) or []
    return next((session for session in sessions if session.get("device") == "RKVENC"), None)


def parse_sessions(lines: Iterable[str]) -> list[Session]:
    """Return the rows of every table of ``sessions-summary`` by column name; a cell without a value is left out."""
    found: list[Session] = []
    names: list[str] = []
    for line in lines:
        if not line.startswith("|"):
            continue
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if cells[0] == "session":
            names = cells
        elif names:
            found.append({name: cell for name, cell in zip(names, cells, strict=False) if cell})
    return found


def number(session: Session, column: str) -> int | None:
    """Return a whole number of a session, or None where it has none."""
    return unsigned(session.get(column, ""))


def decimal(session: Session, column: str) -> float | None:
    """Return a decimal number of a session, or None where it has none."""
    text = session.get(column, "")
    return float(text) if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text, re.ASCII) else None


def loads(host: Host) -> Mapping[str, Load]:
    """Return the load of each unit; nothing where the kernel has none or was not told to measure it."""
    return host.parse(LOAD, parse_loads) or {}


def parse_loads(lines: Iterable[str]) -> dict[str, Load] | None:
    """Return the load of each unit that is not out of range; {} where `load_interval` is 0."""
    rows = list(lines)
    if any(_UNARMED in row for row in rows):
        return {}
    found = {}
    for match in map(_LOAD.match, rows):
        if match and float(match[2]) <= _FULL and float(match[3]) <= _FULL:
            found[match[1]] = Load(float(match[2]), float(match[3]))
    return found or None
