"""The table of audit windows by itself: which window is asked about, and what each change leaves of it."""

from __future__ import annotations

from collections.abc import Iterator

import apsw
import pytest

from buffer.storage import schema
from buffer.storage.audit_windows import (
    DIFFERS,
    SENT_AGAIN,
    TO_AUDIT,
    VERIFIED,
    WINDOW_MS,
    AuditWindow,
    AuditWindows,
    start_of,
)
from buffer.storage.samples import StoredSample
from buffer.storage.store import Store
from common.sample import NORMAL
from common.wire import LATEST_MS
from tests.unit.buffer.aged import PENDING, UPLOADED
from tests.unit.buffer.databases import NOW_MS, batch

W = WINDOW_MS
CLOSED_MS = 20 * W


class Table:
    """Windows in a database in memory."""

    def __init__(self) -> None:
        self._connection = apsw.Connection(":memory:")
        self._connection.execute(schema.TABLES)
        self.windows = AuditWindows(self._connection)

    def put(self, start_ms: int, state: int, samples: int = 1, resends: int = 0, uploaded_ms: int = 1) -> None:
        """Insert a window."""
        insert = "INSERT INTO windows (start_ms, state, uploaded_ms, samples, resends) VALUES (?, ?, ?, ?, ?)"
        self._connection.execute(insert, (start_ms, state, uploaded_ms, samples, resends))

    def sample(self, timestamp_ms: int, series_id: int = 1, chunk: int | None = None) -> None:
        """Insert a sample: pending, or of a chunk that was uploaded."""
        insert = "INSERT INTO samples (timestamp_ms, series_id, value, priority, chunk) VALUES (?, ?, 1, 2, ?)"
        self._connection.execute(insert, (timestamp_ms, series_id, chunk))

    def all(self, columns: str) -> list[tuple[int, ...]]:
        """Return columns of every window, the oldest first."""
        return list(self._connection.execute(f"SELECT {columns} FROM windows ORDER BY start_ms"))


@pytest.fixture
def table() -> Table:
    """No window yet."""
    return Table()


def opened(table: Table, after_ms: int = 0, closed_ms: int = CLOSED_MS) -> Iterator[int]:
    """Yield the starts of the windows that are asked about, one after the other."""
    while (found := table.windows.next_open(after_ms, closed_ms)) is not None:
        yield (after_ms := found.start_ms)


def test_what_is_in_files_on_devices_stays_so() -> None:
    """Width and states are stored."""
    assert (300_000, 0, 1, 2, 3) == (WINDOW_MS, TO_AUDIT, VERIFIED, SENT_AGAIN, DIFFERS)
    assert [0, 0, W] == [start_of(at_ms) for at_ms in (0, W - 1, W)]


def test_what_is_pending_again_or_deleted_is_subtracted_from_its_window(table: Table) -> None:
    """Never below nothing; of what is deleted, what was uploaded counts."""
    table.windows.uploaded([0, 1, W, W + 1, W + 2], now_ms=7)
    table.windows.not_uploaded([0])
    assert [(1,), (3,)] == table.all("samples")
    table.windows.not_uploaded([0, 1])
    assert [(0,), (3,)] == table.all("samples")
    table.windows.deleted(
        StoredSample(0, W + at, 1, 1.0, None, None, 2, UPLOADED if at else PENDING) for at in range(3)
    )
    assert [(0,), (1,)] == table.all("samples")


@pytest.mark.parametrize(
    ("state", "samples", "is_asked"),
    [(TO_AUDIT, 1, True), (TO_AUDIT, 0, True), (SENT_AGAIN, 0, True), (VERIFIED, 1, False), (DIFFERS, 1, False)],
)
def test_a_window_is_asked_about_until_it_is_verified_or_differs(
    table: Table, state: int, samples: int, is_asked: bool
) -> None:
    """Also one of which nothing is uploaded any more: it is closed then."""
    table.put(W, state, samples)
    assert ([W] if is_asked else []) == list(opened(table))


def test_a_window_is_asked_about_once_it_and_its_uploads_are_over(table: Table) -> None:
    """Both to the millisecond; the oldest first, after the one asked for."""
    table.put(2 * W, TO_AUDIT, uploaded_ms=9 * W)
    table.put(W, SENT_AGAIN, uploaded_ms=3 * W)
    assert [] == list(opened(table, closed_ms=3 * W - 1))
    assert [W] == list(opened(table, closed_ms=3 * W))
    assert [W] == list(opened(table, closed_ms=9 * W - 1))
    assert [W, 2 * W] == list(opened(table, closed_ms=9 * W))
    assert [2 * W] == list(opened(table, after_ms=W))
    assert AuditWindow(W, 3 * W, 0) == table.windows.next_open(W - 1, CLOSED_MS)


