"""Downsample old samples: after 48 hours one aggregate a minute, after 7 days one in five minutes, after 30 days none.

Reads samples, aggregates and audit windows, slice by slice in order of time; after a kill at any point every sample is
still counted exactly once. Pending samples are never changed here. Fails with errors.Error; the next run continues
with the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass

from buffer.pace import Pace
from buffer.retention import downsampling
from buffer.retention.downsampling import Downsampling
from buffer.storage import audit_windows, errors, samples
from buffer.storage.aggregates import FIVE_MINUTES_MS, MINUTE_MS, widen
from buffer.storage.audit_windows import WINDOW_MS
from buffer.storage.samples import StoredSample
from buffer.storage.store import Store
from common import settings
from common.instruments import Instruments

ROUND_MS = 3_600_000  # the requirement documents say hourly
REVISIT_MS = 24 * ROUND_MS  # a window looked at is looked at again after this: late samples, uploads made up for
LOOKS_PER_SLICE = 200  # windows, two index look-ups each: 5 ms from a warm cache


@dataclass(frozen=True)
class Cutoffs:
    """Times before which something is due, all on the grid of the windows.

    Attributes:
        raw_ms: samples become 1-minute aggregates.
        unverified_ms: uploaded samples count as being at the server, whatever the audit says.
        minute_ms: 1-minute aggregates become 5-minute ones.
        drop_ms: 5-minute aggregates, texts, refused samples and events are deleted.
    """

    raw_ms: int
    unverified_ms: int
    minute_ms: int
    drop_ms: int


def plan(now_ms: int, config: settings.Retention, *, is_audited: bool = True) -> Cutoffs:
    """Return the round of retention that is due.

    Args:
        now_ms: wall clock, Unix milliseconds.
        config: how long each tier lasts; a later tier never ends before an earlier one.
        is_audited: False: what the server acknowledged counts as being there.
    """
    raw_s = config.full_resolution_s
    minute_s = max(raw_s, config.aggregated_1m_s)
    unverified_s = config.unverified_after_s if is_audited else raw_s
    ages_s = raw_s, unverified_s, minute_s, max(minute_s, config.aggregated_5m_s)
    return Cutoffs(*(audit_windows.start_of(now_ms - int(age_s * 1000)) for age_s in ages_s))


class RetentionRound:
    """The hourly round.

    Args:
        store: the database.
        config: returns the section in force.
        instruments: takes the counters.
        is_audited: tells whether anybody asks the server for what it acknowledged.

    Attributes:
        pace: how many rows a slice may take.
    """

    name = "retention"
    rest = 3.0  # a quarter of a core

    def __init__(
        self,
        store: Store,
        config: Callable[[], settings.Retention],
        instruments: Instruments,
        is_audited: Callable[[], bool] = lambda: True,
    ) -> None:
        self._store = store
        self._config = config
        self._instruments = instruments
        self._is_audited = is_audited
        self._round: Iterator[None] | None = None
        self._last_round: int | None = None
        self._looked_at: set[tuple[int, bool]] = set()  # window, and whether all of it was due
        self._looked_at_since_ms = 0
        self.pace = Pace()

    def step(self, now_ms: int) -> bool:
        """Do one slice of the round that is due; return True for "more now"."""
        if self._round is None:
            number = now_ms // ROUND_MS
            if number == self._last_round:
                return False
            self._last_round = number
            self._round = self._do_round(now_ms)
        try:
            next(self._round)
        except StopIteration:
            self._round = None
            return False
        except errors.Error:
            self._round = None  # what was done is committed; the next round goes on from there
            raise
        return True

    def _do_round(self, now_ms: int) -> Iterator[None]:
        cutoffs = plan(now_ms, self._config(), is_audited=self._is_audited())
        if not 0 <= now_ms - self._looked_at_since_ms < REVISIT_MS:
            self._looked_at.clear()
            self._looked_at_since_ms = now_ms
        yield from self._delete_aggregated(downsampling.left_by_a_kill(self._store))
        aggregated_ms = yield from self._downsample(cutoffs)
        yield from self._widen_aggregates(cutoffs.minute_ms)
        yield from self._drop_aggregates(cutoffs.drop_ms)
        yield from self._drop_checkpoints(aggregated_ms)
        yield from self._drop_small_tables(cutoffs.drop_ms)

    def _downsample(self, cutoffs: Cutoffs) -> Generator[None, None, int]:
        """Downsample every settled window that is due; return from where on there are uploaded samples."""
        window_ms, aggregated_ms, looks = -WINDOW_MS, cutoffs.raw_ms, 0
        while True:
            first_ms = self._store.samples.first_ms(window_ms + WINDOW_MS)
            if first_ms is None or first_ms >= cutoffs.raw_ms:
                return aggregated_ms
            window_ms = audit_windows.start_of(first_ms)
            look = window_ms, window_ms < cutoffs.drop_ms
            if not self._is_settled(window_ms, cutoffs):
                aggregated_ms = min(aggregated_ms, window_ms)
            elif look not in self._looked_at:
                yield from self._downsample_window(*look)
                self._looked_at.add(look)
            looks += 1
            if looks % LOOKS_PER_SLICE == 0:
                yield

    def _is_settled(self, window_ms: int, cutoffs: Cutoffs) -> bool:
        return window_ms < cutoffs.unverified_ms or self._store.windows.is_verified(window_ms)

    def _downsample_window(self, window_ms: int, others_are_due: bool) -> Iterator[None]:
        after, is_last = samples.before(window_ms), False
        while not is_last:
            work = Downsampling(self._store, after, window_ms + WINDOW_MS, others_are_due=others_are_due)
            while work.read(self.pace.rows):
                yield
            after, is_last = work.after, work.is_last
            yield
            while work.write(self.pace.rows):
                yield
            yield
            self._instruments.count("storage.aggregated_samples_total", work.aggregated)
            self._expired("samples", work.expired)
            yield from self._delete_aggregated(work.aggregated_rows())

    def _delete_aggregated(self, rows: Sequence[StoredSample]) -> Iterator[None]:
        while rows:
            rows = downsampling.delete(self._store, rows, self.pace.rows)
            yield

    def _widen_aggregates(self, before_ms: int) -> Iterator[None]:
        aggregates = self._store.aggregates
        while True:
            with self._store.transaction():
                rows = aggregates.oldest(MINUTE_MS, before_ms, self.pace.rows)
                aggregates.merge([widen(row, FIVE_MINUTES_MS) for row in rows])
                aggregates.delete(rows)
            if not rows:
                return
            yield

    def _drop_aggregates(self, before_ms: int) -> Iterator[None]:
        aggregates = self._store.aggregates
        while True:
            with self._store.transaction():
                rows = aggregates.oldest(FIVE_MINUTES_MS, before_ms, self.pace.rows)
                aggregates.delete(rows)
            if not rows:
                return
            self._expired("aggregates", len(rows))
            yield

    def _drop_checkpoints(self, before_ms: int) -> Iterator[None]:
        """Delete the checkpoints of samples that are aggregates now."""
        ids = self._store.checkpoints.ids()
        while ids:
            rows = self.pace.rows
            self._expired("upload_checkpoints", self._store.checkpoints.forget(ids[:rows], before_ms))
            ids = ids[rows:]
            yield

    def _drop_small_tables(self, before_ms: int) -> Iterator[None]:
        while expired := self._store.events.expire(before_ms, self.pace.rows):
            self._expired("events", expired)
            yield
        oldest_ms = self._store.samples.first_ms()
        empty_before_ms = before_ms if oldest_ms is None else min(before_ms, audit_windows.start_of(oldest_ms))
        self._expired("windows", self._store.windows.forget(empty_before_ms))
        self._store.progress.forget_thinned(empty_before_ms)

    def _expired(self, table: str, rows: int) -> None:
        if rows:
            self._instruments.count("storage.expired_rows_total", rows, table=table)
