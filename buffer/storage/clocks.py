"""Rebase timestamps after the wall clock was stepped: a new row in `clocks` for each step.

A board without a battery boots with a plausible but wrong time. Every batch carries CLOCK_BOOTTIME, which is not
affected by clock steps: the true time of a batch is that plus the current offset between the two clocks. A step of more
than two seconds makes a new clock; batches and pending samples of the same boot are rebased to it, once. Samples that
were uploaded before keep the timestamps they were sent with.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

import apsw

from buffer.storage import fate
from common import clock
from common.sample import Batch
from common.wire import EARLIEST_MS

STEP_MS = 2_000  # NTP steps beyond 128 ms and slews below; two seconds is no jitter of ours
DRIFT_MS = 500  # what a slewed clock may drift before the row is updated
FUTURE_MS = 5 * 60_000  # a batch of another boot cannot be checked; it is not from the future
PAST_MS = 60 * 60_000
# A clock that jumps by a day or more may jump back: what is sent meanwhile would be at a wrong time for good.
JUMP_MS = 24 * 60 * 60_000
JUMP_WAIT_S = 60.0
SLICE_ROWS = 5_000
READS, APART_MS = 5, 20
LAST_STEPS = 8
_BOOT_ID = clock.boot_id()
MAX_BUMPS = 50  # milliseconds a moved sample may give way to one that is there


@dataclass(frozen=True)
class ClockReading:
    """The clocks of one instant: Unix milliseconds, milliseconds since boot, and which boot."""

    wall_ms: int
    boottime_ms: int
    boot_id: str

    @property
    def offset_ms(self) -> int:
        """Wall clock minus time since boot."""
        return self.wall_ms - self.boottime_ms


def now() -> ClockReading:
    """Read both clocks at one instant; read again if the process was suspended in between."""
    for _ in range(READS):
        before_ms, wall_ms, after_ms = clock.boottime_ms(), clock.wall_ms(), clock.boottime_ms()
        if after_ms - before_ms <= APART_MS:
            break
    return ClockReading(wall_ms, after_ms, _BOOT_ID)


@dataclass(frozen=True)
class Placed:
    """Where a batch belongs in time.

    Attributes:
        timestamp_ms: true as far as it can be known.
        clock: row of `clocks`, None for a batch of another boot.
        moved: "" where the batch's own time stands, else "rebased" or "clamped".
    """

    timestamp_ms: int
    clock: int | None
    moved: str = ""


class Clocks:
    """The clocks of this boot, in the database.

    Args:
        connection: joins the transaction that is open, or makes its own.
        sync_wait_s: how long after boot samples may wait for the clock to be synchronised.
        read: gives the clocks of this instant.
    """

    def __init__(self, connection: apsw.Connection, sync_wait_s: float, read: Callable[[], ClockReading] = now) -> None:
        self._connection = connection
        self._sync_wait_ms = int(1000 * sync_wait_s)
        self._read = read
        self._boot_id = read().boot_id
        query = "SELECT id, offset_ms FROM clocks WHERE boot_id = ? ORDER BY id DESC LIMIT 1"
        last: tuple[int, int] | None = connection.execute(query, (self._boot_id,)).get
        self._id, self._offset_ms = last or (0, 0)
        self.stale = self._other_clocks()
        self._to_rebase = set(self.stale)
        before = max(self.stale, default=0)
        jumped = bool(before) and abs(self._offset_ms - self.stale[before]) > JUMP_MS
        self._doubted_until_s = 0.0
        if jumped:
            self._doubt()

    def carry_over(self, offsets_ms: Iterable[int]) -> None:
        """Write the clocks of the file that this one replaces, unless it knows one of this boot: a step shows by them.

        Read by the next `Clocks` of this file.
        """
        if not self._id:
            rows = [(self._boot_id, offset_ms) for offset_ms in offsets_ms]
            self._connection.executemany("INSERT INTO clocks (boot_id, offset_ms) VALUES (?, ?)", rows)

    def check(self) -> int:
        """Compare the clocks; return by how many milliseconds the wall clock was stepped, 0 if it was not.

        Raises:
            apsw.Error: the new clock could not be written; it will be found again.
        """
        offset_ms = self._read().offset_ms
        step_ms = offset_ms - self._offset_ms
        if self._id and abs(step_ms) <= STEP_MS:
            if abs(step_ms) > DRIFT_MS:
                self._connection.execute("UPDATE clocks SET offset_ms = ? WHERE id = ?", (offset_ms, self._id))
                self._offset_ms = offset_ms
            return 0
        first = not self._id
        # A clock that is set back to what it was is that one to the millisecond: so is a batch that comes again.
        offset_ms = next((one for one in self.stale.values() if abs(one - offset_ms) <= APART_MS), offset_ms)
        self._connection.execute("INSERT INTO clocks (boot_id, offset_ms) VALUES (?, ?)", (self._boot_id, offset_ms))
        self._id, self._offset_ms = self._connection.last_insert_rowid(), offset_ms
        self.stale = self._other_clocks()
        self._to_rebase = set(self.stale)
        self._move_events()
        if not first and abs(step_ms) > JUMP_MS:
            self._doubt()
        return 0 if first else step_ms

    def place(self, batch: Batch) -> Placed:
        """Return the true time of a batch."""
        if not batch.boottime_ms or not batch.boot_id or batch.boot_id != self._boot_id:
            wall_ms = self._read().wall_ms
            from_the_future = batch.timestamp_ms - wall_ms > FUTURE_MS
            return Placed(wall_ms, None, "clamped") if from_the_future else Placed(batch.timestamp_ms, None)
        true_ms = batch.boottime_ms + self._offset_ms
        error_ms = batch.timestamp_ms - true_ms
        if abs(error_ms) <= STEP_MS:
            return Placed(batch.timestamp_ms, self._id)
        by_ms = [error_ms + self._offset_ms - offset_ms for offset_ms in self.stale.values()]
        known_ms = min((apart_ms for apart_ms in by_ms if abs(apart_ms) <= STEP_MS), key=abs, default=None)
        if known_ms is not None:  # moved by the step, as `rebase` moved it if it is stored already: to the millisecond
            return Placed(true_ms + known_ms, self._id, "rebased")
        if abs(error_ms) > JUMP_MS:  # it was published by a clock that this file never saw
            self._doubt()
        wild = not -PAST_MS <= error_ms <= FUTURE_MS
        return Placed(true_ms, self._id, "clamped" if wild else "rebased")

    def earlier_places(self, placed: Placed) -> dict[int, set[int]]:
        """Return where a batch may be stored already: its time by each earlier time of this boot, and these clocks.

        Only where that can be: the batch came again after a step, or there are samples that are not rebased yet.
        """
        places: dict[int, set[int]] = {}
        if placed.clock is not None and (placed.moved == "rebased" or self._to_rebase):
            for one, offset_ms in self.stale.items():
                if not self.is_alike(one):
                    places.setdefault(placed.timestamp_ms - self._offset_ms + offset_ms, set()).add(one)
        return places

    def is_alike(self, clock_id: int) -> bool:
        """Return whether a clock is the current one, or was set as that is."""
        return clock_id == self._id or abs(self.stale.get(clock_id, 0) - self._offset_ms) <= APART_MS

    def against(self, boot_id: str, offset_ms: int, others_ms: Collection[int] = ()) -> int | None:
        """Return by how much a clock of another file has to be moved to the current one, None if it is another boot's.

        Args:
            boot_id: of that clock.
            offset_ms: of that clock.
            others_ms: the offsets of all clocks in that file. One that was set as the current one is stands for it:
                they were not read in the same millisecond, and what was moved there was moved by the difference there.

        Raises:
            apsw.Error: there was no current clock yet and it could not be written.
        """
        if boot_id != self._boot_id:
            return None
        self.check()
        alike_ms = min(others_ms, key=lambda one: abs(one - self._offset_ms), default=self._offset_ms)
        step_ms = (alike_ms if abs(alike_ms - self._offset_ms) <= APART_MS else self._offset_ms) - offset_ms
        if abs(step_ms) > JUMP_MS:
            self._doubt()
        return step_ms if abs(step_ms) > STEP_MS else 0

    def steps_ms(self) -> set[int]:
        """Return by how much samples of this boot may have been moved by its last few steps."""
        offsets = [self._offset_ms, *list(self.stale.values())[-LAST_STEPS:]]
        return {one - other for one in offsets for other in offsets if one != other}

    @property
    def offsets_ms(self) -> list[int]:
        """Return the offsets of all clocks of this boot, the current one last."""
        return [*self.stale.values(), *([self._offset_ms] if self._id else [])]

    @property
    def current(self) -> int:
        """Return the row of the current clock, 0 before the first check."""
        return self._id

    @property
    def unsynchronised(self) -> int | None:
        """Return the current clock while its samples wait: unsynchronised, and young or just jumped by a day.

        Or stepped just now, which no write has noticed yet: until then they have the time of before.
        """
        reading = self._read()
        if self._id and abs(reading.offset_ms - self._offset_ms) > STEP_MS:
            return self._id
        if time.monotonic() < self._doubted_until_s and clock.is_synchronised() is not True:
            return self._id
        if reading.boottime_ms > self._sync_wait_ms or not clock.is_kept() or clock.is_synchronised() is not False:
            return None
        return self._id

    def rebase(self, leased: Collection[int] = ()) -> int:
        """Move a slice of pending samples of this boot's earlier clocks to the current one.

        Args:
            leased: samples that are on their way to the server; they stay as they are sent.

        Returns:
            How many were moved; 0 when there are none left that may be.
        """
        query = f"SELECT id, timestamp_ms FROM samples WHERE {fate.IS_PENDING} AND clock = ? LIMIT ?"
        for clock_id in sorted(self._to_rebase):
            found: list[Any] = self._connection.execute(query, (clock_id, SLICE_ROWS + len(leased))).fetchall()
            if not found:
                self._to_rebase.discard(clock_id)  # what becomes pending again belongs to no clock; see `rebase_later`
            rows = [row for row in found if row[0] not in leased]
            if rows:
                step_ms = self._offset_ms - self.stale[clock_id]
                with self._connection:
                    for row_id, timestamp_ms in rows:
                        self._move(row_id, timestamp_ms + step_ms)
                return len(rows)
        return 0

    def rebase_later(self, clock_ids: Collection[int]) -> None:
        """Have samples moved that come in by earlier clocks of this boot, as those before them were."""
        self._to_rebase |= self.stale.keys() & clock_ids

    def quarantine_undated(self) -> int:
        """Quarantine samples of earlier boots dated 1970, whose true time cannot be known; return how many."""
        query = (
            f"UPDATE samples SET chunk = ? WHERE timestamp_ms < ? AND {fate.IS_PENDING} "
            "AND clock IS NOT NULL AND clock NOT IN (SELECT id FROM clocks WHERE boot_id = ?)"
        )
        with self._connection:
            self._connection.execute(query, (fate.QUARANTINED.code, EARLIEST_MS, self._boot_id))
        return int(self._connection.changes())

    def _doubt(self) -> None:
        self._doubted_until_s = time.monotonic() + JUMP_WAIT_S

    def _move_events(self) -> None:
        """Rebase the unsent events of this boot; those of other boots keep their times."""
        move = (
            "UPDATE events SET timestamp_ms = timestamp_ms + ? "
            "WHERE id IN (SELECT event_id FROM event_clocks WHERE clock = ?)"
        )
        for clock_id, offset_ms in self.stale.items():
            self._connection.execute(move, (self._offset_ms - offset_ms, clock_id))
            self._connection.execute("UPDATE event_clocks SET clock = ? WHERE clock = ?", (self._id, clock_id))
        self._connection.execute("DELETE FROM event_clocks WHERE clock != ?", (self._id,))

    def _move(self, row_id: int, timestamp_ms: int) -> None:
        """Give one sample its true time, or the next free millisecond where another one has it."""
        update = "UPDATE OR IGNORE samples SET timestamp_ms = ?, clock = ? WHERE id = ?"
        for bump_ms in range(MAX_BUMPS):
            self._connection.execute(update, (timestamp_ms + bump_ms, self._id, row_id))
            if self._connection.changes():
                return
        self._connection.execute(
            "UPDATE samples SET chunk = ?, clock = ? WHERE id = ?", (fate.QUARANTINED.code, self._id, row_id)
        )

    def _other_clocks(self) -> dict[int, int]:
        query = "SELECT id, offset_ms FROM clocks WHERE boot_id = ? AND id != ?"
        return dict(self._connection.execute(query, (self._boot_id, self._id)).fetchall())  # type: ignore[arg-type]
