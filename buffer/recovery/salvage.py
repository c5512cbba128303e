"""Copy the rows of a damaged database into the one in use, slice by slice.

Reads the damaged file page by page, writes its samples, series, sessions, checkpoints, events and aggregates to the
store. Pending samples stay pending, uploaded ones stay uploaded, duplicates are dropped. Each slice is one transaction
that also stores the progress: a kill costs one slice. While the disk is full, it waits.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from buffer.pace import SLICE_S, Pace
from buffer.recovery.pages import File
from buffer.recovery.shapes import recognise
from buffer.recovery.survey import Survey
from buffer.storage import errors
from buffer.storage.found import Found, FoundSample
from buffer.storage.restore import CheckpointMap, Ids, Row
from buffer.storage.store import Store


@dataclass
class SalvageProgress:
    """How far a salvage has come; kept in the database.

    Attributes:
        first_frame: frames of the log before this one are in the database in use.
        shared: highest id by table that means the same in both files.
        shift: what is added to ids of checkpoints, None before they are counted.
        last_checkpoint: highest id of a checkpoint in the damaged file.
        done: pages, in the order of `Survey.worthwhile`.
        samples: put back.
        known: samples that were there already.
        unreadable: rows that were there and could not be read, or not be put back.
    """

    first_frame: int = 0
    shared: dict[str, int] = field(default_factory=dict)
    shift: int | None = None
    last_checkpoint: int = 0
    done: int = 0
    samples: int = 0
    known: int = 0
    unreadable: int = 0


class Salvage:
    """The salvage of one file.

    Args:
        path: the database that was moved aside; its log is beside it.
        store: where the rows go.
        has_room: tells whether the file system has room for more.

    Attributes:
        path: as given.
        progress: so far.
        waiting: why nothing happens at the moment, or None.
        pace: how many rows a slice may take.
    """

    def __init__(self, path: Path, store: Store, has_room: Callable[[], bool]) -> None:
        self.path = path
        self._store = store
        self._has_room = has_room
        stored, self._hints = store.restore.load(path.name)
        self.progress = SalvageProgress(**stored)
        self.waiting: str | None = None
        self.pace = Pace()
        self._file = File(path, self.progress.first_frame)
        self._survey: Survey | None = None
        self._ids = Ids()

    @property
    def percent(self) -> int:
        """Return how much of the file is read, in percent."""
        return 100 * self.progress.done // max(1, self._file.pages)

    @property
    def is_ours(self) -> bool:
        """Return whether this program wrote the file: it has series with valid keys."""
        found = self.progress.samples + self.progress.known
        return found > 0 or (self._survey is not None and bool(self._survey.series))

    @property
    def lost(self) -> int:
        """Estimate how many samples could not be read: each unreadable page held as many as the others."""
        if self._survey is None:
            return 0
        per_page = (self.progress.samples + self.progress.known) / max(1, self._survey.readable)
        return self.progress.unreadable + round(per_page * self._survey.unreadable)

    def work(self) -> Iterator[None]:
        """Salvage the whole file; yield after each slice.

        Raises:
            errors.Error: the database in use is damaged itself.
            OSError: the file cannot be read.
        """
        yield from self._file.log.read()
        self._survey = survey = Survey(self._file, self._hints)
        yield from survey.read()
        while not self._commit(self._begin):
            yield
        found: list[Found] = []
        began_s = time.monotonic()
        for number, position in survey.worthwhile(self.progress.done):
            found += self._rows(number)
            self.progress.done = position
            if len(found) >= self.pace.rows or time.monotonic() - began_s > SLICE_S / 2:
                yield from self._put_back(found)
                found, began_s = [], time.monotonic()
        yield from self._put_back(found)

    def finish(self) -> None:
        """Delete the stored progress; the report beside the file marks it as done."""
        with self._store.transaction():
            self._store.restore.forget(self.path.name)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _put_back(self, found: list[Found]) -> Iterator[None]:
        while not self._commit(lambda: self._slice(found)):
            yield
        yield

    def _commit(self, action: Callable[[], None]) -> bool:
        """Do one transaction; False when there is no room for it at the moment."""
        if not self._has_room():
            self.waiting = "the disk is full"
            return False
        try:
            action()
        except errors.SURROUNDINGS as error:
            self.waiting = str(error)
            return False
        self.waiting = None
        return True

    def _begin(self) -> None:
        """Copy the series, sessions and clocks that the samples refer to."""
        assert self._survey is not None  # noqa: S101 - work() made it
        progress, survey, restore = self.progress, self._survey, self._store.restore
        try:
            with self._store.transaction():
                if progress.shift is None:
                    progress.shift = restore.reserve_checkpoints(survey.last_checkpoint + 1)
                    progress.last_checkpoint = survey.last_checkpoint
                found = survey.series, survey.sessions.values(), survey.clocks.values()
                self._ids = restore.references(*found, progress.shared)
                restore.unknown_checkpoint(self._checkpoints().unknown, self.path.name)
                restore.save(self.path.name, asdict(progress))
        except errors.Error:
            self._store.rolled_back()
            progress.shift = None if progress.done == 0 else progress.shift
            raise

    def _slice(self, found: list[Found]) -> None:
        progress = self.progress
        before = progress.samples, progress.known, progress.unreadable
        try:
            with self._store.transaction():
                rows, orphans = self._samples(found)
                change = self._store.restore.samples(rows)
                self._store.restore.others(found, self._ids, self._checkpoints())
                progress.samples += change.inserted
                progress.known += len(rows) - change.inserted
                progress.unreadable += orphans
                self._store.restore.save(self.path.name, asdict(progress))
        except errors.Error:
            progress.samples, progress.known, progress.unreadable = before
            self._store.rolled_back()
            raise
        for priority, pending in enumerate(change.pending):
            self._store.pending.counts[priority] += pending

    def _checkpoints(self) -> CheckpointMap:
        progress = self.progress
        return CheckpointMap(progress.shift or 0, progress.last_checkpoint, progress.shared.get("chunks", 0))

    def _samples(self, found: list[Found]) -> tuple[list[Row], int]:
        """Return the rows of samples, and how many there are whose series is lost."""
        checkpoints = self._checkpoints()
        rows = [self._ids.row(one, checkpoints) for one in found if isinstance(one, FoundSample)]
        kept = [row for row in rows if row is not None]
        return kept, len(rows) - len(kept)

    def _rows(self, number: int) -> list[Found]:
        rows: list[Found] = []
        for content in self._file.contents(number):
            records, unreadable = self._file.records(content, number) or ([], 0)
            rows += [found for record in records if (found := recognise(record)) is not None]
            self.progress.unreadable += unreadable
        return rows
