"""Read Rockchip's media service: its sessions and the load of its units; shared by several collectors.

`/proc/mpp_service` exists in vendor kernels only. Which columns a table has depends on the kernel, so each is
found by its header.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from typing import NamedTuple

from collectors.host import Host, unsigned

SESSIONS = "proc/mpp_service/sessions-summary"
LOAD = "proc/mpp_service/load"

_OWNER = re.compile(r"session:\s*pid=(\d{1,10})\s+index=(\d{1,10})")
_LOAD = re.compile(r"(\S+)\s+load:\s*(\d+\.\d+)%\s+utilization:\s*(\d+\.\d+)%")
_UNARMED = "please set load_interval first"
_FULL = 100.0  # more is a wrapped counter

Session = Mapping[str, str]


class Load(NamedTuple):
    """Share of the time a unit works, 0-100 each: by its clock, and by its tasks."""

    load: float
    utilization: float


def encoding(host: Host, programs: Collection[str] = ()) -> Session | None:
    """Return the session of the stream by column name, or None where nothing is being encoded.

    Of several (a preview, a recording) it is that of a program by one of these names, else the one with most pixels.

    Args:
        host: where to read.
        programs: which may be the stream's.
    """
    sessions = host.parse(SESSIONS, lambda lines: _sessions(tuple(lines))) or []
    encoding = [session for session in sessions if session.get("device") == "RKVENC"]
    if len(encoding) > 1:
        own = [session for session in encoding if _program(host, session) in programs]
        encoding = sorted(own or encoding, key=_pixels_per_second, reverse=True)
    return encoding[0] if encoding else None


@lru_cache(maxsize=1)
def _sessions(lines: tuple[str, ...]) -> list[Session]:
    """Return the sessions; twice a second they are nearly always the same."""
    return parse_sessions(lines)


def _program(host: Host, session: Session) -> str:
    path = f"proc/{session.get('pid', '')}/comm"
    return (host.text(path) or "").strip() if host.exists(path) else ""


def _pixels_per_second(session: Session) -> int:
    width, height, rate = (number(session, column) for column in ("width", "height", "fps_out"))
    return (width or 0) * (height or 0) * (rate or 1)


def parse_sessions(lines: Iterable[str]) -> list[Session]:
    """Return the rows of every table of ``sessions-summary`` by column name; a cell without a value is left out.

    Before each table is whose session it is: that process' number is added as ``pid``.
    """
    found: list[Session] = []
    names: list[str] = []
    owners: dict[str, str] = {}
    for line in lines:
        if owner := _OWNER.match(line.strip()):
            owners[owner[2]] = owner[1]
        if not line.startswith("|"):
            continue
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if cells[0] == "session":
            names = cells
        elif names:
            row = {name: cell for name, cell in zip(names, cells, strict=False) if cell}
            found.append({**row, **({"pid": owners[cells[0]]} if cells[0] in owners else {})})
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
