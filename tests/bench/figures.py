"""A figure, its budget, and what was measured beside it in the same run; as a table and as JSON."""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple


class Figure(NamedTuple):
    """One row.

    Attributes:
        what: was measured.
        value: in `unit`.
        unit: of the value.
        budget: what it should be, in words; "" where there is none.
        beside: what another way gave in the same run; "" where there is none.
    """

    what: str
    value: float
    unit: str
    budget: str = ""
    beside: str = ""


def table(rows: Iterable[Figure]) -> Iterator[str]:
    """Give the lines of a table."""
    yield f"{'what':<56}{'figure':>26}   {'budget':<22}beside it"
    for row in rows:
        yield f"{row.what:<56}{f'{_short(row.value)} {row.unit}':>26}   {row.budget:<22}{row.beside}".rstrip()


def write(file: Path, rows: Iterable[Figure]) -> None:
    """Write what two runs are compared by."""
    run = {"commit": commit(), "python": platform.python_version(), "machine": platform.machine()}
    text = json.dumps({**run, "figures": [row._asdict() for row in rows]}, indent=1)
    file.write_text(f"{text}\n", encoding="utf-8")


def commit() -> str:
    """Return the commit that was measured, "" outside of a repository."""
    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2f}"
