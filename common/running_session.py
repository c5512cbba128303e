"""The id of the stream that runs, for the log lines of every process.

Reads and writes: RUN_DIR/session-id, a small file. The source `session` writes it when a stream starts and removes it
    when the stream ends; others read it where they write a line, never for a sample.
Errors: without the file, or where it cannot be written, lines have no `session_id`.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from common import atomic_file

FILE = "session-id"


def publish(run_dir: Path, session_id: str) -> None:
    """Write the id of the stream that runs; "" where none does."""
    file = run_dir / FILE
    with suppress(OSError):
        if session_id:
            atomic_file.write(file, session_id)
        else:
            file.unlink(missing_ok=True)


def fields(run_dir: Path) -> dict[str, str]:
    """Return the field `session_id` of a log line; nothing while no stream runs."""
    try:
        session_id = (run_dir / FILE).read_text(encoding="ascii")
    except (OSError, ValueError):
        return {}
    return {"session_id": session_id}
