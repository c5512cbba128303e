"""What was known of a database when it was moved aside, or of a log when it was copied, in a file beside it.

Written once and true for good, so that whichever database is in use later can salvage the file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from buffer.storage.found import FoundClock, FoundSession, Identity

SUFFIX = "-note.json"


@dataclass(frozen=True)
class Note:
    """What the file itself may not tell.

    Attributes:
        series: those that were known, by their ids in the file; of a copied log all that its database had.
        sessions, clocks: the rows of these tables that its database had.
        first_frame: frames of a copied log before this one are in its database.
    """

    series: Mapping[int, Identity] = field(default_factory=dict)
    sessions: Sequence[FoundSession] = ()
    clocks: Sequence[FoundClock] = ()
    first_frame: int = 0


def write(path: Path, note: Note) -> None:
    """Write the note of a file.

    Raises:
        OSError: there is no room.
    """
    text = json.dumps(vars(note), ensure_ascii=False)
    with path.with_name(path.name + SUFFIX).open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fdatasync(file.fileno())


def read(path: Path) -> Note:
    """Return the note of a file; an empty one where there is none, or a damaged one."""
    try:
        found: dict[str, Any] = json.loads(path.with_name(path.name + SUFFIX).read_text(encoding="utf-8"))
        series = {int(number): Identity(*identity) for number, identity in found["series"].items()}
        sessions = [FoundSession(rowid, tuple(columns)) for rowid, columns in found["sessions"]]
        return Note(series, sessions, [FoundClock(*row) for row in found["clocks"]], int(found["first_frame"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Note()
