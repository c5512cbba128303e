"""Restore a database file that was deleted or replaced while it is open: copy the open file to its old path.

Reads the open file, which exists as long as this process has it open, and writes a complete copy to the old path. A
file that took its place is renamed, and salvaged if it is a database of ours. Ingest continues meanwhile; a copy that
fails (no space) is tried again.
"""

from __future__ import annotations

from collections.abc import Iterator

from buffer.recovery.aside import Aside, remove_index
from buffer.storage import database
from buffer.storage.store import Store
from common.events import Event
from common.service import Service


class LostName:
    """Watch the name of the database.

    Args:
        service: whose log, metrics and events these are.
        store: the database.
        aside: where another file in its place goes.
    """

    def __init__(self, service: Service, store: Store, aside: Aside) -> None:
        self._service = service
        self._store = store
        self._aside = aside
        self._copy = store.path.with_name(f"{store.path.name}.copy")
        self._work: Iterator[None] | None = None
        self._log = database.identity(database.log_of(store.path))

    def is_in_place(self) -> bool:
        """Return whether the open file still has its name; report it when not."""
        if self._work is None and self._store.is_in_place():
            self._log = database.identity(database.log_of(self._store.path))
            return True
        if self._work is None:
            self._report()
            self._work = self._store.copy(self._copy)
        return False

    def step(self) -> bool:
        """Copy a slice; return True when the database has its name again and is open.

        Raises:
            errors.Error, OSError: there is no room; begin again later.
        """
        assert self._work is not None, "ask is_in_place first"  # noqa: S101
        try:
            next(self._work)
        except StopIteration:
            self._work = None
            self._take_place()
            return True
        except BaseException:
            self._work = None
            raise
        return False

    def finish(self) -> None:
        """Copy the whole file at once: the process ends, and the open file with it.

        Raises:
            errors.Error, OSError: as above.
        """
        if not self.is_in_place():
            while not self.step():
                pass

    def _take_place(self) -> None:
        """Rename the copy to the database's name and open it; steps that can fail come first."""
        path = self._store.path
        log = database.log_of(path)
        if database.identity(log) == self._log:  # of the nameless file; all of it is in the copy
            log.unlink(missing_ok=True)
        if path.exists():
            self._aside.move("another file took the place of the database in use")
        remove_index(path)
        self._copy.rename(path)
        self._store.abandon()
        self._store.open()
        self._service.log.warning("the database is back at its path", path=str(path))

    def _report(self) -> None:
        what = "replaced by another file" if self._store.path.exists() else "deleted"
        self._service.instruments.count("storage.corruptions_total", kind="name")
        self._service.log.error(
            "the database file was deleted or replaced while in use", what=what, path=str(self._store.path)
        )
        text = f"{self._store.path.name} was {what} while it is in use; its content is copied back to its path"
        self._service.event(Event("database_file_lost", text))
