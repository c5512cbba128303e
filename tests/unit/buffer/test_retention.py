"""Old samples become aggregates, nothing is counted twice or left out, and nothing is folded that the server lacks."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from buffer.retention.downsampling import Downsampling
from buffer.retention.retention import REVISIT_MS, ROUND_MS, Cutoffs, RetentionRound, plan
from buffer.storage import aggregates, samples, schema
from buffer.storage.aggregates import FIVE_MINUTES_MS, Aggregate, Groups
from buffer.storage.samples import LATEST_MS, StoredSample
from buffer.storage.store import Store
from common.instruments import Instruments
from common.settings import Retention as Settings
from tests.bench import load
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

OLD_MS = NOW_MS - 3 * DAY_MS  # past full resolution, not past the fallback


def retention(store: Store, config: Settings | None = None, instruments: Instruments | None = None) -> RetentionRound:
    """Return retention with the documents' settings."""
    return RetentionRound(store, lambda: config or Settings(), instruments or Instruments())


def run(task: RetentionRound, now_ms: int = NOW_MS) -> int:
    """Do a round; return how many slices it took."""
    steps = 0
    while task.step(now_ms):
        steps += 1
    return steps


def test_what_is_due_when_is_what_the_documents_say() -> None:
    """48 hours, 7 days and 30 days before now, on the grid of five minutes."""
    expected = Cutoffs(NOW_MS - 2 * DAY_MS, NOW_MS - 7 * DAY_MS, NOW_MS - 7 * DAY_MS, NOW_MS - 30 * DAY_MS)
    assert expected == plan(NOW_MS, Settings())
    assert expected == plan(NOW_MS + 5 * MINUTE_MS - 1, Settings())


def test_a_later_tier_never_ends_before_an_earlier_one() -> None:
    """Tiers that were configured the wrong way round last as long as the one before."""
    config = Settings(full_resolution_s=7200, aggregated_1m_s=3600, aggregated_5m_s=60)
    cutoffs = plan(NOW_MS, config)
    assert [NOW_MS - 2 * HOUR_MS] * 3 == [cutoffs.raw_ms, cutoffs.minute_ms, cutoffs.drop_ms]


def test_verified_samples_older_than_48_hours_become_one_aggregate_a_minute(store: Store) -> None:
    """Min, max, avg, last and count of each series and minute; younger ones stay."""
    young_ms = NOW_MS - 2 * DAY_MS
    put(store, [Put(OLD_MS, 4), Put(OLD_MS + 1, 8.0, 2), Put(OLD_MS + 30_000, 1), Put(OLD_MS + 59_999, 2.5)])
    put(store, [Put(OLD_MS + MINUTE_MS, 7), Put(young_ms, 9)])
    verify(store, OLD_MS, young_ms)
    run(retention(store))
    assert [
        (MINUTE_MS, OLD_MS, 1, 1.0, 4.0, 2.5, 2.5, 59_999, 3),
        (MINUTE_MS, OLD_MS, 2, 8.0, 8.0, 8.0, 8.0, 1, 1),
        (MINUTE_MS, OLD_MS + MINUTE_MS, 1, 7.0, 7.0, 7.0, 7.0, 0, 1),
    ] == aged.aggregates(store)
    assert [9] == aged.values(store)


def test_unverified_samples_survive_until_the_fallback(store: Store) -> None:
    """Uploaded but not audited: kept at full resolution for 7 days, then taken to be at the server."""
    put(store, [Put(OLD_MS, 1), Put(NOW_MS - 7 * DAY_MS - 1, 2)])
    task = retention(store)
    run(task)
    assert [1] == aged.values(store)
    run(task, OLD_MS + 7 * DAY_MS + HOUR_MS)
    assert [] == aged.values(store)


def test_without_an_audit_what_was_acknowledged_counts_as_delivered(store: Store) -> None:
    """Folded after 48 hours; pending samples stay all the same."""
    put(store, [Put(OLD_MS, 1), Put(OLD_MS + 1, 2, became=PENDING)])
    run(RetentionRound(store, Settings, Instruments(), lambda: False))
    assert [2] == aged.values(store)


