"""Rows found in a damaged file, written into the database in use under the ids they get there.

Every function joins the transaction that is open, and doing it twice changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import apsw

from buffer import tables, windows
from buffer.damage.shapes import FoundAggregate, FoundCheckpoint, FoundEvent, FoundSample
from buffer.damage.survey import Survey
from buffer.older import Old
from buffer.store import Store
from common import clock
from common.sample import PRIORITIES

Row = tuple[Any, ...]  # timestamp_ms, series_id, value, session, clock, priority, chunk


class Change(NamedTuple):
    """What a write did.

    Attributes:
        inserted: samples that are new.
        pending: by how much the pending ones of each priority became more, or fewer.
    """

    inserted: int
    pending: list[int]


class Chunks(NamedTuple):
    """What becomes of `samples.chunk`.

    Attributes:
        shift: added to ids of checkpoints.
        last: highest id of a checkpoint that was found; a higher one was in a part that is lost.
        shared: ids up to this mean the same in both files.
    """

    shift: int
    last: int
    shared: int

    @property
    def unknown(self) -> int:
        """The checkpoint that stands for those that were not found."""
        return self.shift + self.last + 1

    def map(self, chunk: int | None) -> int | None:
        """Return what a chunk of the damaged file is called here."""
        if chunk is None or chunk <= self.shared:
            return chunk
        return min(self.shift + chunk, self.unknown)


@dataclass
class Ids:
    """Ids of the damaged file and what they are here.

    Attributes:
        series: id here, and whether it is of text; None where that is not known.
        sessions, clocks: id here.
        steps_ms: by how much pending samples of an earlier clock of this boot have to be moved.
        names: id of a session here, by its name.
        shared: highest id by table that means the same in both files.
    """

    series: dict[int, tuple[int, bool]] = field(default_factory=dict)
    sessions: dict[int, int] = field(default_factory=dict)
    clocks: dict[int, int] = field(default_factory=dict)
    steps_ms: dict[int, int] = field(default_factory=dict)
    names: dict[str, int] = field(default_factory=dict)
    shared: dict[str, int] = field(default_factory=dict)

    def series_id(self, old: int, *, is_text: bool) -> int | None:
        """Return the series of a sample, None where it is lost or does not fit the sample."""
        known = self.series.get(old)
        if known is not None:
            return known[0] if known[1] == is_text else None
        return old if old <= self.shared.get("series", 0) else None

    def session(self, old: int | None) -> int | None:
        """Return a session, None where it is lost."""
        return old if old is not None and old <= self.shared.get("sessions", 0) else self.sessions.get(old or 0)

    def clock(self, old: int | None) -> int | None:
        """Return a clock, None where it is lost."""
        return old if old is not None and old <= self.shared.get("clocks", 0) else self.clocks.get(old or 0)

    def row(self, sample: FoundSample, chunks: Chunks) -> Row | None:
        """Return the row of a sample, None where its series is lost."""
        series = self.series_id(sample.series, is_text=isinstance(sample.value, str))
        if series is None:
            return None
        step_ms = self.steps_ms.get(sample.clock or 0, 0) if sample.chunk is None else 0
        references = self.session(sample.session), self.clock(sample.clock)
        return (
            sample.timestamp_ms + step_ms,
            series,
            sample.value,
            *references,
            sample.priority,
            chunks.map(sample.chunk),
        )


def old_row(store: Store, ids: Ids, old: Old, uploaded: int) -> Row:
    """Return the row of a sample of an older version; `uploaded` is the checkpoint of those that were."""
    is_text = isinstance(old.value, str)
    series = store.book.find(old.name, old.device or store.device_id, old.tags, is_text=is_text)
    chunk = tables.LOCAL if is_text else uploaded if old.uploaded else None if old.is_sendable else tables.REFUSED
    return old.timestamp_ms, series.id, old.value, ids.names.get(old.session or ""), None, old.priority, chunk


def shared_ids(connection: apsw.Connection) -> dict[str, int]:
    """Return the highest ids in use: what a copy of this database made now shares with it."""
    tables = {"series": "series", "sessions": "sessions", "clocks": "clocks", "chunks": "upload_checkpoints"}
    query = "SELECT ifnull(max(rowid), 0) FROM {}"
    return {name: int(connection.execute(query.format(table)).get) for name, table in tables.items()}


def reserve_checkpoints(connection: apsw.Connection, count: int) -> int:
    """Keep ids of checkpoints free; return the one before the first of them."""
    connection.execute(
        "INSERT INTO sqlite_sequence (name, seq) SELECT 'upload_checkpoints', 0 "
        "WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'upload_checkpoints')"
    )
    last = int(connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'upload_checkpoints'").get)
    connection.execute("UPDATE sqlite_sequence SET seq = seq + ? WHERE name = 'upload_checkpoints'", (count,))
    return last


def unknown_checkpoint(connection: apsw.Connection, checkpoint: int, name: str) -> None:
    """Make the checkpoint that stands for those that are lost."""
    connection.execute(
        "INSERT OR IGNORE INTO upload_checkpoints (id, batch_id, chunk_index) VALUES (?, ?, 0)", (checkpoint, name)
    )


def references(store: Store, survey: Survey, shared: dict[str, int]) -> Ids:
    """Write series, sessions and clocks; return what their ids are here."""
    connection, ids = store.connection, Ids(shared=shared)
    for old, series in survey.series.items():
        entry = store.book.find(series.name, series.device_id, series.pairs(), is_text=series.is_text)
        ids.series[old] = entry.id, series.is_text
    for session in survey.sessions.values():
        connection.execute(
            "INSERT OR IGNORE INTO sessions (id, start_time, end_time, status, metadata) VALUES (?, ?, ?, ?, ?)",
            session.columns,
        )
        query = "SELECT rowid FROM sessions WHERE id = ?"
        here = connection.execute(query, session.columns[:1]).get
        ids.sessions[session.rowid] = ids.names[session.columns[0]] = here
    for found in survey.clocks.values():
        step_ms = store.clocks.against(found.boot_id, found.offset_ms)
        if step_ms is not None:
            ids.clocks[found.id], ids.steps_ms[found.id] = store.clocks.current, step_ms
            continue
        key = found.boot_id, found.offset_ms
        connection.execute("INSERT OR IGNORE INTO clocks (boot_id, offset_ms) VALUES (?, ?)", key)
        query = "SELECT id FROM clocks WHERE boot_id = ? AND offset_ms = ?"
        ids.clocks[found.id] = connection.execute(query, key).get
    return ids


def samples(connection: apsw.Connection, rows: Sequence[Row]) -> Change:
    """Write samples; one that is here as pending and was uploaded there is uploaded."""
    insert = (
        "INSERT OR IGNORE INTO samples (timestamp_ms, series_id, value, session, clock, priority, chunk) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)"
    )
    settle = "UPDATE samples SET chunk = ? WHERE timestamp_ms = ? AND series_id = ? AND chunk IS NULL AND priority = ?"
    inserted, pending = 0, [0] * len(PRIORITIES)
    for priority in PRIORITIES:
        mine = [row for row in rows if row[5] == priority]
        open_ones = [row for row in mine if row[6] is None]
        settled = [row for row in mine if row[6] is not None]
        pending[priority] = _changes(connection, insert, open_ones)
        new = _changes(connection, insert, settled)
        inserted += pending[priority] + new
        spans = windows.count(row[0] for row in settled if row[6] > 0).items()
        connection.executemany(windows.UPLOADED, [(start_ms, clock.wall_ms(), count) for start_ms, count in spans])
        if new < len(settled):
            keys = [(row[6], row[0], row[1], priority) for row in settled]
            pending[priority] -= _changes(connection, settle, keys)
    return Change(inserted, pending)


def others(connection: apsw.Connection, found: Iterable[object], ids: Ids, chunks: Chunks) -> None:
    """Write checkpoints, events and aggregates."""
    for row in found:
        if isinstance(row, FoundCheckpoint) and row.id > chunks.shared:
            connection.execute(
                "INSERT OR IGNORE INTO upload_checkpoints (id, batch_id, chunk_index, first_uploaded_timestamp, "
                "last_uploaded_timestamp, upload_time, metrics_count) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (chunks.map(row.id), *row[1:]),
            )
        elif isinstance(row, FoundEvent):
            connection.execute(
                "INSERT INTO events (timestamp_ms, kind, severity, source, text, session) "
                "SELECT ?1, ?2, ?3, ?4, ?5, ?6 WHERE NOT EXISTS "
                "(SELECT 1 FROM events WHERE timestamp_ms = ?1 AND kind = ?2 AND source = ?4 AND text = ?5)",
                (*row[:5], ids.session(row.session)),
            )
        elif isinstance(row, FoundAggregate) and (series := ids.series_id(row.series, is_text=False)) is not None:
            connection.execute(
                "INSERT OR IGNORE INTO aggregates (width_ms, start_ms, series_id, min, max, avg, last, last_ms, count) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (row.width_ms, row.start_ms, series, *row.numbers),
            )


def _changes(connection: apsw.Connection, statement: str, rows: Sequence[Row]) -> int:
    before = connection.total_changes()
    connection.executemany(statement, rows)
    return connection.total_changes() - before
