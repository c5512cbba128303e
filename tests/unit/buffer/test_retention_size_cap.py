"""What is given up beyond `storage.max_size`: in the documented order, as little as needed, and counted."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buffer.retention.archive_folder import ArchiveFolder
from buffer.retention.context import Context
from buffer.retention.size_cap import ARCHIVE_CHECK_MS, SizeCap
from buffer.retention.thinning import SPAN_MS, Halving, ThinningQueue
from buffer.storage.aggregates import FIVE_MINUTES_MS, Aggregate
from buffer.storage.fate import Fate
from buffer.storage.progress import Thinned
from buffer.storage.store import Store
from common.events import Event
from common.instruments import Instruments
from common.log import Log
from common.settings import Storage
from tests.unit.buffer import aged
from tests.unit.buffer.aged import (
    DAY_MS,
    HOUR_MS,
    LOCAL,
    MINUTE_MS,
    NOW_MS,
    PENDING,
    REFUSED,
    UPLOADED,
    Put,
    put,
    verify,
)
from tests.unit.buffer.databases import DEVICE, storage


class Cap:
    """A store, its archive and the task that keeps both within a limit that a test sets."""

    def __init__(self, path: Path) -> None:
        self.config: Storage = storage(path, max_size=1 << 40)
        self.store = Store(self.config, DEVICE)
        self.shelf = ArchiveFolder(path.parent / "archive")
        self.instruments = Instruments()
        self.events: list[Event] = []
        self.task = SizeCap(
            Context(self.store, self.shelf, lambda: self.config, self.instruments, Log("test")), self.events.append
        )
        self.now_ms = NOW_MS

    def step_within(self, share: float) -> int:
        """Give up until no more than a share of what is used now is used; return what is used then."""
        self.config = replace(self.config, max_size=int(self.task.used_bytes() * share))
        self.now_ms += ARCHIVE_CHECK_MS
        while self.task.step(self.now_ms):
            pass
        return self.task.used_bytes()

    def lost(self, reason: str, priority: int) -> float:
        """Return what the counter says."""
        return self.instruments.counter("storage.lost_samples_total", reason=reason, priority=str(priority))

    def shed(self, tier: str) -> float:
        """Return what the counter says."""
        return self.instruments.counter("storage.shed_total", tier=tier)


@pytest.fixture
def cap(tmp_path: Path) -> Iterator[Cap]:
    """A fresh database and no archive."""
    new = Cap(tmp_path / "metrics.db")
    yield new
    new.store.close()


def series_of(
    priority: int, number: int, *, start_ms: int = NOW_MS - DAY_MS, every_ms: int = 1000, became: Fate = PENDING
) -> list[Put]:
    """Return samples of one series, a second apart."""
    return [Put(start_ms + index * every_ms, index, priority + 1, became, priority) for index in range(number)]


def left(store: Store) -> Counter[int]:
    """Count the samples of each priority."""
    counts = store._connection.execute("SELECT priority, count(*) FROM samples GROUP BY priority")
    return Counter(dict(counts))


def test_within_the_limit_nothing_is_given_up(cap: Cap) -> None:
    """Not even one slice is looked at."""
    put(cap.store, series_of(3, 1000))
    cap.config = replace(cap.config, max_size=cap.task.used_bytes())
    assert cap.task.step(NOW_MS) is False
    assert {3: 1000} == left(cap.store)


def test_free_pages_do_not_count(cap: Cap) -> None:
    """The limit is on pages in use: what was deleted makes room although the file is as large as before."""
    put(cap.store, series_of(3, 20_000))
    before = cap.task.used_bytes()
    cap.store._connection.execute("DELETE FROM samples")
    assert cap.task.used_bytes() < before / 4
    cap.store.checkpoint()
    assert cap.store.database_bytes() >= before


def test_archives_go_first_and_the_oldest_before_the_others(cap: Cap) -> None:
    """Files of the archive count, and are the first to go; what is not ours is neither counted nor deleted."""
    put(cap.store, series_of(3, 1000))
    sizes = [cap.shelf.file(kind, NOW_MS - age * DAY_MS) for age in (3, 2, 1) for kind in ("metrics-{}.db.gz",)]
    for path in [*sizes, sizes[0].with_name("notes.txt")]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(1_000_000))
    cap.step_within(0.5)
    assert [False, False, True] == [path.exists() for path in sizes]
    assert sizes[0].with_name("notes.txt").exists()
    assert {3: 1000} == left(cap.store)
    assert 2 == cap.shed("archive")


def test_a_log_that_a_reader_holds_counts_and_costs_no_rows(cap: Cap, monkeypatch: pytest.MonkeyPatch) -> None:
    """To delete rows would make it longer; files of the archive are given up."""
    put(cap.store, series_of(3, 100))
    file = cap.shelf.file("metrics-{}.db.gz", NOW_MS)
    file.parent.mkdir(parents=True)
    file.write_bytes(b"x" * 100)
    used_bytes, held_bytes = cap.task.used_bytes(), 10 << 20
    monkeypatch.setattr(Store, "wal_bytes", lambda _: (cap.config.wal_checkpoint_size_mb << 20) + held_bytes)
    assert used_bytes + held_bytes == cap.task.used_bytes()
    cap.step_within(0.5)
    assert (False, {3: 100}) == (file.exists(), left(cap.store))
    assert 1 == len(cap.events)
    cap.step_within(0.5)
    assert 1 == len(cap.events)


def test_then_aggregates_then_what_the_server_has_then_pending_ones(cap: Cap) -> None:
    """Each tier goes to its end before the next is touched; verified samples go before unverified ones."""
    verified_ms, unverified_ms = NOW_MS - DAY_MS, NOW_MS - 2 * DAY_MS
    rows = [Aggregate(FIVE_MINUTES_MS, index * FIVE_MINUTES_MS, 1, 0, 0, 0, 0, 0, 1) for index in range(2000)]
    cap.store.aggregates.merge(rows)
    put(cap.store, series_of(1, 3000, start_ms=verified_ms, every_ms=50, became=UPLOADED))
    put(cap.store, series_of(2, 3000, start_ms=unverified_ms, every_ms=50, became=UPLOADED))
    put(cap.store, series_of(3, 3000, start_ms=unverified_ms - DAY_MS))
    verify(cap.store, *(verified_ms + offset for offset in range(0, 3000 * 50, MINUTE_MS)))
    seen = []
    for _ in range(60):
        cap.step_within(0.97)
        counts = left(cap.store)
        seen.append((len(aged.aggregates(cap.store)), counts[1], counts[2], counts[3]))
        if counts[3] < 3000:
            break
    whole = (2000, 3000, 3000, 3000)
    for state in seen:
        touched = [index for index in range(4) if state[index] < whole[index]]
        assert all(state[index] == 0 for index in touched[:-1]), state
    assert (0, 0, 0) == seen[-1][:3]
    assert (2000, 6000) == (cap.shed("aggregates"), cap.shed("uploaded"))
    assert 0 == cap.lost("size_cap", 1) == cap.lost("size_cap", 2)


def test_oldest_aggregates_go_first(cap: Cap) -> None:
    """Five-minute ones, which are the older ones, and of each width the oldest."""
    for width_ms, offset in ((FIVE_MINUTES_MS, 0), (MINUTE_MS, 10_000)):
        rows = [Aggregate(width_ms, (offset + index) * width_ms, 1, 0, 0, 0, 0, 0, 1) for index in range(3000)]
        cap.store.aggregates.merge(rows)
    cap.step_within(0.8)
    kept = aged.aggregates(cap.store)
    five = [row.start_ms // FIVE_MINUTES_MS for row in kept if row.width_ms == FIVE_MINUTES_MS]
    assert 3000 == len(kept) - len(five)
    assert list(range(3000 - len(five), 3000)) == five
    assert 0 < len(five) < 3000


def test_samples_kept_here_alone_are_lost_when_they_go(cap: Cap) -> None:
    """A text and a refused sample are no server's: counted as lost, by priority."""
    put(cap.store, [Put(NOW_MS - index, "x" * 500, 1, LOCAL, 1) for index in range(1000)])
    put(cap.store, [Put(NOW_MS - index, 1, 2, REFUSED, 3) for index in range(1000)])
    cap.step_within(0.1)
    assert (1000, 1000) == (cap.lost("size_cap", 1), cap.lost("size_cap", 3))