@pytest.mark.parametrize("state", [0, 2, 3])
def test_a_window_that_is_not_verified_is_not_folded(store: Store, state: int) -> None:
    """To be audited, sent again, differing: all are kept."""
    put(store, [Put(OLD_MS, 1)])
    store._connection.execute("UPDATE windows SET state = ? WHERE start_ms = ?", (state, OLD_MS))
    run(retention(store))
    assert [1] == aged.values(store)


def test_pending_samples_are_never_touched(store: Store) -> None:
    """However old, and whatever is said of their window; what lies between them is folded."""
    ages_ms = (3 * DAY_MS, 8 * DAY_MS, 31 * DAY_MS, 400 * DAY_MS)
    put(store, [Put(NOW_MS - age_ms, index, became=PENDING) for index, age_ms in enumerate(ages_ms)])
    put(store, [Put(NOW_MS - age_ms + 5, 100) for age_ms in ages_ms])
    verify(store, *(NOW_MS - age_ms for age_ms in ages_ms))
    run(retention(store))
    assert [3, 2, 1, 0] == aged.values(store)
    assert [0, 0, 4, 0] == store.pending.counts


def test_refused_samples_and_texts_stay_as_they_are_to_the_last_tier(store: Store) -> None:
    """A refused sample can be released for 30 days; a text has no mean. Then both are deleted."""
    times_ms = (NOW_MS - 3 * DAY_MS, NOW_MS - 31 * DAY_MS)
    put(store, [Put(time_ms, 5, 1, REFUSED) for time_ms in times_ms])
    put(store, [Put(time_ms, "h265", 2, LOCAL) for time_ms in times_ms])
    verify(store, *times_ms)
    run(retention(store))
    assert [(times_ms[0], 5), (times_ms[0], "h265")] == [(row.timestamp_ms, row.value) for row in aged.samples(store)]
    assert [] == aged.aggregates(store)


def test_numbers_without_a_mean_are_kept_like_texts(store: Store) -> None:
    """An infinity of an old database neither stops retention nor spoils an aggregate, and a pending one stays."""
    put(store, [Put(OLD_MS, math.inf), Put(OLD_MS + 1, 3), Put(NOW_MS - 31 * DAY_MS, math.inf, 1, PENDING)])
    verify(store, OLD_MS)
    run(retention(store))
    assert [math.inf, math.inf] == aged.values(store)
    assert [3.0] == [row.max for row in aged.aggregates(store)]


def test_minutes_become_five_minutes_after_7_days_and_nothing_after_30(store: Store) -> None:
    """The mean is weighted by count and the last value is the latest one's."""
    start_ms = NOW_MS - 8 * DAY_MS
    minutes = [
        Aggregate(MINUTE_MS, start_ms, 1, 1, 3, 2, 3, 50_000, 30),
        Aggregate(MINUTE_MS, start_ms + MINUTE_MS, 1, 0, 9, 5, 7, 59_000, 10),
        Aggregate(MINUTE_MS, NOW_MS - 7 * DAY_MS, 1, 1, 1, 1, 1, 0, 1),
    ]
    gone = Aggregate(FIVE_MINUTES_MS, NOW_MS - 30 * DAY_MS - FIVE_MINUTES_MS, 1, 0, 0, 0, 0, 0, 1)
    store.aggregates.merge([*minutes, gone])
    run(retention(store))
    expected = Aggregate(FIVE_MINUTES_MS, start_ms, 1, 0, 9, 2.75, 7, 119_000, 40)
    assert [minutes[2], expected] == aged.aggregates(store)


def test_a_sample_that_comes_late_joins_the_aggregate_of_its_minute(store: Store) -> None:
    """It counts, and it is the last one only if it is the latest; in a window looked at, within a day."""
    put(store, [Put(OLD_MS + 10, 4), Put(OLD_MS + 500, 6)])
    verify(store, OLD_MS)
    task = retention(store)
    run(task)
    put(store, [Put(OLD_MS + 20, 11), Put(OLD_MS, -1)])
    verify(store, OLD_MS)
    run(task, NOW_MS + REVISIT_MS)
    assert [(MINUTE_MS, OLD_MS, 1, -1.0, 11.0, 5.0, 6.0, 500, 4)] == aged.aggregates(store)
    put(store, [Put(OLD_MS + 501, 0)])
    verify(store, OLD_MS)
    run(task, NOW_MS + 2 * REVISIT_MS)
    assert [(-1.0, 11.0, 4.0, 0.0, 501, 5)] == [row[3:] for row in aged.aggregates(store)]
    assert [] == aged.samples(store)