def test_a_window_ends_before_it_is_asked_about(table: Table) -> None:
    """Whatever was uploaded of it long ago."""
    table.put(2 * W, TO_AUDIT)
    assert ([], [2 * W]) == (list(opened(table, closed_ms=3 * W - 1)), list(opened(table, closed_ms=3 * W)))


@pytest.mark.parametrize("state", [TO_AUDIT, SENT_AGAIN])
@pytest.mark.parametrize("offset_ms", [-1, 0, W - 1, W])
def test_what_is_pending_again_is_uploaded_before_its_window_is_asked_about(
    table: Table, state: int, offset_ms: int
) -> None:
    """From its first millisecond to its last; not where others of it wait for their audit."""
    table.put(2 * W, state, samples=0)
    table.sample(2 * W + offset_ms)
    table.sample(2 * W + 5, chunk=1)
    assert ([] if 0 <= offset_ms < W else [2 * W]) == list(opened(table))
    table.put(W, TO_AUDIT, samples=1)
    table.sample(W)
    assert W == next(opened(table))


def test_open_windows_between_two_times(table: Table) -> None:
    """The first time belongs to them, the second does not."""
    table.put(2 * W, TO_AUDIT)
    table.put(4 * W, SENT_AGAIN)
    table.put(6 * W, VERIFIED)
    table.put(7 * W, DIFFERS)
    spans = [(W, 2 * W), (W, 2 * W + 1), (2 * W, 3 * W), (2 * W + 1, 4 * W), (4 * W, 5 * W), (5 * W, 9 * W)]
    assert [False, True, True, False, True, False] == [table.windows.is_open_between(*span) for span in spans]


def test_verified_windows_are_opened_again(table: Table) -> None:
    """Those between two times alone, and what was sent again before counts no more."""
    for start_ms, state in ((W, VERIFIED), (2 * W, VERIFIED), (3 * W, DIFFERS), (4 * W, VERIFIED), (5 * W, VERIFIED)):
        table.put(start_ms, state, resends=2)
    table.windows.reopen(2 * W, 5 * W)
    expected = [(VERIFIED, 2), (TO_AUDIT, 0), (DIFFERS, 2), (TO_AUDIT, 0), (VERIFIED, 2)]
    assert expected == table.all("state, resends")


def test_resends_of_open_windows_are_forgotten(table: Table) -> None:
    """What is decided stays."""
    for state in (TO_AUDIT, VERIFIED, SENT_AGAIN, DIFFERS):
        table.put(state * W, state, resends=2)
    table.windows.forget_resends()
    assert [(TO_AUDIT, 0), (VERIFIED, 2), (SENT_AGAIN, 0), (DIFFERS, 2)] == table.all("state, resends")


def test_windows_are_listed_with_what_is_verified_of_them(table: Table) -> None:
    """The newest first; for what is to be looked through, verified ones first, then the oldest."""
    for start_ms, state, samples in ((W, TO_AUDIT, 4), (2 * W, VERIFIED, 1), (3 * W, DIFFERS, 9), (4 * W, VERIFIED, 8)):
        table.put(start_ms, state, samples)
    table.put(5 * W, VERIFIED, 0)
    assert [(5 * W, 0), (4 * W, 8), (3 * W, 0), (2 * W, 1), (W, 0)] == table.windows.newest_first()
    assert [2 * W, 4 * W, W, 3 * W] == table.windows.with_samples()


def test_a_state_is_that_of_one_window(table: Table) -> None:
    """Of a window that is not there none."""
    for state in (TO_AUDIT, VERIFIED, SENT_AGAIN):
        table.put(state * W, state)
    assert [False, True, False, False] == [table.windows.is_verified(number * W) for number in range(4)]
    assert [False, False, True, False] == [table.windows.is_sent_again(number * W) for number in range(4)]
    assert (AuditWindow(W, 1, 0), None) == (table.windows.get(W), table.windows.get(9 * W))


def test_uploaded_samples_are_counted_between_two_times(table: Table) -> None:
    """The first time belongs to them, the second does not; what is pending is not among them."""
    for timestamp_ms, series_id, chunk in ((W - 1, 1, 1), (W, 1, 1), (W + 1, 2, 1), (W + 2, 1, None), (2 * W, 1, 1)):
        table.sample(timestamp_ms, series_id, chunk)
    assert [(1, 1), (2, 1)] == table.windows.series(W, 2 * W)
    assert [(1, W), (2, W + 1)] == sorted(table.windows.times(W, 2 * W))


