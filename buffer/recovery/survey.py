"""First look through a damaged database: its small tables, and the pages worth a second look.

Rows of `samples` can be put back only when their series are known, and these may stand anywhere in the
file. So it is read twice: here every page, keeping the small tables; by `salvage.py` the pages with rows.
"""

from __future__ import annotations

from collections.abc import Iterator

from buffer.recovery.note import Note
from buffer.recovery.pages import File, is_overflow
from buffer.recovery.shapes import recognise
from buffer.storage.found import FoundCheckpoint, FoundClock, FoundEntry, FoundSeries, FoundSession, Identity

PAGES_PER_TURN = 256  # 1 MiB: 5 ms from the page cache, 15 ms from an SD card
LOOK_AT = 8  # records from all over a page tell what it holds; some may be damaged
BLOCK_PAGES = 16_384  # 64 MiB

ROWS, ENTRIES, FREE = 1, 2, 4  # what a page holds, added up


class Survey:
    """What a file holds.

    Args:
        file: the file, with its log read.
        note: what was known of it when it was moved aside.

    Attributes:
        series, sessions, clocks: the rows of these tables, by their ids in that file.
        last_checkpoint: highest id in `upload_checkpoints`.
        readable: pages that can be read.
        unreadable: pages that cannot.
    """

    def __init__(self, file: File, note: Note) -> None:
        self._file = file
        self.series: dict[int, Identity] = dict(note.series)
        self.sessions: dict[int, FoundSession] = {session.rowid: session for session in note.sessions}
        self.clocks: dict[int, FoundClock] = {clock.id: clock for clock in note.clocks}
        self.last_checkpoint = 0
        self.readable = 0
        self.unreadable = file.missing_pages
        self._kinds = bytearray(file.pages + 1)
        self._mark_free()

    def read(self) -> Iterator[None]:
        """Classify every page; yield now and then."""
        for number in range(1, len(self._kinds)):
            if self._kinds[number] != FREE:
                self._look_at(number)
            if number % PAGES_PER_TURN == 0:
                yield

    def entries(self) -> Iterator[int]:
        """Yield the pages with entries of the unique index."""
        return (number for number, kind in enumerate(self._kinds) if kind & ENTRIES)

    def worthwhile(self, done: int) -> Iterator[tuple[int, int]]:
        """Yield the pages with rows, each with how many are done after it.

        The newest block comes first, because what is pending is in it; within a block pages ascend, because
        an index is filled best in the order of time.

        Args:
            done: how many were done before, by an earlier process.
        """
        last = len(self._kinds) - 1
        position = 0
        for block in reversed(range(0, last, BLOCK_PAGES)):
            for number in range(block + 1, min(block + BLOCK_PAGES, last) + 1):
                position += 1
                if self._kinds[number] & ROWS and position > done:
                    yield number, position

    def _mark_free(self) -> None:
        """Mark the free pages; those that the hidden part of the log uses again hold what they have there alone."""
        file, kinds, again = self._file, self._kinds, set[int]()
        for number in file.free_pages():
            if number in file.log.hidden:
                again.add(number)
            elif number < len(kinds):
                kinds[number] = FREE
        for number in again.intersection(file.free_pages(version=-1)):
            kinds[number] = FREE
        file.reused = again

    def _look_at(self, number: int) -> None:
        contents = self._file.contents(number)
        readable = False
        for content in contents:
            page = self._file.records(content, number, LOOK_AT)
            if page is None:
                readable = readable or is_overflow(content)
                continue
            readable = True
            kinds = [type(found) for record in page if (found := recognise(record)) is not None]
            if set(kinds) & {FoundSeries, FoundSession, FoundClock, FoundCheckpoint}:
                self._keep(content, number)
            if set(kinds) - {FoundSeries, FoundSession, FoundClock, FoundEntry}:
                self._kinds[number] |= ROWS
            if FoundEntry in kinds:
                self._kinds[number] |= ENTRIES
        self.readable += readable
        self.unreadable += not readable and (bool(contents) or not self._file.is_log_alone)

    def _keep(self, content: bytes, number: int) -> None:
        for found in map(recognise, self._file.records(content, number) or []):
            if isinstance(found, FoundSeries):
                self.series[found.id] = found.identity
            elif isinstance(found, FoundSession):
                self.sessions[found.rowid] = found
            elif isinstance(found, FoundClock):
                self.clocks[found.id] = found
            elif isinstance(found, FoundCheckpoint):
                self.last_checkpoint = max(self.last_checkpoint, found.id)