def test_a_round_is_done_once_an_hour(store: Store) -> None:
    """Between two there is nothing to do, whatever became due."""
    task = retention(store)
    run(task)
    put(store, [Put(OLD_MS, 1)])
    verify(store, OLD_MS)
    assert 0 == run(task, NOW_MS + ROUND_MS - 1)
    assert 0 < run(task, NOW_MS + ROUND_MS)
    assert [] == aged.samples(store)


def test_checkpoints_events_and_windows_go_with_their_samples(store: Store) -> None:
    """Checkpoints when their samples are folded, the rest after 30 days; younger ones stay."""
    connection = store._connection
    times_ms = (NOW_MS - 31 * DAY_MS, NOW_MS - 4 * DAY_MS, NOW_MS - 3 * DAY_MS, NOW_MS - DAY_MS)
    put(store, [Put(time_ms, 1) for time_ms in times_ms])
    verify(store, times_ms[0], times_ms[1], times_ms[3])
    connection.executemany(
        "INSERT INTO upload_checkpoints (batch_id, chunk_index, last_uploaded_timestamp) VALUES ('c', 0, ?)",
        [(time_ms,) for time_ms in times_ms],
    )
    connection.executemany(
        "INSERT INTO events (timestamp_ms, kind, severity, source, text) VALUES (?, 'k', 'info', 's', 't')",
        [(time_ms,) for time_ms in times_ms],
    )
    instruments = Instruments()
    run(retention(store, instruments=instruments))
    checkpoints = "SELECT last_uploaded_timestamp FROM upload_checkpoints WHERE batch_id = 'c'"
    assert [(time_ms,) for time_ms in times_ms[2:]] == connection.execute(checkpoints).fetchall()
    expected = [(time_ms,) for time_ms in times_ms[1:]]
    assert expected == connection.execute("SELECT timestamp_ms FROM events").fetchall()
    assert expected == connection.execute("SELECT start_ms FROM windows").fetchall()
    assert 1 == instruments.counter("storage.expired_rows_total", table="events")


