"""Check the database file at the start, and replace a damaged one.

Reads the file and its write-ahead log; a damaged or foreign file is renamed and a new one created, so that the buffer
always runs. Fails only for reasons outside of the file: no space, no permission, no device. How much is checked:
`storage/inspection.py`. Damage in other pages is found when they are read; then `rescue.py` does the same at run time.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from buffer.recovery.aside import Aside
from buffer.recovery.frames import WriteAheadLog
from buffer.recovery.note import Note
from buffer.recovery.pages import FRACTIONS
from buffer.storage import database, errors, migrations
from buffer.storage.store import Store
from common.events import Event
from common.service import Service


class FileVerdict(NamedTuple):
    """What is wrong with a file, whether it is ours at all, and the clocks of this boot where it tells them."""

    reason: str
    foreign: bool = False
    offsets_ms: Sequence[int] = ()


def open_store(service: Service) -> Store:
    """Open the database, or a fresh one where the one that is there is damaged.

    Raises:
        migrations.NewerSchemaError: a newer version wrote it; it is left as it is.
        errors.Error: there is no room, no permission or no device.
        OSError: the same.
    """
    path = service.config.settings.storage.path
    aside = Aside(path)
    moved = aside.finish_move()
    if moved is not None:
        service.log.warning("finished moving a damaged database", path=str(path), moved_to=str(moved))
    found = _examine(service)
    if isinstance(found, FileVerdict):
        replace(service, aside, found, Note())
        offsets_ms, found = found.offsets_ms, _new_store(service)
        found.carry_over(offsets_ms)
    for path in aside.take_back(database.is_readable):
        service.log.warning("a file that was moved aside can be read by this version", file=path.name)
    return found


def replace(service: Service, aside: Aside, verdict: FileVerdict, known: Note) -> None:
    """Move the database aside with what is known of it, and report it.

    Raises:
        OSError: it cannot be moved.
    """
    moved = aside.move(verdict.reason, known, foreign=verdict.foreign)
    service.instruments.count("storage.corruptions_total", kind="foreign" if verdict.foreign else "database")
    what = "a file that is not ours was moved aside" if verdict.foreign else "a damaged database was moved aside"
    service.log.error(what, reason=verdict.reason, moved_to=str(moved))
    service.event(Event("database_replaced", f"{what}, to {moved.name}: {verdict.reason}"))


def _examine(service: Service) -> Store | FileVerdict:
    """Return the store of a sound file, or what is wrong with it."""
    path = service.config.settings.storage.path
    unclean = database.size(database.log_of(path)) > 0
    try:
        if unclean and _are_tables_hidden(path):
            return FileVerdict("its tables are in the log, behind a damaged frame")
        store = _new_store(service)
        try:
            problem = store.find_damage(unclean=unclean)
            if problem is None and unclean and store.migrated_from == migrations.VERSION:
                _keep_hidden_commits(service, store)  # a migration has written over them already
        except BaseException:
            store.abandon()
            raise
    except migrations.UnknownSchemaError as error:
        return FileVerdict(str(error), foreign=_has_valid_header(path))
    except errors.Error as error:
        misread = isinstance(error, errors.ReadOnlyError) and not _has_valid_header(path)
        if not (misread or isinstance(error, errors.SqlError) or database.is_damage(error)):
            raise
        return FileVerdict(f"{type(error).__name__}: {error}")
    except ValueError as error:  # a column holds what was never written to it, such as text that is no UTF-8
        return FileVerdict(f"{type(error).__name__}: {error}")
    if problem is None:
        return store
    store.abandon()
    return FileVerdict(problem, offsets_ms=store.clocks.offsets_ms)


def _new_store(service: Service) -> Store:
    settings = service.config.settings

    def progress(rows: int) -> None:
        service.log.info("migrating", rows_copied=rows)

    return Store(settings.storage, settings.device.id, progress, settings.clock.sync_wait_s)


def _are_tables_hidden(path: Path) -> bool:
    """Return whether the log holds commits behind a damaged frame and nothing is before it: a new file, to SQLite."""
    connection = database.DatabaseConnection(str(path))
    try:
        return migrations.version(connection) == 0 and _hides_commits(path, database.frames_in_log(connection))
    finally:
        database.abandon(connection)


def _hides_commits(path: Path, valid_frames: int) -> bool:
    log = WriteAheadLog(database.log_of(path))
    try:
        return log.has_commit_after(valid_frames)
    finally:
        log.close()


def _keep_hidden_commits(service: Service, store: Store) -> None:
    """Copy a log that holds commits SQLite does not see, behind a damaged or torn frame, before it writes over them."""
    path = service.config.settings.storage.path
    valid = store.frames_in_log()
    if not _hides_commits(path, valid):
        return
    kept = Aside(path).copy_log(Note(*store.restore.known(), first_frame=valid))
    store.checkpoint()
    service.instruments.count("storage.corruptions_total", kind="log")
    service.log.warning(
        "commits behind a torn or damaged frame of the log, kept to be salvaged",
        frames_valid=valid,
        kept_as=str(kept),
    )


def _has_valid_header(path: Path) -> bool:
    """Return whether the file header is valid."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)  # no connection of this process has it open
    try:
        header = os.pread(descriptor, 100, 0)
    finally:
        os.close(descriptor)
    formats, encoding = set(header[18:20]), int.from_bytes(header[56:60], "big")
    return not header or (formats <= {1, 2} and header[21:24] == FRACTIONS and encoding == 1)
