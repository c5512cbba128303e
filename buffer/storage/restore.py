"""Rows found in a damaged file, written into the database in use under the ids they get there.

Every method joins the transaction that is open, and doing it twice changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import apsw

from buffer.storage import events, fate, writer
from buffer.storage.audit_windows import AuditWindows
from buffer.storage.clocks import Clocks
from buffer.storage.fate import Fate, uploaded_in
from buffer.storage.found import (
    Found,
    FoundAggregate,
    FoundCheckpoint,
    FoundClock,
    FoundEntry,
    FoundEvent,
    FoundSample,
    FoundSession,
    Identity,
)
from buffer.storage.series import SeriesIndex
from common import clock
from common.sample import PRIORITIES

# A row of `missing` is stored as an entry of the unique index is: found again where this database is damaged itself.
TABLES = """
CREATE TABLE IF NOT EXISTS salvage (name TEXT PRIMARY KEY, progress TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS missing (
    timestamp_ms INTEGER NOT NULL,
    series_id INTEGER NOT NULL,
    id INTEGER NOT NULL,           -- of the sample, in the damaged file
    PRIMARY KEY (timestamp_ms, series_id)
) WITHOUT ROWID;
"""

Row = tuple[Any, ...]  # timestamp_ms, series_id, value, session, clock, priority, Fate


class Change(NamedTuple):
    """What a write did.

    Attributes:
        inserted: samples that are new.
        pending: by how much the pending ones of each priority became more, or fewer.
    """

    inserted: int
    pending: list[int]


class CheckpointMap(NamedTuple):
    """What ids of checkpoints become.

    Attributes:
        shift: added to them.
        last: highest id of a checkpoint that was found; a higher one was in a part that is lost.
    """

    shift: int
    last: int

    @property
    def unknown(self) -> int:
        """Return the checkpoint that stands for those that were not found."""
        return self.shift + self.last + 1

    def map(self, found: Fate) -> Fate:
        """Translate a fate of the damaged file to this one."""
        if not found.is_uploaded:
            return found
        return uploaded_in(min(self.shift + (found.code or 0), self.unknown))


@dataclass
class Ids:
    """Ids of the damaged file and what they are here.

    Attributes:
        series: id here, and whether it is of text; None where that is not known.
        sessions, clocks: id here.
        steps_ms: by how much pending samples of an earlier clock of this boot have to be moved.
    """

    series: dict[int, tuple[int, bool]] = field(default_factory=dict)
    sessions: dict[int, int] = field(default_factory=dict)
    clocks: dict[int, int] = field(default_factory=dict)
    steps_ms: dict[int, int] = field(default_factory=dict)

    def series_id(self, old: int, *, is_text: bool) -> int | None:
        """Return the series of a sample, None where it is lost or does not fit the sample."""
        known = self.series.get(old)
        return known[0] if known is not None and known[1] == is_text else None

    def entry(self, found: FoundEntry) -> tuple[int, int, int] | None:
        """Return the key of an entry of the unique index here, None where its series is lost."""
        known = self.series.get(found.series)
        return None if known is None else (found.timestamp_ms, known[0], found.id)

    def row(self, sample: FoundSample, checkpoints: CheckpointMap) -> Row | None:
        """Return the row of a sample, None where its series is lost."""
        series = self.series_id(sample.series, is_text=isinstance(sample.value, str))
        if series is None:
            return None
        step_ms = self.steps_ms.get(sample.clock or 0, 0) if sample.fate.is_pending else 0
        references = self.sessions.get(sample.session or 0), self.clocks.get(sample.clock or 0)
        became = checkpoints.map(sample.fate)
        return sample.timestamp_ms + step_ms, series, sample.value, *references, sample.priority, became


class Restore:
    """Write what was found.

    Args:
        connection: the database in use.
        series: its series.
        clocks: returns its clocks.
    """

    def __init__(self, connection: apsw.Connection, series: SeriesIndex, clocks: Callable[[], Clocks]) -> None:
        self._connection = connection
        self._series = series
        self._clocks = clocks
        self._windows = AuditWindows(connection)

    def load(self, name: str) -> dict[str, Any]:
        """Return how far the salvage of a file has come."""
        if not self._has_begun():
            return {}
        found: Any = self._connection.execute("SELECT progress FROM salvage WHERE name = ?", (name,)).get
        return dict(json.loads(found or "{}"))

    def save(self, name: str, progress: Mapping[str, Any]) -> None:
        """Store the progress of a file's salvage."""
        self._connection.execute(TABLES)
        self._connection.execute(
            "INSERT INTO salvage (name, progress) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET progress = ?2",
            (name, json.dumps(progress)),
        )

    def forget(self, name: str) -> None:
        """Delete the stored progress of a file's salvage."""
        self._connection.execute(TABLES)
        self._connection.execute("DELETE FROM salvage WHERE name = ?", (name,))

    def missing(self, entries: Iterable[FoundEntry], ids: Ids) -> None:
        """Note the samples that an index of a damaged file names and that are not here; another file may have them."""
        keys = [key for entry in entries if (key := ids.entry(entry)) is not None]
        self._connection.executemany(
            "INSERT OR IGNORE INTO missing SELECT ?1, ?2, ?3 "
            "WHERE NOT EXISTS (SELECT 1 FROM samples WHERE timestamp_ms = ?1 AND series_id = ?2)",
            keys,
        )

    def take_lost(self) -> dict[str, int]:
        """Return how many samples no damaged file had, by metric, and forget them."""
        if not self._has_begun():
            return {}
        for step_ms in (0, *self._clocks().steps_ms()):
            self._connection.execute(
                "DELETE FROM missing WHERE EXISTS (SELECT 1 FROM samples "
                "WHERE samples.timestamp_ms = missing.timestamp_ms + ? AND samples.series_id = missing.series_id)",
                (step_ms,),
            )
        query = "SELECT metric_name, count(*) FROM missing JOIN series ON series.id = series_id GROUP BY 1"
        lost: list[Any] = self._connection.execute(query).fetchall()
        self._connection.execute("DELETE FROM missing")
        return dict(lost)

    def _has_begun(self) -> bool:
        query = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'missing'"
        return bool(self._connection.execute(query).get)

    def known(self) -> tuple[dict[int, Identity], list[FoundSession], list[FoundClock]]:
        """Return all series, by their ids, sessions and clocks: what samples refer to."""
        series, sessions, clocks = [
            list[Any](self._connection.execute(f"SELECT {columns}"))
            for columns in (
                "id, metric_name, device_id, tags, value_type FROM series",
                "rowid, id, start_time, end_time, status, metadata FROM sessions",
                "id, boot_id, offset_ms FROM clocks",
            )
        ]
        return (
            {number: Identity(name, device, tags, bool(kind)) for number, name, device, tags, kind in series},
            [FoundSession(rowid, tuple(columns)) for rowid, *columns in sessions],
            [FoundClock(*row) for row in clocks],
        )

    def reserve_checkpoints(self, count: int) -> int:
        """Keep ids of checkpoints free; return the one before the first of them."""
        table = "'upload_checkpoints'"
        self._connection.execute(
            f"INSERT INTO sqlite_sequence (name, seq) SELECT {table}, 0 "
            f"WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = {table})"
        )
        last = int(self._connection.execute(f"SELECT seq FROM sqlite_sequence WHERE name = {table}").get)
        self._connection.execute(f"UPDATE sqlite_sequence SET seq = seq + ? WHERE name = {table}", (count,))
        return last

    def unknown_checkpoint(self, checkpoint: int, name: str) -> None:
        """Make the checkpoint that stands for those that are lost."""
        self._connection.execute(
            "INSERT OR IGNORE INTO upload_checkpoints (id, batch_id, chunk_index) VALUES (?, ?, 0)", (checkpoint, name)
        )

    def references(
        self,
        series: Mapping[int, Identity],
        sessions: Iterable[FoundSession],
        clocks: Collection[FoundClock],
    ) -> Ids:
        """Write series, sessions and clocks; return what their ids are here."""
        ids = Ids()
        for old, one in series.items():
            entry = self._series.find(one.name, one.device_id, json.loads(one.tags), is_text=one.is_text)
            ids.series[old] = entry.id, one.is_text
        for session in sessions:
            ids.sessions[session.rowid] = self._session(session)
        for found in clocks:
            others_ms = [one.offset_ms for one in clocks if one.boot_id == found.boot_id]
            step_ms = self._clocks().against(found.boot_id, found.offset_ms, others_ms)
            if step_ms is not None:
                ids.clocks[found.id], ids.steps_ms[found.id] = self._clocks().current, step_ms
            else:
                ids.clocks[found.id] = self._clock(found)
        return ids

    def samples(self, rows: Sequence[Row]) -> Change:
        """Write samples; one that is here as pending and was uploaded there is uploaded."""
        inserted, pending = 0, [0] * len(PRIORITIES)
        for priority in PRIORITIES:
            mine = [(*row[:6], row[6].code) for row in rows if row[5] == priority]
            settled, waiting = [row for row in mine if row[6] is not None], [row for row in mine if row[6] is None]
            self._clocks().rebase_later({row[4] for row in waiting})
            pending[priority] = self._insert(waiting)
            new = self._insert(settled)
            inserted += pending[priority] + new
            self._windows.uploaded((row[0] for row in settled if Fate(row[6]).is_uploaded), clock.wall_ms())
            if new < len(settled):
                pending[priority] -= self._settle([(row[6], row[0], row[1], priority) for row in settled])
        return Change(inserted, pending)

    def others(self, found: Iterable[Found], ids: Ids, checkpoints: CheckpointMap) -> None:
        """Write checkpoints, events and aggregates."""
        for row in found:
            if isinstance(row, FoundCheckpoint):
                self._connection.execute(
                    "INSERT OR IGNORE INTO upload_checkpoints (id, batch_id, chunk_index, first_uploaded_timestamp, "
                    "last_uploaded_timestamp, upload_time, metrics_count) VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (checkpoints.map(uploaded_in(row.id)).code, *row[1:]),
                )
            elif isinstance(row, FoundEvent):
                self._event(row, ids.sessions.get(row.session or 0))
            elif isinstance(row, FoundAggregate) and (series := ids.series_id(row.series, is_text=False)) is not None:
                self._connection.execute(
                    "INSERT OR IGNORE INTO aggregates (width_ms, start_ms, series_id, min, max, avg, last, last_ms, "
                    "count) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (row.width_ms, row.start_ms, series, *row.numbers),
                )

    def _session(self, found: FoundSession) -> int:
        self._connection.execute(
            "INSERT OR IGNORE INTO sessions (id, start_time, end_time, status, metadata) VALUES (?, ?, ?, ?, ?)",
            found.columns,
        )
        return int(self._connection.execute("SELECT rowid FROM sessions WHERE id = ?", found.columns[:1]).get)

    def _clock(self, found: FoundClock) -> int:
        key = found.boot_id, found.offset_ms
        self._connection.execute("INSERT OR IGNORE INTO clocks (boot_id, offset_ms) VALUES (?, ?)", key)
        return int(self._connection.execute("SELECT id FROM clocks WHERE boot_id = ? AND offset_ms = ?", key).get)

    def _event(self, found: FoundEvent, session: int | None) -> None:
        self._connection.execute(events.INSERT, (*found[:5], session))

    def _insert(self, rows: Sequence[Row]) -> int:
        return self._changes(writer.INSERT, rows)

    def _settle(self, keys: Sequence[Row]) -> int:
        where = f"timestamp_ms = ? AND series_id = ? AND priority = ? AND {fate.IS_PENDING}"
        return self._changes(f"UPDATE samples SET chunk = ? WHERE {where}", keys)

    def _changes(self, statement: str, rows: Sequence[Row]) -> int:
        before = self._connection.total_changes()
        self._connection.executemany(statement, rows)
        return self._connection.total_changes() - before