def test_a_failure_ends_the_round_and_the_next_one_goes_on(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was folded before it stays folded, the rest follows an hour later."""
    put(store, [Put(OLD_MS + index * MINUTE_MS, index) for index in range(10)])
    verify(store, OLD_MS, OLD_MS + FIVE_MINUTES_MS)
    task = retention(store)
    task.pace.rows = 3
    with monkeypatch.context() as patch:
        patch.setattr(store.aggregates, "merge", _full_disk)
        with pytest.raises(apsw.FullError):
            run(task)
    assert 10 == len(aged.samples(store))
    run(task, NOW_MS + ROUND_MS)
    assert [1] * 10 == [row.samples for row in aged.aggregates(store)]


def test_what_comes_between_folding_and_deleting_is_neither_lost_nor_counted_twice(store: Store) -> None:
    """Killed in between: a late sample, and a pending one that is uploaded meanwhile, are folded in their turn."""
    put(store, [Put(OLD_MS + n, n, 1, PENDING if n == 5 else UPLOADED) for n in range(10)])
    put(store, [Put(OLD_MS + 20, "text", 2, LOCAL)])
    verify(store, OLD_MS)
    task = retention(store)
    while not aged.aggregates(store):
        task.step(NOW_MS)
    assert 11 == len(aged.samples(store))
    put(store, [Put(OLD_MS + 3, 30, 3), Put(OLD_MS + 30, 31)])
    store._connection.execute("UPDATE samples SET chunk = 1 WHERE value = 5")
    store._connection.execute("UPDATE samples SET chunk = NULL WHERE value = 7")  # found missing at the server
    verify(store, OLD_MS)
    run(retention(store))
    found = [(row.series_id, row.samples, row.min, row.max) for row in aged.aggregates(store)]
    assert [(1, 11, 0.0, 31.0), (3, 1, 30.0, 30.0)] == found
    assert [7, "text"] == aged.values(store)


def test_a_sample_that_comes_while_its_window_is_read_waits_for_the_next_round(store: Store) -> None:
    """It is not among those that the mark says were folded; after a kill it would be folded twice."""
    put(store, [Put(OLD_MS + n, n) for n in range(10)])
    portion = Downsampling(store, samples.before(OLD_MS), NOW_MS, others_are_due=False)
    assert portion.read(4)
    put(store, [Put(OLD_MS + 8, 100, 2)])
    while portion.read(4):
        pass
    assert not portion.write(100)
    assert list(range(1, 11)) == [row.id for row in portion.aggregated_rows()]
    verify(store, OLD_MS)
    run(retention(store))
    assert [(1, 10), (2, 1)] == [(row.series_id, row.samples) for row in aged.aggregates(store)]
    assert [] == aged.samples(store)


def test_folded_samples_are_deleted_in_order_of_id(store: Store) -> None:
    """As long as the greatest is there, no late sample is given the id of one that was folded."""
    put(store, [Put(OLD_MS + 10 - n, n) for n in range(10)])
    portion = Downsampling(store, samples.before(OLD_MS), NOW_MS, others_are_due=False)
    portion.read(100)
    assert list(range(1, 11)) == [row.id for row in portion.aggregated_rows()]


def test_killed_between_two_series_only_the_first_is_deleted(store: Store) -> None:
    """The samples of a series whose aggregate is not written yet are folded in the next round, once."""
    put(store, [Put(OLD_MS + n, n, 1 + n % 3) for n in range(30)])
    verify(store, OLD_MS)
    portion = Downsampling(store, samples.before(OLD_MS), NOW_MS, others_are_due=False)
    portion.read(100)
    assert portion.write(1)
    assert [1] == [row.series_id for row in aged.aggregates(store)]
    run(retention(store))
    assert [(1, 10), (2, 10), (3, 10)] == [(row.series_id, row.samples) for row in aged.aggregates(store)]
    assert [] == aged.samples(store)


def _full_disk(*_: object) -> None:
    raise apsw.FullError("database or disk is full")


def test_stopping_after_any_slice_changes_nothing_in_the_end(tmp_path: Path) -> None:
    """Ended between any two slices and begun anew, retention arrives at the same aggregates."""
    rng = random.Random(7)
    rows = [
        Put(OLD_MS + rng.randrange(15 * MINUTE_MS // 50) * 50 + series, rng.uniform(-5, 5), series)
        for series in range(1, 4)
        for _ in range(60)
    ]
    rows = list({(row.timestamp_ms, row.series_id): row for row in rows}.values())
    results = []
    for steps in (12, 13, 17, 29, 1_000_000):  # it takes 10 to read a window
        store = Store(storage(tmp_path / f"{steps}.db"), DEVICE)
        put(store, rows)
        verify(store, *(row.timestamp_ms for row in rows))
        while aged.samples(store):
            task = retention(store)
            task.pace.rows = 7
            for _ in range(steps):
                if not task.step(NOW_MS):
                    break
        results.append([row._replace(avg=round(row.avg, 9)) for row in aged.aggregates(store)])
        store.close()
    assert [results[-1]] * 5 == results


def fold(rows: list[StoredSample], limit: int) -> Iterator[Aggregate]:
    """Yield the aggregates of some samples, taken a few at a time: all of a series at once."""
    groups, seen = Groups(MINUTE_MS), set[int]()
    for row in rows:
        groups.add(row)
    while groups:
        found = groups.take(limit)
        assert seen.isdisjoint(row.series_id for row in found)
        seen.update(row.series_id for row in found)
        yield from found


points = st.lists(
    st.tuples(
        st.integers(0, 2 * MINUTE_MS - 1),
        st.integers(1, 3),
        st.one_of(
            st.integers(-(2**63) + 1, 2**63 - 1),
            st.floats(allow_nan=False, allow_infinity=False),
            st.floats(-100, 100),
        ),
    ),
    min_size=1,
    max_size=40,
    unique_by=lambda point: point[:2],
)


@given(points, st.randoms(use_true_random=False))
def test_folding_in_any_pieces_and_order_equals_the_definition(
    found: list[tuple[int, int, float]], rng: random.Random
) -> None:
    """Min, max, last and count exactly, avg to 12 digits, for any finite values, against exact fractions."""
    connection = apsw.Connection(":memory:")
    connection.execute(schema.TABLES)
    table = aggregates.Aggregates(connection)
    rows = [
        StoredSample(0, timestamp_ms, series_id, value, None, None, 2, UPLOADED)
        for timestamp_ms, series_id, value in found
    ]
    rng.shuffle(rows)
    while rows:
        size = rng.randint(1, len(rows))
        table.merge(fold(rows[:size], rng.randint(1, 3)))
        del rows[:size]
    groups: dict[tuple[int, int], list[tuple[int, float]]] = defaultdict(list)
    for timestamp_ms, series_id, value in found:
        groups[timestamp_ms // MINUTE_MS * MINUTE_MS, series_id].append((timestamp_ms, float(value)))
    stored = table.oldest(MINUTE_MS, LATEST_MS, 1000)
    assert sorted(groups) == [(row.start_ms, row.series_id) for row in stored]
    for row in stored:
        group = sorted(groups[row.start_ms, row.series_id])
        numbers = [value for _, value in group]
        assert (min(numbers), max(numbers), group[-1][1], len(group)) == (row.min, row.max, row.last, row.samples)
        assert group[-1][0] - row.start_ms == row.last_ms
        mean = Fraction(sum(map(Fraction, numbers))) / len(numbers)
        scale = max(map(abs, numbers)) or 1.0
        smallest = Fraction(math.ulp(0.0))  # the mean of that and 0 is no float
        assert abs(mean - Fraction(row.avg)) <= max(smallest, Fraction(scale) * Fraction(1, 10**12))
        assert row.min <= row.avg <= row.max
    connection.close()


def test_an_hour_of_a_device_give_the_aggregates_of_their_raw_values(tmp_path: Path) -> None:
    """Computed from the batches, without the code under test, for the 1-minute and the 5-minute tier."""
    start_ms = NOW_MS - 10 * DAY_MS
    store = Store(storage(tmp_path / "metrics.db"), DEVICE)
    raw: dict[tuple[str, int], list[tuple[int, float]]] = defaultdict(list)
    batches = list(load.batches(start_ms, start_ms + HOUR_MS, 100))
    for batch in batches:
        for sample in batch.samples:
            raw[sample.tags["interface"], batch.timestamp_ms].append((batch.timestamp_ms, float(sample.value)))
    store.write(batches)
    store._connection.execute("UPDATE samples SET chunk = 1")
    task = retention(store, replace(Settings(), aggregated_1m_s=20 * 86_400))
    run(task)
    assert 0 == len(aged.samples(store))
    assert _independent(raw, MINUTE_MS) == _stored(store)
    run(retention(store))
    assert _independent(raw, FIVE_MINUTES_MS) == _stored(store)
    store.close()


def _independent(raw: dict[tuple[str, int], list[tuple[int, float]]], width_ms: int) -> dict[tuple[str, int], object]:
    groups: dict[tuple[str, int], list[tuple[int, float]]] = defaultdict(list)
    for (name, timestamp_ms), found in raw.items():
        groups[name, timestamp_ms // width_ms].extend(found)
    return {
        key: (
            min(value for _, value in found),
            max(value for _, value in found),
            pytest.approx(sum(value for _, value in found) / len(found), rel=1e-12),
            max(found)[1],
            len(found),
        )
        for key, found in groups.items()
    }


def _stored(store: Store) -> dict[tuple[str, int], object]:
    names = {
        series_id: tags.split('"')[3] for series_id, tags in store._connection.execute("SELECT id, tags FROM series")
    }
    return {
        (names[row.series_id], row.start_ms // row.width_ms): (row.min, row.max, row.avg, row.last, row.samples)
        for row in aged.aggregates(store)
    }