def test_a_higher_priority_is_not_touched_before_a_lower_one_is_gone(cap: Cap) -> None:
    """P3, then P2, then P1, P0 last; the pending counts follow, and everything is counted."""
    for priority in range(4):
        put(cap.store, series_of(priority, 2000))
    states = []
    for _ in range(80):
        cap.step_within(0.93)
        counts = left(cap.store)
        assert [counts[priority] for priority in range(4)] == cap.store.pending.counts
        states.append(cap.store.pending.counts[:])
        for priority in range(4):
            lost = cap.lost("thinned", priority) + cap.lost("size_cap", priority)
            assert 2000 - counts[priority] == lost
    for state in states:
        touched = [priority for priority in (3, 2, 1, 0) if state[priority] < 2000]
        assert all(state[priority] == 0 for priority in touched[:-1]), state
    assert any(0 < state[1] < 2000 for state in states)


def test_pending_samples_are_thinned_before_any_is_deleted(cap: Cap) -> None:
    """The first to go are every other one of the oldest span, evenly; the freshest span is whole."""
    put(cap.store, series_of(2, 12_000))
    cap.step_within(0.9)
    kept = [row.timestamp_ms for row in aged.samples(cap.store)]
    oldest = [time_ms for time_ms in kept if time_ms < kept[0] + SPAN_MS]
    assert {2000} == {later - earlier for earlier, later in itertools.pairwise(oldest)}
    newest = [time_ms for time_ms in kept if time_ms >= kept[-1] - SPAN_MS]
    assert {1000} == {later - earlier for earlier, later in itertools.pairwise(newest)}
    assert 0 == cap.lost("size_cap", 2)
    assert 12_000 - len(kept) == cap.lost("thinned", 2)