def test_windows_before_a_time_are_forgotten(table: Table) -> None:
    """One that starts then is kept."""
    for number in range(1, 5):
        table.put(number * W, VERIFIED)
    assert 2 == table.windows.forget(3 * W)
    assert [(3 * W,), (4 * W,)] == table.all("start_ms")


def test_a_window_is_held_to_its_own_samples_in_the_table(store: Store) -> None:
    """Not to those of the windows around it; a sample that the index hides is damage."""
    start_ms = (NOW_MS // WINDOW_MS - 2) * WINDOW_MS
    for n, at_ms in enumerate((start_ms - 1, start_ms, start_ms + WINDOW_MS - 1, start_ms + WINDOW_MS)):
        store.write([batch(("m", n), seq=n, at_ms=at_ms)])
        store.pending.mark_uploaded(NORMAL, store.pending.rows(NORMAL, LATEST_MS, 9), "b", n)
    with pytest.raises(apsw.CorruptError, match="hides 1 samples"):
        store.windows.assert_whole(start_ms, 1)
    store._connection.execute("UPDATE windows SET samples = 5")
    store.windows.assert_whole(start_ms, 2)
    found = store._connection.execute("SELECT samples FROM windows ORDER BY start_ms").fetchall()
    assert [(5,), (2,), (5,)] == found


def chunk(table: Table, ids: range, *times_ms: int) -> None:
    """Insert an uploaded chunk: a row for each of its samples, with these ids, and its own."""
    place = (ids[0], ids[-1], times_ms[0], times_ms[-1])
    insert = (
        "INSERT INTO upload_checkpoints (batch_id, chunk_index, first_uploaded_id, last_uploaded_id, "
        "first_uploaded_timestamp, last_uploaded_timestamp) VALUES ('b', 0, ?, ?, ?, ?)"
    )
    table._connection.execute(insert, place)
    number = table._connection.last_insert_rowid()
    rows = [(row_id, at_ms, number) for row_id, at_ms in zip(ids, times_ms, strict=True)]
    table._connection.executemany(
        "INSERT INTO samples (id, timestamp_ms, series_id, value, priority, chunk) VALUES (?, ?, 1, 1, 2, ?)", rows
    )


@pytest.mark.parametrize(
    ("times_ms", "inside"),
    [
        ((W - 2, W - 1), 0),
        ((W - 1, W), 1),
        ((W - 1, W, W + 1), 2),
        ((2 * W - 2, 2 * W - 1, 2 * W), 2),
        ((2 * W - 1,), 1),
        ((2 * W, 2 * W + 1), 0),
        ((W - 1, W + 7, 2 * W), 1),
    ],
)
def test_a_chunk_that_crosses_a_windows_edge_counts_as_far_as_it_is_inside(
    table: Table, times_ms: tuple[int, ...], inside: int
) -> None:
    """Samples of other chunks, and those before and after the window, are not of it."""
    table.put(W, TO_AUDIT, samples=9)
    chunk(table, range(20, 20 + len(times_ms)), *times_ms)
    chunk(table, range(40, 41), W + 100)
    table.windows.assert_whole(W, inside + 1)
    assert [(inside + 1,)] == table.all("samples")  # nothing is hidden: the index is believed
    table._connection.execute("UPDATE windows SET samples = ?", (inside,))
    table.windows.assert_whole(W, inside)  # as many as were counted: nothing else is asked
    table._connection.execute("UPDATE windows SET samples = 9")
    with pytest.raises(apsw.CorruptError, match="hides 1 samples"):
        table.windows.assert_whole(W, inside)


def test_rows_outside_of_the_chunks_of_a_window_are_not_read(table: Table) -> None:
    """Their ids say where those are, so that a large table is not read as a whole."""
    table.put(W, TO_AUDIT, samples=9)
    for ids, times_ms in ((range(10, 11), (W - 1,)), (range(20, 22), (W, W + 1)), (range(30, 31), (2 * W,))):
        chunk(table, ids, *times_ms)
    for row_id, at_ms in ((15, W + 2), (25, W + 3)):
        table._connection.execute(
            "INSERT INTO samples (id, timestamp_ms, series_id, value, priority, chunk) VALUES (?, ?, 1, 1, 2, 1)",
            (row_id, at_ms),
        )
    table.windows.assert_whole(W, 2)
    assert [(2,)] == table.all("samples")
