"""How the database can fail; nobody outside of this folder imports apsw."""

from __future__ import annotations

import apsw

Error = apsw.Error  # of any kind; the transaction did not happen
CorruptError = apsw.CorruptError
ReadOnlyError = apsw.ReadOnlyError
BusyError = apsw.BusyError  # another process writes
SqlError = apsw.SQLError  # our statements are constants: it is the tables that are not as they should be
# What passes when there is room again, or whoever holds the file lets go of it.
SURROUNDINGS = (apsw.FullError, apsw.IOError, apsw.ReadOnlyError, apsw.BusyError, apsw.LockedError)


def code(error: Error) -> int | None:
    """Return SQLite's extended result code."""
    found: int | None = getattr(error, "extendedresult", None)
    return found
