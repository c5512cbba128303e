"""The one read-only connection to the buffer's database, for the page and for the report.

Reads: SQLite. No transaction lasts longer than one query, so that neither the writer nor a checkpoint waits.
Fails: a file that is not there, or damaged, raises `UnreadableError`; the next read opens it again. So does a file
that was moved aside and replaced.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import apsw

CACHE_KIB = 2000

Query = Callable[[str, Sequence[Any]], list[Any]]  # SQL and its values to rows
_Found = TypeVar("_Found")


class UnreadableError(Exception):
    """The database cannot be read now."""


class Database:
    """A read-only connection, shared by many threads.

    Args:
        path: the file.
        busy_ms: how long a query waits for a writer that has the file to itself.
    """

    def __init__(self, path: Path, busy_ms: int = 100) -> None:
        self._path = path
        self._busy_ms = busy_ms
        self._lock = threading.Lock()
        self._connection: apsw.Connection | None = None
        self._inode = 0

    def read(self, work: Callable[[Query], _Found]) -> _Found:
        """Call `work` with a query function; return its result.

        Raises:
            UnreadableError: see the class.
        """
        import apsw  # noqa: PLC0415 - four megabytes that a healthd without visitors does not need

        with self._lock:
            try:
                connection = self._opened()
                return work(lambda text, values: connection.execute(text, values).fetchall())
            except (apsw.Error, OSError) as error:
                self._drop()
                raise UnreadableError(f"{self._path}: {error}") from error

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._drop()

    def _opened(self) -> apsw.Connection:
        import apsw  # noqa: PLC0415 - as above

        inode = self._path.stat().st_ino
        if self._connection is None or inode != self._inode:
            self._drop()
            self._connection = apsw.Connection(str(self._path), flags=apsw.SQLITE_OPEN_READONLY)
            self._connection.set_busy_timeout(self._busy_ms)
            self._connection.execute(f"PRAGMA query_only = 1; PRAGMA cache_size = -{CACHE_KIB}")
            self._inode = inode
        return self._connection

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close(True)
            self._connection = None