def test_no_more_is_given_up_than_needed(cap: Cap) -> None:
    """A tenth too much costs about a tenth of what is there, also where others lie between what goes."""
    put(cap.store, [Put(NOW_MS - DAY_MS + n * 500, n, 1 + n % 3, PENDING, 1 + n % 2) for n in range(20_000)])
    cap.step_within(0.9)
    assert 10_000 == cap.store.pending.counts[1]
    assert 0.8 * 20_000 < left(cap.store).total() < 0.92 * 20_000


def test_thinning_goes_on_where_a_kill_ended_it(tmp_path: Path) -> None:
    """No part of a span is halved twice: what is noted and what is deleted are one transaction."""
    store = Store(storage(tmp_path / "metrics.db"), DEVICE)
    start_ms = NOW_MS - DAY_MS
    put(store, series_of(2, 240, start_ms=start_ms))
    lost = 0
    for _ in range(24):  # ten rows, then a new process
        lost += Halving(store, 2, start_ms, store.progress.thinned(2).get(start_ms, Thinned())).slice(10)
    assert 120 == lost
    last = Halving(store, 2, start_ms, store.progress.thinned(2)[start_ms])
    assert 0 == last.slice(10)
    assert Thinned(halvings=1) == store.progress.thinned(2)[start_ms]
    store.close()


def test_four_halvings_then_the_rest_goes(tmp_path: Path) -> None:
    """1/2, 1/4, 1/8, 1/16 of each series, then none; a sample that comes late begins anew."""
    store = Store(storage(tmp_path / "metrics.db"), DEVICE)
    start_ms = NOW_MS - DAY_MS
    put(store, [row._replace(series_id=s) for s in (1, 2) for row in series_of(2, 160, start_ms=start_ms)])
    seen = []
    for _ in range(5):
        halving = Halving(store, 2, start_ms, store.progress.thinned(2).get(start_ms, Thinned()))
        while not halving.finished:
            halving.slice(33)
        seen.append(Counter(row.series_id for row in aged.samples(store)))
    assert [{1: n, 2: n} for n in (80, 40, 20, 10)] == seen[:4]
    assert {} == seen[4]
    assert Thinned(halvings=0) == store.progress.thinned(2)[start_ms]
    store.close()


def test_closing_gaps_changes_nothing_of_what_stays(tmp_path: Path) -> None:
    """Every column of every other row is as it was, its id too: a lease may refer to it."""
    store = Store(storage(tmp_path / "metrics.db"), DEVICE)
    kinds = [(PENDING, 1), (UPLOADED, 2), (REFUSED, 3), (PENDING, 0)]
    put(store, [Put(NOW_MS + n, n / 3, 1 + n % 4, *kinds[n % 4]) for n in range(400)])
    put(store, [Put(NOW_MS + 500, "h265", 9, LOCAL)])
    store._connection.execute("UPDATE samples SET session = id % 3, clock = id % 5")
    before: list[Any] = store._connection.execute("SELECT * FROM samples ORDER BY id").fetchall()
    gone = {row[0] for row in before if row[0] % 2 and row[0] < 390}
    store.samples.delete_scattered(gone)
    after = store._connection.execute("SELECT * FROM samples ORDER BY id").fetchall()
    assert [row for row in before if row[0] not in gone] == after
    assert "ok" == store._connection.pragma("integrity_check")
    store.close()


