"""Delete data when the database and its archive exceed `storage.max_size`.

The order: archives, oldest first; aggregates, oldest first; samples the server has, verified ones first; pending
samples last, all of a lower priority before a higher one, thinned before deleted. Each slice is one transaction, and
counted; deletion stops when 1 % of the limit is free.

The size is that of the pages in use (pages minus free ones): SQLite reuses a freed page, and shrinking the file would
wear the flash for space that is needed again within hours. So the file never shrinks. Fails with errors.Error or
OSError; the next check starts again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from buffer.pace import Pace
from buffer.retention.context import Context
from buffer.retention.thinning import SPAN_MS, Halving, ThinningQueue
from buffer.storage import aggregates, errors, samples
from buffer.storage.audit_windows import WINDOW_MS
from buffer.storage.progress import Thinned
from common.events import Event
from common.sample import PRIORITIES

CHECK_MS = 2_000  # at 50,000 samples/s the file outgrows its limit by 7 MB in this time, at 10,000/min by 25 kB
ARCHIVE_CHECK_MS = 60_000  # the archive's folders: a system call for each of up to 120 files
ROOM_SHARE = 0.01  # of max_size is freed beyond what is needed, so that the next time is not the next check
LOOKS_PER_SLICE = 500  # spans, one index look-up each: 5 ms from a warm cache

_SHED = {"shed_archive": "archive files", "shed_aggregates": "aggregates", "shed_uploaded": "uploaded samples"}


class SizeCap:
    """Keep within `storage.max_size`.

    Args:
        context: the database, whose pending counts are kept right, and the archive.
        report: takes the event.

    Attributes:
        pace: how many rows a slice may take.
    """

    name = "size_cap"
    rest = 1.0  # half a core: 28,000 samples/s given up, measured; what comes in must not outrun it

    def __init__(self, context: Context, report: Callable[[Event], None]) -> None:
        self._store, self._folder, self._config, self._instruments, self._log = context
        self._report = report
        self._episode: Iterator[None] | None = None
        self._checked_ms = -CHECK_MS
        self._archive_ms, self._archive_bytes = -ARCHIVE_CHECK_MS, 0
        self._given_up: Counter[str] = Counter()
        self.pace = Pace()

    def step(self, now_ms: int) -> bool:
        """Delete one slice if the limit is reached; return True for "more now"."""
        if self._episode is None:
            if 0 <= now_ms - self._checked_ms < CHECK_MS:
                return False
            self._checked_ms = now_ms
            if self._measure(now_ms) <= self._config().max_size:
                return False
            self._episode = self._give_up(now_ms)
        try:
            next(self._episode)
        except StopIteration:
            self._episode = None
            return False
        except (errors.Error, OSError):
            self._episode = None
            raise
        return True

    def used_bytes(self) -> int:
        """Return the bytes that the limit applies to."""
        return self._stored_bytes() + self._folder.size_bytes()

    def _stored_bytes(self) -> int:
        """Return the bytes of the database's pages, and of the write-ahead log that a long reader keeps."""
        return self._store.used_bytes() + self._held_bytes()

    def _held_bytes(self) -> int:
        return max(0, self._store.wal_bytes() - (self._config().wal_checkpoint_size_mb << 20))

    def _measure(self, now_ms: int) -> int:
        if not 0 <= now_ms - self._archive_ms < ARCHIVE_CHECK_MS:
            self._archive_ms, self._archive_bytes = now_ms, self._folder.size_bytes()
        used = self._stored_bytes() + self._archive_bytes
        self._instruments.gauge("storage.used_bytes", used)
        self._instruments.gauge("storage.archive_size_bytes", self._archive_bytes)
        return used

    def _is_too_much(self) -> bool:
        return self._stored_bytes() + self._archive_bytes > self._config().max_size * (1 - ROOM_SHARE)

    def _give_up(self, now_ms: int) -> Iterator[None]:
        yield from self._give_up_archives()
        if self._held_bytes():  # to delete rows would make the log longer still, and free nothing
            if not self._given_up:
                return
        else:
            yield from self._give_up_rows(now_ms)
        self._log.warning("storage.max_size reached", still_too_much=self._is_too_much(), **self._given_up)
        amounts = ", ".join(f"{count:,} {_described(what)}" for what, count in self._given_up.items())
        self._report(Event("samples_given_up", f"storage.max_size was reached; given up: {amounts or 'nothing'}"))
        self._given_up.clear()

    def _give_up_rows(self, now_ms: int) -> Iterator[None]:
        yield from self._give_up_aggregates()
        yield from self._give_up_uploaded()
        for priority in reversed(PRIORITIES):
            yield from self._give_up_pending(priority, now_ms)
        yield from self._delete_settled(0, samples.LATEST_MS)  # text samples of windows that have no number

    def _give_up_archives(self) -> Iterator[None]:
        files = self._folder.files()
        self._archive_bytes = sum(file.size_bytes for file in files)
        for file in files:
            if not self._is_too_much():
                return
            self._folder.drop(file)
            self._archive_bytes -= file.size_bytes
            self._shed("archive", 1)
            yield

    def _give_up_aggregates(self) -> Iterator[None]:
        for width_ms in (aggregates.FIVE_MINUTES_MS, aggregates.MINUTE_MS):  # the wider ones are the older ones
            while self._is_too_much():
                with self._store.transaction():
                    rows = self._store.aggregates.oldest(width_ms, samples.LATEST_MS, self.pace.rows)
                    self._store.aggregates.delete(rows)
                if not rows:
                    break
                self._shed("aggregates", len(rows))
                yield

    def _give_up_uploaded(self) -> Iterator[None]:
        """Delete all but pending samples, window by window: verified ones first, the oldest of each first."""
        for start_ms in self._store.windows.with_samples():
            if not self._is_too_much():
                return
            yield from self._delete_settled(start_ms, start_ms + WINDOW_MS)

    def _delete_settled(self, start_ms: int, end_ms: int, priorities: Sequence[int] = PRIORITIES) -> Iterator[None]:
        """Delete the samples of a span that are not pending, while the limit is exceeded."""
        after = samples.before(start_ms)
        while self._is_too_much():
            limit = self.pace.rows
            with self._store.transaction():
                rows = self._store.samples.read(after, end_ms, limit)
                gone = [row for row in rows if not row.fate.is_pending and row.priority in priorities]
                self._store.samples.delete(row.id for row in gone)
                self._store.windows.deleted(gone)
            self._shed("uploaded", sum(row.fate.is_uploaded for row in gone))
            only_here = Counter(row.priority for row in gone if row.fate.is_only_here)
            for priority in priorities:
                self._lost("size_cap", priority, only_here[priority])
            yield
            if len(rows) < limit:
                return
            after = rows[-1].key

    def _give_up_pending(self, priority: int, now_ms: int) -> Iterator[None]:
        if not self._is_too_much() or not self._store.pending.counts[priority]:
            return
        queue = ThinningQueue(now_ms)
        done = self._store.progress.thinned(priority)
        for looks, start_ms in enumerate(self._store.pending.spans(priority, SPAN_MS), 1):
            queue.add(start_ms, done.get(start_ms, Thinned()))
            if looks % LOOKS_PER_SLICE == 0:
                yield
        while self._is_too_much() and queue:
            start_ms, state = queue.pop()
            halving = Halving(self._store, priority, start_ms, state)
            while self._is_too_much() and not halving.finished:
                lost = halving.slice(self.pace.rows)
                self._lost("size_cap" if halving.deletes else "thinned", priority, lost)
                yield
            if not halving.deletes:
                queue.add(start_ms, halving.state)
            elif halving.finished:  # and what else of this priority no server will ever have: texts, refused ones
                yield from self._delete_settled(start_ms, start_ms + SPAN_MS, (priority,))

    def _shed(self, tier: str, rows: int) -> None:
        if rows:
            self._instruments.count("storage.shed_total", rows, tier=tier)
            self._given_up[f"shed_{tier}"] += rows

    def _lost(self, reason: str, priority: int, samples: int) -> None:
        if samples:
            self._instruments.count("storage.lost_samples_total", samples, reason=reason, priority=str(priority))
            self._given_up[f"{reason}_p{priority}"] += samples


def _described(what: str) -> str:
    """Say in words what was given up, from its name in the log."""
    reason, _, priority = what.rpartition("_p")
    thinned = ", every other one" if reason == "thinned" else ""
    return _SHED.get(what, f"samples of priority {priority} that no server has{thinned}")
