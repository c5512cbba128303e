"""Copy the rows of a damaged database into the one in use, slice by slice.

Reads the damaged file page by page, writes its samples, series, sessions, checkpoints, events and aggregates to the
store. Pending samples stay pending, uploaded ones stay uploaded, duplicates are dropped. Each slice is one transaction
that also stores the progress: a kill costs one slice. While the disk is full, it waits. Then the unique index of the
samples, which stands in other pages than they do, tells which of them were not there to be copied.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from buffer.pace import SLICE_S, Pace
from buffer.recovery import note
from buffer.recovery.pages import File
from buffer.recovery.row_ids import RowIds
from buffer.recovery.shapes import recognise
from buffer.recovery.survey import Survey
from buffer.storage import errors
from buffer.storage.found import Found, FoundEntry, FoundSample
from buffer.storage.restore import CheckpointMap, Ids, Row
from buffer.storage.store import Store


@dataclass
class SalvageProgress:
    """How far a salvage has come; kept in the database.

    Attributes:
        shift: what is added to ids of checkpoints, None before they are counted.
        last_checkpoint: highest id of a checkpoint in the damaged file.
        done: pages, in the order of `Survey.worthwhile`.
        samples: put back.
        known: samples that were there already.
        orphans: rows that could not be put back because their series is lost.
    """

    shift: int | None = None
    last_checkpoint: int = 0
    done: int = 0
    samples: int = 0
    known: int = 0
    orphans: int = 0


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
        self._note = note.read(path)
        stored = store.restore.load(path.name)
        known = {field.name for field in fields(SalvageProgress)}
        self.progress = SalvageProgress(**{name: value for name, value in stored.items() if name in known})
        self.waiting: str | None = None
        self.pace = Pace()
        self._file = File(path, self._note.first_frame)
        self._survey: Survey | None = None
        self._ids = Ids()
        self._seen = RowIds()

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
    def unnamed(self) -> int:
        """Estimate how many samples are lost that no readable index entry names.

        An unreadable page held as many as the others, but not more than there are ids that were not seen.
        """
        if self._survey is None:
            return 0
        per_page = (self.progress.samples + self.progress.known) / max(1, self._survey.readable)
        return self.progress.orphans + min(self._seen.holes, round(per_page * self._survey.unreadable))

    def work(self) -> Iterator[None]:
        """Salvage the whole file; yield after each slice.

        Raises:
            errors.Error: the database in use is damaged itself.
            OSError: the file cannot be read.
        """
        yield from self._file.log.read()
        self._survey = survey = Survey(self._file, self._note)
        yield from survey.read()
        while not self._commit(self._begin):
            yield
        yield from self._in_slices(survey.worthwhile(self.progress.done), self._put_back)
        yield from self._in_slices(((page, self.progress.done) for page in survey.entries()), self._note_missing)

    def finish(self) -> None:
        """Delete the stored progress; the report beside the file marks it as done."""
        with self._store.transaction():
            self._store.restore.forget(self.path.name)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _in_slices(self, pages: Iterable[tuple[int, int]], write: Callable[[list[Found]], None]) -> Iterator[None]:
        """Read pages, and write what is found in transactions of the right length.

        Args:
            pages: their numbers, each with how many are done after it.
            write: takes what is found.
        """
        found: list[Found] = []
        began_s = time.monotonic()
        for number, position in pages:
            found += self._rows(number)
            self.progress.done = position
            if len(found) >= self.pace.rows or time.monotonic() - began_s > SLICE_S / 2:
                yield from self._committed(found, write)
                found, began_s = [], time.monotonic()
        yield from self._committed(found, write)

    def _committed(self, found: list[Found], write: Callable[[list[Found]], None]) -> Iterator[None]:
        while not self._commit(lambda: write(found)):
            yield
        yield

    def _note_missing(self, found: list[Found]) -> None:
        """Note the entries of the unique index whose samples are not here."""
        entries = [entry for entry in found if isinstance(entry, FoundEntry)]
        for entry in entries:
            self._seen.add(entry.id)
        with self._store.transaction():
            self._store.restore.missing(entries, self._ids)

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
                self._ids = restore.references(*found)
                restore.unknown_checkpoint(self._checkpoints().unknown, self.path.name)
                restore.save(self.path.name, asdict(progress))
        except errors.Error:
            self._store.rolled_back()
            progress.shift = None if progress.done == 0 else progress.shift
            raise

    def _put_back(self, found: list[Found]) -> None:
        progress = self.progress
        before = progress.samples, progress.known, progress.orphans
        try:
            with self._store.transaction():
                rows, orphans = self._samples(found)
                change = self._store.restore.samples(rows)
                self._store.restore.others(found, self._ids, self._checkpoints())
                progress.samples += change.inserted
                progress.known += len(rows) - change.inserted
                progress.orphans += orphans
                self._store.restore.save(self.path.name, asdict(progress))
        except errors.Error:
            progress.samples, progress.known, progress.orphans = before
            self._store.rolled_back()
            raise
        for priority, pending in enumerate(change.pending):
            self._store.pending.counts[priority] += pending

    def _checkpoints(self) -> CheckpointMap:
        progress = self.progress
        return CheckpointMap(progress.shift or 0, progress.last_checkpoint)

    def _samples(self, found: list[Found]) -> tuple[list[Row], int]:
        """Return the rows of samples, and how many more there are whose series is lost."""
        checkpoints, rows, orphans = self._checkpoints(), [], 0
        for one in found:
            if isinstance(one, FoundSample):
                row, is_new = self._ids.row(one, checkpoints), self._seen.add(one.id)
                orphans += row is None and is_new
                rows += [] if row is None else [row]
        return rows, orphans

    def _rows(self, number: int) -> list[Found]:
        rows: list[Found] = []
        for content in self._file.contents(number):
            records = self._file.records(content, number) or []
            rows += [found for record in records if (found := recognise(record)) is not None]
        return rows
