"""Is the database file sound? What the buffer asks before it relies on one, and what it does if not.

Reads the file and its log; a damaged or foreign one is moved aside and a fresh one started, so that the
buffer always runs. Fails only with what is not the file's fault: no room, no permission, no device.

How much is checked: always that it opens, that every table and column is there, that the pending samples
can be counted and a sample written. All pages only after an unclean end, and only as many as fit into two
seconds: a large file must not delay the start. Damage deeper down shows when it is read; then `rescue.py`
does the same at run time.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import NamedTuple

import apsw

from buffer import database, schema, tables
from buffer.damage import refill, salvage
from buffer.damage.aside import Aside
from buffer.damage.frames import Log
from buffer.damage.pages import FRACTIONS
from buffer.damage.salvage import Progress
from buffer.store import Store
from common.events import Event
from common.service import Service

CHECK_S = 2.0
CHECK_EVERY = 10_000  # steps of SQLite's machine between two looks at the clock, about 1 ms


class Verdict(NamedTuple):
    """What is wrong with a file, and whether it is ours at all."""

    reason: str
    foreign: bool = False


def open_store(process: Service) -> Store:
    """Open the database, or a fresh one where the one that is there is damaged.

    Raises:
        apsw.Error: there is no room, no permission or no device.
        OSError: the same.
    """
    path = process.config.settings.storage.path
    aside = Aside(path)
    moved = aside.finish_move()
    if moved is not None:
        process.log.warning("finished moving a damaged database", path=str(path), moved_to=str(moved))
    found = _examine(process)
    if isinstance(found, Store):
        return found
    replace(process, aside, found)
    return _new_store(process)


def replace(process: Service, aside: Aside, verdict: Verdict) -> Path:
    """Move the database aside and report it.

    Raises:
        OSError: it cannot be moved.
    """
    moved = aside.move(verdict.reason, foreign=verdict.foreign)
    process.instruments.count("storage.corruptions_total", kind="foreign" if verdict.foreign else "database")
    what = "a file that is not ours was moved aside" if verdict.foreign else "a damaged database was moved aside"
    process.log.error(what, reason=verdict.reason, moved_to=str(moved))
    process.event(Event("database_replaced", f"{what}, to {moved.name}: {verdict.reason}"))
    return moved


def find_damage(store: Store, *, unclean: bool) -> str | None:
    """Return what is wrong with an open database, or None.

    Args:
        store: the database.
        unclean: it was not closed as it should; look at its pages.

    Raises:
        apsw.Error: of any kind; see `database.DAMAGE`.
    """
    connection = store.connection
    missing = _missing_columns(connection)
    if missing:
        return f"not in the file: {', '.join(missing[:3])}"
    _probe(connection)
    return _quick_check(connection) if unclean else None


def _examine(process: Service) -> Store | Verdict:
    """Return the store of a sound file, or what is wrong with it."""
    path = process.config.settings.storage.path
    unclean = database.size(database.log_of(path)) > 0
    try:
        store = _new_store(process)
        try:
            problem = find_damage(store, unclean=unclean)
            if problem is None and unclean and store.migrated_from == schema.VERSION:
                _keep_hidden_commits(process, store)  # a migration has written over them already
        except BaseException:
            store.abandon()
            raise
    except schema.UnknownSchemaError as error:
        return Verdict(str(error), foreign=_has_sound_header(path))
    except apsw.Error as error:
        misread = isinstance(error, apsw.ReadOnlyError) and not _has_sound_header(path)
        # SQLError: our statements are constants, so it is the tables that are not as they should be.
        if not (misread or isinstance(error, apsw.SQLError) or database.is_damage(error)):
            raise
        return Verdict(f"{type(error).__name__}: {error}")
    except ValueError as error:  # a column holds what was never written to it, such as text that is no UTF-8
        return Verdict(f"{type(error).__name__}: {error}")
    if problem is None:
        return store
    store.abandon()
    return Verdict(problem)


def _new_store(process: Service) -> Store:
    settings = process.config.settings

    def progress(rows: int) -> None:
        process.log.info("migrating", rows_copied=rows)

    return Store(settings.storage, settings.device.id, progress, settings.clock.sync_wait_s)


def _missing_columns(connection: apsw.Connection) -> list[str]:
    """Return the columns that a fresh file would have and this one has not: its schema is damaged."""
    fresh = apsw.Connection(":memory:")
    try:
        fresh.execute(tables.TABLES)
        query = (
            "SELECT m.name || '.' || c.name FROM sqlite_master AS m, pragma_table_info(m.name) AS c "
            "WHERE m.type = 'table' UNION ALL SELECT name FROM sqlite_master WHERE type = 'index'"
        )
        have = {name for (name,) in connection.execute(query)}
        return [name for (name,) in fresh.execute(query) if name not in have]
    finally:
        fresh.close()


def _probe(connection: apsw.Connection) -> None:
    """Write a sample as ingest does, and take it back; nothing of it reaches the disk."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute(
            "INSERT OR IGNORE INTO samples (timestamp_ms, series_id, value, priority, chunk) VALUES (?, 0, 0, 0, NULL)",
            (time.time_ns() // 1_000_000,),
        )
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _quick_check(connection: apsw.Connection) -> str | None:
    """Return what SQLite finds wrong in the time there is, or None."""
    deadline_s = time.monotonic() + CHECK_S
    connection.set_progress_handler(lambda: time.monotonic() > deadline_s, CHECK_EVERY)
    try:
        answer = str(connection.execute("PRAGMA quick_check(1)").get)
    except apsw.InterruptError:
        return None  # so far it is sound
    finally:
        connection.set_progress_handler(None)
    return None if answer == "ok" else answer


def _keep_hidden_commits(process: Service, store: Store) -> None:
    """Copy a log that holds commits SQLite does not see, behind a damaged or torn frame, before it writes over them."""
    path = process.config.settings.storage.path
    valid = database.frames_in_log(store.connection)
    log = Log(database.log_of(path))
    try:
        if not log.has_commit_after(valid):
            return
    finally:
        log.close()
    kept = Aside(path).copy_log()
    with store.connection as connection:
        progress = Progress(first_frame=valid, shared=refill.shared_ids(connection))
        salvage.save(connection, kept.name, progress)
    store.checkpoint()
    process.instruments.count("storage.corruptions_total", kind="log")
    process.log.warning(
        "commits behind a torn or damaged frame of the log, kept to be salvaged",
        frames_valid=valid,
        kept_as=str(kept),
    )


def _has_sound_header(path: Path) -> bool:
    """Tell whether what decides how the file is read holds what SQLite writes there."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)  # no connection of this process has it open
    try:
        header = os.pread(descriptor, 100, 0)
    finally:
        os.close(descriptor)
    formats, encoding = set(header[18:20]), int.from_bytes(header[56:60], "big")
    return not header or (formats <= {1, 2} and header[21:24] == FRACTIONS and encoding == 1)
