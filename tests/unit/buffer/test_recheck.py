"""What was verified and the server has no more: found in few questions, sent again, reported once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from buffer.delivery.audit import AuditOperations
from buffer.delivery.recheck import AVERAGES_MS, Recheck, RecheckSpan, spans
from buffer.delivery.server_starts import ServerStarts
from buffer.storage.aggregates import FIVE_MINUTES_MS, Aggregate
from buffer.storage.audit_windows import WINDOW_MS, start_of
from buffer.storage.store import Store
from common import clock
from common.events import Event
from common.instruments import Instruments
from common.log import Log
from common.sample import Batch, Sample
from common.service import Service
from common.status import BufferStatus
from tests.unit.buffer.databases import DEVICE, storage

WINDOWS = 16
GRACE = {"grace_s": 60}
Server = Callable[[int], bool]  # whether it has the samples of a time


class Bench:
    """Sixteen verified windows with one sample of ten series each, a server that lost some, and its clock."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 1000.0
        monkeypatch.setattr("buffer.delivery.recheck.time.monotonic", lambda: self.now_s)
        self.events: list[Event] = []
        self.store, self.status = Store(storage(path), DEVICE), BufferStatus()
        self.instruments = Instruments()
        process = SimpleNamespace(instruments=self.instruments, log=Log("audit"), event=self.events.append)
        self._service = cast("Service", process)
        self.first_ms = start_of(clock.wall_ms()) - (WINDOWS + 2) * WINDOW_MS
        self.restart()
        for number in range(WINDOWS):
            samples = [Sample("m", 1, {"slot": f"{slot}"}) for slot in range(10)]
            at_ms = self.first_ms + number * WINDOW_MS
            self.store.write([Batch("p", "e", number, at_ms, 0, "", urgent=False, samples=samples)])
        self.upload()
        self.audited(lambda _: True)

    def restart(self) -> None:
        """Begin as a new process."""
        self.recheck = Recheck(self._service, self.store, self.status)
        self.audit = AuditOperations(self._service, self.store, self.recheck, self.status)
        self.starts = ServerStarts(self._service, self.store, self.recheck)

    def upload(self) -> None:
        """Have the server accept what is pending, long ago."""
        pending = self.store.pending.rows(2, clock.wall_ms(), 1000)
        if pending:
            self.store.pending.mark_uploaded(2, pending, "b", 0)
        self.store._connection.execute("UPDATE windows SET uploaded_ms = start_ms")

    def started(self, started_s: int) -> None:
        """Say when the server was started, long before anything was uploaded."""
        self.starts.restarted({"started_s": started_s, "started_ms": 1_000 * started_s, "missing": None, **GRACE})

    def counted(self, has: Server, most: int = 100) -> int:
        """Count spans at the server until there are no more; return how many."""
        for number in range(most):
            found = self.recheck.next_span({})
            if found["start_ms"] is None:
                return number
            self.answer(found, has)
        raise AssertionError("it does not end")

    def answer(self, found: dict[str, Any], has: Server) -> None:
        """Count one span at the server, in which every window has as many samples."""
        starts = range(found["start_ms"], found["start_ms"] + found["width_ms"], WINDOW_MS)
        wanted = sum(row[4] for row in found["series"])
        there = wanted * sum(map(has, starts)) // len(starts)
        self.recheck.counted({**found, "there": there, "short": wanted - there})

    def audited(self, has: Server) -> int:
        """Audit all windows; return how many samples are to be sent again."""
        requeued = 0
        while (found := self.audit.next_window({"after_ms": 0, **GRACE}))["start_ms"] is not None:
            missing = [] if has(found["start_ms"]) else [[row[0], 0] for row in found["series"]]
            request = {"start_ms": found["start_ms"], "uploaded_ms": found["uploaded_ms"], "missing": missing}
            requeued += self.audit.verdict({**request, "whole": [], "has_device": True})["requeued"]
        return requeued

    def aggregate(self, *starts_ms: int) -> None:
        """Keep averages of hundred samples from some times."""
        rows = [Aggregate(FIVE_MINUTES_MS, start_ms, 1, 1, 1, 1, 1, 0, 100) for start_ms in starts_ms]
        with self.store.transaction():
            self.store.aggregates.merge(rows)