def test_spans_are_found_without_reading_their_samples(tmp_path: Path) -> None:
    """One look-up each in the index of pending samples, for one priority."""
    store = Store(storage(tmp_path / "metrics.db"), DEVICE)
    put(store, [Put(NOW_MS + offset, 0, 1, became, priority) for offset, became, priority in (
        (0, PENDING, 2), (1, PENDING, 2), (5 * SPAN_MS, PENDING, 2), (SPAN_MS, UPLOADED, 2), (2 * SPAN_MS, PENDING, 3),
    )])  # fmt: skip
    assert [NOW_MS, NOW_MS + 5 * SPAN_MS] == list(store.pending.spans(2, SPAN_MS))
    store.close()


@given(st.integers(2, 60), st.integers(1, 200))
def test_resolution_falls_with_age(spans: int, halvings: int) -> None:
    """However often is halved, no span is coarser than an older one, or than its age asks for."""
    queue, done = ThinningQueue(spans * SPAN_MS), {}
    for start_ms in range(0, spans * SPAN_MS, SPAN_MS):
        queue.add(start_ms, Thinned())
        done[start_ms] = 0
    for _ in range(halvings):
        start_ms, state = queue.pop()
        done[start_ms] = state.halvings + 1
        queue.add(start_ms, Thinned(state.halvings + 1))
    by_age = [done[start_ms] for start_ms in sorted(done)]
    assert sorted(by_age, reverse=True) == by_age


def test_pending_samples_among_uploaded_ones_are_not_touched_before_their_turn(cap: Cap) -> None:
    """In a window that is given up, what waits for its upload stays."""
    put(cap.store, [Put(NOW_MS - DAY_MS + n, n, 1, PENDING if n % 10 == 0 else UPLOADED) for n in range(10_000)])
    cap.step_within(0.6)
    assert 1000 == cap.store.pending.counts[2] == sum(row.fate.is_pending for row in aged.samples(cap.store))
    assert 0 < cap.shed("uploaded") <= 9000


def test_archives_go_before_aggregates(cap: Cap) -> None:
    """Copies of what is, or was, elsewhere too."""
    rows = [Aggregate(MINUTE_MS, n * MINUTE_MS, 1, 0, 0, 0, 0, 0, 1) for n in range(2000)]
    cap.store.aggregates.merge(rows)
    path = cap.shelf.file("metrics-{}.db.gz", NOW_MS)
    path.parent.mkdir(parents=True)
    path.write_bytes(bytes(200_000))
    cap.step_within(0.9)
    assert (False, 2000) == (path.exists(), len(aged.aggregates(cap.store)))


def test_texts_go_with_the_pending_samples_of_their_priority(cap: Cap) -> None:
    """A flood of texts does not cost the higher priorities, whatever the server has."""
    texts = [Put(NOW_MS - DAY_MS + n * 50, f"text {n}" * 5, 9, LOCAL, 3) for n in range(5000)]
    put(cap.store, [*texts, *series_of(3, 300), *series_of(1, 300)])
    cap.step_within(0.4)
    assert 300 == cap.store.pending.counts[1]
    assert 0 < cap.lost("size_cap", 3) - 300 <= 5000
    assert 0 == cap.lost("size_cap", 1) + cap.lost("thinned", 1)


def test_windows_know_how_many_uploaded_samples_are_left(cap: Cap) -> None:
    """What is deleted here is not waited for by the audit."""
    put(cap.store, series_of(2, 2000, became=UPLOADED))
    cap.step_within(0.7)
    uploaded = "SELECT count(*) FROM samples WHERE chunk > 0"
    counted = "SELECT sum(samples) FROM windows"
    assert cap.store._connection.execute(uploaded).get == cap.store._connection.execute(counted).get
    assert 0 < left(cap.store)[2] < 2000


def test_a_limit_that_cannot_be_kept_ends_with_everything_given_up(cap: Cap) -> None:
    """No endless loop: what is left are empty tables."""
    for priority in range(4):
        put(cap.store, series_of(priority, 500))
    cap.step_within(0.01)
    assert [0, 0, 0, 0] == cap.store.pending.counts
    assert [] == aged.samples(cap.store)
    assert 0 == cap.step_within(0.01) - cap.task.used_bytes()


def test_samples_of_the_future_do_not_confuse_the_order(cap: Cap) -> None:
    """They count as the youngest."""
    put(cap.store, [*series_of(2, 6000), *series_of(2, 6000, start_ms=NOW_MS + 400 * DAY_MS)])
    cap.step_within(0.85)
    future = [row for row in aged.samples(cap.store) if row.timestamp_ms > NOW_MS + HOUR_MS]
    assert 6000 == len(future)
