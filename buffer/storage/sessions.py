"""Sessions: each stream's row, the file beside the database, and which one a sample belongs to.

A text sample `session` is a JSON object: `id`, `status` (active, completed, failed), `start_ms`, `end_ms` or
null, `metadata`. It joins the transaction that is open; the same one again changes nothing. A session that
was left open, by a power cut or because its end was never seen, is closed as failed.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import apsw

from common import atomic_file
from common.sample import Sample

SAMPLE = "session"
ACTIVE, COMPLETED, FAILED = "active", "completed", "failed"

_ID = re.compile(r"[0-9a-fA-F-]{1,64}")  # it becomes part of a file name
_UPSERT = (
    "INSERT INTO sessions (id, start_time, end_time, status, metadata) VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) "
    "DO UPDATE SET end_time = excluded.end_time, status = excluded.status, metadata = excluded.metadata"
)


class Session(NamedTuple):
    """One stream, in the order of the table's columns; times in Unix milliseconds."""

    id: str
    start_ms: int
    end_ms: int | None
    status: str
    metadata: str


class Sessions:
    """The table `sessions` and the files.

    Args:
        connection: the database; a change joins the transaction that is open.
        directory: where the files go.
    """

    def __init__(self, connection: apsw.Connection, directory: Path) -> None:
        self._connection = connection
        self._directory = directory
        self._changed: set[str] = set()
        query = "SELECT rowid, start_time, end_time FROM sessions ORDER BY start_time DESC LIMIT 1"
        self._newest: tuple[int, int, int | None] | None = connection.execute(query).get

    def enter(self, sample: Sample) -> bool | None:
        """Enter the state of a session; tell whether it is new, None where it cannot be understood.

        Raises:
            apsw.Error: the database refuses.
        """
        session = _parse(sample.value)
        if session is None:
            return None
        there: Any = self._connection.execute("SELECT * FROM sessions WHERE id = ?", (session.id,)).get
        if there is not None and there[2:] == session[2:]:
            return False
        self._close("id != ? AND start_time < ?", (session.id, session.start_ms), session.start_ms)
        self._connection.execute(_UPSERT, session)
        rowid: Any = self._connection.execute("SELECT rowid FROM sessions WHERE id = ?", (session.id,)).get
        if self._newest is None or session.start_ms >= self._newest[1]:
            self._newest = rowid, session.start_ms, session.end_ms
        self._changed.add(session.id)
        return True

    def at(self, timestamp_ms: int) -> int | None:
        """Return the row of the session that a moment belongs to; only the newest one is asked."""
        if self._newest is None:
            return None
        rowid, start_ms, end_ms = self._newest
        return rowid if start_ms <= timestamp_ms and (end_ms is None or timestamp_ms <= end_ms) else None

    def of(self, first_ms: int, last_ms: int) -> str | None:
        """Return the id of the session in which both moments are, None where there is none.

        Raises:
            apsw.Error: the database refuses.
        """
        query = "SELECT id FROM sessions WHERE start_time <= ? AND coalesce(end_time, ?) >= ? ORDER BY start_time DESC"
        found: str | None = self._connection.execute(f"{query} LIMIT 1", (first_ms, last_ms, last_ms)).get
        return found

    def close_left_open(self, boot_id: str) -> int:
        """Close the sessions of other boots as failed, at the time of the newest sample; return how many.

        Raises:
            apsw.Error: the database refuses.
        """
        with self._connection:
            last_ms: Any = self._connection.execute("SELECT max(timestamp_ms) FROM samples").get
            closed = self._close("json_extract(metadata, '$.boot_id') IS NOT ?", (boot_id,), last_ms or 0)
        if closed and self._newest is not None and self._newest[2] is None:
            self._newest = (*self._newest[:2], last_ms)
        return closed

    def write_files(self) -> None:
        """Write the file of each session that has changed; what cannot be written now is tried again.

        Raises:
            OSError: a file cannot be written.
        """
        for session_id in sorted(self._changed):
            row: Any = self._connection.execute("SELECT * FROM sessions WHERE id = ?", (session_id,)).get
            if row is not None:
                _write(self._directory / f"session-{session_id}.json", Session(*row))
            self._changed.discard(session_id)

    def _close(self, where: str, parameters: tuple[object, ...], end_ms: int) -> int:
        """Close as failed the open sessions that match."""
        update = (
            f"UPDATE sessions SET status = '{FAILED}', end_time = max(start_time, ?) "
            f"WHERE status = '{ACTIVE}' AND {where} RETURNING id"
        )
        closed: list[Any] = self._connection.execute(update, (end_ms, *parameters)).fetchall()
        self._changed.update(session_id for (session_id,) in closed)
        return len(closed)


def is_session(sample: Sample) -> bool:
    """Tell whether a sample is about a session."""
    return sample.name == SAMPLE


def _parse(text: object) -> Session | None:
    try:
        found: Any = json.loads(text) if isinstance(text, str) else {}
        session = Session(
            found["id"], found["start_ms"], found["end_ms"], found["status"], json.dumps(found.get("metadata") or {})
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    is_good = (
        isinstance(session.id, str)
        and _ID.fullmatch(session.id)
        and type(session.start_ms) is int
        and type(session.end_ms) in (int, type(None))
        and session.status in (ACTIVE, COMPLETED, FAILED)
    )
    return session if is_good else None


def _write(file: Path, session: Session) -> None:
    content = session._asdict() | {"metadata": json.loads(session.metadata)}
    atomic_file.write(file, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