@pytest.fixture
def bench(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """Sixteen verified windows."""
    made = Bench(path, monkeypatch)
    made.started(1)
    yield made
    made.store.close()


def test_nothing_is_asked_again_of_a_server_that_was_not_restarted(bench: Bench) -> None:
    """The first start that is seen is no restart, and the same one is none."""
    bench.started(1)
    assert 0 == bench.counted(lambda _: True)


def test_a_restarted_server_that_has_everything_is_asked_once(bench: Bench) -> None:
    """A span is a day, and nothing is sent again."""
    bench.started(2)
    assert 1 == bench.counted(lambda _: True)
    assert ([], 0) == (bench.events, bench.audited(lambda _: True))


def test_each_start_may_lose_the_same_samples_again(bench: Bench) -> None:
    """They are sent again after every start, however often that happened before."""
    for start in range(2, 8):
        bench.started(start)
        bench.counted(lambda _: False)
        assert WINDOWS * 10 == bench.audited(lambda _: False)
        bench.upload()
    assert [] == [event for event in bench.events if event.kind == "samples_withheld"]


def test_two_servers_behind_one_address_are_told_apart_once(bench: Bench) -> None:
    """One that was seen before is nothing new."""
    bench.started(2)
    bench.counted(lambda _: True)
    bench.started(1)
    assert 0 == bench.counted(lambda _: True)


def test_an_empty_server_gets_everything_again(bench: Bench) -> None:
    """One question finds it; it is reported once, in /health until the server has it."""
    bench.started(2)
    assert 1 == bench.counted(lambda _: False)
    assert "160 samples are sent again" in str(bench.status.lost_at_server)
    assert 160 == bench.audited(lambda _: False)
    bench.upload()
    bench.audited(lambda _: True)
    assert ["server_lost_data", "server_caught_up"] == [event.kind for event in bench.events]
    assert (None, 160.0) == (bench.status.lost_at_server, bench.instruments.counter("storage.lost_at_server_total"))


def test_a_backup_costs_what_it_lacks(bench: Bench) -> None:
    """The span is halved until it is known which windows are gone; the others are not asked about again."""
    since_ms = bench.first_ms + 11 * WINDOW_MS
    bench.started(2)
    assert bench.counted(lambda at_ms: at_ms < since_ms) <= 9
    assert 50 == bench.audited(lambda at_ms: at_ms < since_ms)


def test_a_killed_buffer_begins_again(bench: Bench) -> None:
    """And what it had reported is in /health again."""
    bench.started(2)
    bench.recheck.next_span({})
    bench.restart()
    assert 1 == bench.counted(lambda _: False)
    bench.status.lost_at_server = None
    bench.restart()
    assert bench.status.lost_at_server


def test_it_is_looked_at_every_hour(bench: Bench) -> None:
    """Nobody says when a server behind a proxy was started; one sum tells whether to look closer."""
    bench.now_s += 3_599.0
    assert bench.recheck.next_span({})["start_ms"] is None
    bench.now_s += 1.0
    assert not bench.recheck.next_span({})["by_series"]
    assert 1 == bench.counted(lambda _: True)
    assert 0 == bench.counted(lambda _: True)
    bench.now_s += 3_600.0
    assert 2 == bench.counted(lambda _: False)
    assert 160 == bench.audited(lambda _: False)


def test_what_is_here_only_as_averages_is_reported(bench: Bench) -> None:
    """Back to the first span that the server has: what lies before it is not asked about."""
    bench.aggregate(*(bench.first_ms - number * AVERAGES_MS // 2 for number in range(1, 20)))
    bench.started(2)
    since_ms = bench.first_ms - AVERAGES_MS * 3 // 2 + WINDOW_MS
    assert 3 == bench.counted(lambda at_ms: at_ms < since_ms)
    assert "of 200 more this device has only averages" in str(bench.status.lost_at_server)
    assert 160 + 200 == bench.instruments.counter("storage.lost_at_server_total")


def test_averages_that_are_there_are_no_loss(bench: Bench) -> None:
    """A backup of this morning has all of yesterday."""
    bench.aggregate(bench.first_ms - AVERAGES_MS // 2)
    bench.started(2)
    assert 2 == bench.counted(lambda at_ms: at_ms < bench.first_ms)
    assert "averages" not in str(bench.status.lost_at_server)


@pytest.mark.parametrize(("short", "lost"), [(1, 0), (2, 2)])
def test_a_hundredth_of_the_averages_is_what_was_refused(bench: Bench, short: int, lost: int) -> None:
    """More is a loss."""
    bench.aggregate(bench.first_ms - AVERAGES_MS // 2)
    bench.started(2)
    bench.answer(bench.recheck.next_span({}), lambda _: False)
    found = bench.recheck.next_span({})
    assert 6 * 3_600_000 == found["width_ms"]
    bench.recheck.counted({**found, "there": 100 - short, "short": short})
    assert 160 + lost == bench.instruments.counter("storage.lost_at_server_total")


def test_one_window_is_audited_again_and_not_halved(bench: Bench) -> None:
    """A part of it is missing: the audit finds which; the windows around it are left alone."""
    target_ms = bench.first_ms + 5 * WINDOW_MS
    bench.started(2)
    for _ in range(20):
        found = bench.recheck.next_span({})
        if found["start_ms"] is None:
            break
        wanted = sum(row[4] for row in found["series"])
        short = 5 * (found["start_ms"] <= target_ms < found["start_ms"] + found["width_ms"])
        bench.recheck.counted({**found, "there": wanted - short, "short": short})
    assert 10 == bench.audited(lambda at_ms: at_ms != target_ms)
    assert [False, True, False] == [bench.recheck.is_known(target_ms + n * WINDOW_MS) for n in (-1, 0, 1)]


def test_each_span_is_counted_and_a_new_start_begins_again(bench: Bench) -> None:
    """A window that is not verified ends a span; what was half counted says nothing of the next start."""
    at_ms = bench.first_ms + 8 * WINDOW_MS + 1
    bench.store.write([Batch("p", "e", 99, at_ms, 0, "", urgent=False, samples=[Sample("late", 1)])])
    bench.upload()
    bench.started(2)
    first = bench.recheck.next_span({})
    bench.answer(first, lambda ms: ms > at_ms + 2 * WINDOW_MS)
    assert first["width_ms"] > bench.recheck.next_span({})["width_ms"]
    bench.started(3)
    assert first == bench.recheck.next_span({})
    assert 2 == bench.counted(lambda _: True)


def test_without_anything_verified_there_is_nothing_to_count(store: Store) -> None:
    """And nothing is left to do for the next start."""
    instruments = Instruments()
    process = SimpleNamespace(instruments=instruments, log=Log("audit"), event=lambda _: None)
    recheck = Recheck(cast("Service", process), store, BufferStatus())
    recheck.begin()
    assert {"start_ms": None} == recheck.next_span({})
    assert store.progress.get("recheck_due") is None
    assert [0] == [row[3] for row in instruments.readings() if "storage.lost_at_server_total" in row]


def test_an_answer_to_an_earlier_question_is_void(bench: Bench) -> None:
    """The buffer was restarted in between."""
    bench.started(2)
    found = bench.recheck.next_span({})
    bench.recheck.counted({**found, "width_ms": found["width_ms"] + WINDOW_MS, "there": 0, "short": 160})
    assert found == bench.recheck.next_span({})


def test_a_span_holds_verified_windows_alone() -> None:
    """One that is not verified ends it; so do a day and as many samples as are quick to count."""
    width = WINDOW_MS
    assert [RecheckSpan(5 * width, 7 * width), RecheckSpan(2 * width, 4 * width)] == list(
        spans([(6 * width, 1), (5 * width, 1), (4 * width, 0), (3 * width, 1), (2 * width, 1)])
    )
    assert [1, 2] == [len(list(spans([(width, 99_999 + more), (0, 1)]))) for more in (0, 1)]
    day = 86_400_000
    assert [1, 2] == [len(list(spans([(day - width + more, 1), (0, 1)]))) for more in (0, width)]
    assert [] == list(spans([]))


def test_counting_needs_no_memory_for_each_sample(bench: Bench) -> None:
    """SQLite sorts in memory what it groups without an index: 47 MB for a million samples."""
    connection = bench.store._connection
    asked: list[tuple[str, Any]] = []

    def note(_cursor: object, statement: str, bindings: Any) -> bool:
        asked.append((statement, bindings))
        return True

    connection.exec_trace = note
    for table in (bench.store.windows, bench.store.aggregates):
        table.series(bench.first_ms, bench.first_ms + WINDOW_MS)
    connection.exec_trace = None
    plans = [str(row) for one, bound in asked for row in connection.execute(f"EXPLAIN QUERY PLAN {one}", bound)]
    assert 2 == len(plans)
    assert "TEMP B-TREE" not in " ".join(plans)
