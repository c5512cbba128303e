"""Databases that were moved aside: `metrics.db.corrupt-<UTC>[-n]`, each with its log and, once done, a report.

Only salvaged files are deleted, and the two newest of them stay. A file that is not ours (of another program or a
newer version) is never deleted. A move that was interrupted by a kill is completed at the next start.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from buffer.recovery import note
from buffer.recovery.note import Note
from common import atomic_file

KEPT = 2
LOG, INDEX, JOURNAL, REPORT = "-wal", "-shm", "-journal", ".json"

SALVAGED, FOREIGN = "salvaged", "foreign"


class Aside:
    """The files that were moved away from one database's place.

    Args:
        database: where it is; its folder takes the files.
    """

    def __init__(self, database: Path) -> None:
        self._database = database
        self._prefix = f"{database.name}.corrupt-"

    def move(self, reason: str, known: Note = Note(), *, foreign: bool = False) -> Path:  # noqa: B008 - frozen
        """Move the database aside with its log, and return where it is now.

        Args:
            reason: what is wrong with it, for the report.
            known: what is known of it.
            foreign: it is not ours; it will not be salvaged and never be deleted.

        Raises:
            OSError: it cannot be moved.
        """
        target = self._new_name()
        if foreign:  # first, so that nobody takes it for one to be salvaged
            self.report(target, {"state": FOREIGN, "reason": reason})
        note.write(target, known)
        # The log last: when a database is not there, its log is a move that was not finished.
        for suffix in (JOURNAL, "", LOG):
            _rename(beside(self._database, suffix), beside(target, suffix))
        remove_index(self._database)
        atomic_file.sync_directory(target.parent)
        return target

    def finish_move(self) -> Path | None:
        """Finish an interrupted move: a log without its database; return the database it belongs to now."""
        log = beside(self._database, LOG)
        if _size(self._database) or not _size(log):
            return None
        last = max((path for path in self.unfinished() if not beside(path, LOG).exists()), default=None)
        if self._database.exists() or last is None:
            return self.move("the database is empty and its log is not")
        _rename(log, beside(last, LOG))
        remove_index(self._database)
        atomic_file.sync_directory(last.parent)
        return last

    def copy_log(self, known: Note) -> Path:
        """Copy the log alone, and return whose log it is now.

        Raises:
            OSError: there is no room.
        """
        target = self._new_name()
        unfinished = target.with_name(f"{self._database.name}.copy{LOG}")
        with beside(self._database, LOG).open("rb") as source, unfinished.open("wb") as copy:
            shutil.copyfileobj(source, copy)
            copy.flush()
            os.fdatasync(copy.fileno())
        note.write(target, known)
        unfinished.replace(beside(target, LOG))
        atomic_file.sync_directory(target.parent)
        return target

    def unfinished(self) -> list[Path]:
        """Return what is to be salvaged, oldest first."""
        return [path for path in self._all() if not beside(path, REPORT).exists()]

    def take_back(self, is_readable: Callable[[Path], bool]) -> list[Path]:
        """Mark foreign files that this version can read for salvage; return them.

        Args:
            is_readable: tells whether a file is a database of this version.
        """
        files = [path for path in self._all() if self._state(path) == FOREIGN and is_readable(path)]
        for path in files:
            beside(path, REPORT).unlink(missing_ok=True)
        return files

    def report(self, path: Path, content: dict[str, Any]) -> None:
        """Write the report of a salvaged file, which marks it as done.

        Raises:
            OSError: there is no room.
        """
        text = json.dumps({"file": path.name, **content}, indent=1, ensure_ascii=False)
        atomic_file.write(beside(path, REPORT), text + "\n", durable=True)

    def prune(self, keep: int = KEPT) -> list[Path]:
        """Delete the oldest salvaged files; return them."""
        done = [path for path in self._all() if self._state(path) == SALVAGED]
        dropped = done[: max(0, len(done) - keep)]
        for path in dropped:
            for suffix in (JOURNAL, "", LOG, INDEX, note.SUFFIX, REPORT):
                beside(path, suffix).unlink(missing_ok=True)
        return dropped

    def _all(self) -> list[Path]:
        names = {
            entry.name.removesuffix(LOG)
            for entry in self._database.parent.iterdir()
            if entry.name.startswith(self._prefix) and REPORT not in entry.name
        }
        return sorted((self._database.with_name(name) for name in names - {self._prefix}), key=_age)

    def _state(self, path: Path) -> str:
        try:
            return str(json.loads(beside(path, REPORT).read_text(encoding="utf-8"))["state"])
        except (OSError, ValueError, KeyError, TypeError):
            return ""

    def _new_name(self) -> Path:
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        name, number = f"{self._prefix}{stamp}", 0
        while any(self._database.parent.glob(f"{name}*")) if not number else self._is_taken(name, number):
            number += 1
        return self._database.with_name(f"{name}-{number}" if number else name)

    def _is_taken(self, name: str, number: int) -> bool:
        return any(self._database.with_name(f"{name}-{number}{suffix}").exists() for suffix in ("", LOG, REPORT))


def _age(path: Path) -> tuple[str, int]:
    """Return a key that sorts by time, then by number."""
    stamp, _, number = path.name.rpartition(".corrupt-")[2].partition("-")
    return stamp, int(number) if number.isdecimal() else 0


def beside(path: Path, suffix: str) -> Path:
    """Return the file that goes with a database."""
    return path.with_name(path.name + suffix)


def remove_index(database: Path) -> None:
    """Delete the index of a log; SQLite makes it from the log."""
    beside(database, INDEX).unlink(missing_ok=True)


def _rename(source: Path, target: Path) -> None:
    try:
        source.rename(target)
    except FileNotFoundError:
        pass  # there is none


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
