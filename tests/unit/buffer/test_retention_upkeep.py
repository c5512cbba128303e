"""Upkeep on the loop: one slice at a time, rests between, failures told; and settings as the documents spell them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from buffer import settled_clock
from buffer.pace import LEAST_ROWS, MOST_ROWS, SLICE_S, Pace
from buffer.retention.archive import Archiver
from buffer.retention.retention import RetentionRound
from buffer.retention.size_cap import SizeCap
from buffer.retention.tasks import CHECKPOINT_BYTES, IDLE_S, RETRY_S, RetentionTasks
from buffer.storage.store import Store
from common import config
from common.instruments import Instruments
from common.log import Log
from common.loop import Timer
from common.service import Service
from tests.unit.buffer.aged import NOW_MS, PENDING, Put, put
from tests.unit.buffer.databases import DEVICE, storage

TASKS = (SizeCap, Archiver, RetentionRound)


class Desk:
    """Upkeep on a loop that a test turns by hand, with tasks that do what it says."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.store = Store(storage(path), DEVICE)
        self.instruments = Instruments()
        self.busy = False
        self.calls: list[str] = []
        self.results: dict[str, Callable[[], bool]] = {task.name: lambda: False for task in TASKS}
        for task in TASKS:
            monkeypatch.setattr(task, "step", lambda own, _now_ms: self._step(own.name))
        monkeypatch.setattr(settled_clock, "SETTLE_S", 0.0)
        monkeypatch.setattr(settled_clock, "UNKNOWN_SETTLE_S", 0.0)
        settings = SimpleNamespace(settings=SimpleNamespace(storage=storage(path)))
        process = SimpleNamespace(
            loop=self, instruments=self.instruments, log=Log("test"), config=settings, event=print
        )
        self.upkeep = RetentionTasks(cast(Service, process), self.store, lambda: self.busy)

    def every(self, interval_s: float, step: Callable[[], None]) -> Timer:
        """Stand in for the loop."""
        self.timer = Timer(step, interval_s, time.monotonic())
        return self.timer

    def turns(self, number: int) -> list[str]:
        """Take turns; return which tasks were asked."""
        self.calls.clear()
        for _ in range(number):
            self.upkeep.turn()
        return self.calls

    def _step(self, name: str) -> bool:
        self.calls.append(name)
        return self.results[name]()


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """A fresh database, and nothing to do."""
    new = Desk(tmp_path / "metrics.db", monkeypatch)
    yield new
    new.store.close()


def test_each_turn_is_one_slice_of_the_next_task(desk: Desk) -> None:
    """None can keep the others from their turn."""
    desk.results["size_cap"] = lambda: True
    assert ["size_cap", "archive", "retention"] * 2 == desk.turns(6)


def test_retention_waits_while_an_archive_is_written(desk: Desk) -> None:
    """So that the archive has the samples, not their aggregates."""
    desk.results["archive"] = lambda: True
    assert ["size_cap", "archive"] * 2 == desk.turns(6)


def test_archive_and_retention_wait_while_a_database_is_salvaged(desk: Desk) -> None:
    """Spans are not complete yet; the size cap holds all the same."""
    desk.busy = True
    assert ["size_cap"] * 2 == desk.turns(6)


def test_after_the_start_only_the_size_cap_works(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock may be wrong until NTP has answered."""
    monkeypatch.setattr(settled_clock, "SETTLE_S", 60.0)
    assert ["size_cap"] * 2 == desk.turns(6)


def test_the_loop_is_left_alone_for_a_multiple_of_a_slice(desk: Desk) -> None:
    """Half of a core or a quarter at most; with nothing to do the timer keeps its own interval."""
    desk.turns(3)
    assert desk.timer.due_s <= time.monotonic()
    assert IDLE_S == desk.timer.interval_s

    def slow() -> bool:
        began_s = time.perf_counter()
        while time.perf_counter() - began_s < 0.02:
            pass
        return True

    desk.results["size_cap"] = desk.results["archive"] = slow
    desk.turns(1)
    assert desk.timer.due_s - time.monotonic() > 0.02 - 0.01
    desk.turns(1)
    assert desk.timer.due_s - time.monotonic() > 0.06 - 0.01


@pytest.mark.parametrize("error", [apsw.FullError("full"), OSError(28, "No space left")])
def test_a_failure_is_counted_and_tried_again_later(desk: Desk, error: Exception) -> None:
    """The buffer goes on, the other tasks too; the next attempt is a minute away."""

    def fail() -> bool:
        raise error

    desk.results["archive"] = fail
    assert ["size_cap", "archive", "retention", "size_cap", "retention"] == desk.turns(6)
    assert 1 == desk.instruments.counter("storage.upkeep_failures_total", task="archive")
    desk.upkeep._again_s["archive"] -= RETRY_S
    assert ["size_cap", "archive"] == desk.turns(2)


def test_damage_is_told_to_the_store(desk: Desk) -> None:
    """Which has the database replaced."""

    def fail() -> bool:
        raise apsw.CorruptError("database disk image is malformed")

    desk.results["size_cap"] = fail
    desk.turns(1)
    assert isinstance(desk.store.damage, apsw.CorruptError)


def test_a_replaced_database_gets_new_tasks(desk: Desk) -> None:
    """With marks of its own; nothing refers to the old connection."""
    desk.turns(3)
    desk.store.close()
    desk.store.path.unlink()
    desk.store.open()
    desk.turns(3)
    assert 0 == desk.store._connection.execute("SELECT count(*) FROM upkeep").get
    assert 0 == sum(desk.instruments.counter("storage.upkeep_failures_total", task=task.name) for task in TASKS)


def test_without_room_to_begin_retention_begins_later(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk is not asked every second, and not before a minute is over."""
    attempts: list[int] = []

    def full(*_: object) -> None:
        attempts.append(1)
        raise apsw.FullError("full")

    with monkeypatch.context() as patch:
        patch.setattr("buffer.retention.size_cap.SizeCap.__init__", full)
        assert [] == desk.turns(5)
    assert 1 == len(attempts)
    desk.upkeep._again_s["start"] -= RETRY_S
    assert ["size_cap"] == desk.turns(1)


def test_the_log_is_folded_in_after_upkeeps_own_pages_alone(desk: Desk) -> None:
    """What ingest writes waits for the hourly checkpoint, or flash would be written more often than it has to be."""
    before = desk.store.database_bytes()
    put(desk.store, [Put(NOW_MS + n, "x" * 1000, 1, PENDING) for n in range(3 * CHECKPOINT_BYTES // 4096)])
    desk.turns(6)
    assert before == desk.store.database_bytes()

    def write() -> bool:
        put(desk.store, [Put(n, "x" * 1000) for n in range(5 * CHECKPOINT_BYTES // 4096)])
        return True

    desk.results["size_cap"] = write
    desk.turns(2)
    assert desk.store.database_bytes() > 3 * CHECKPOINT_BYTES // 4096 * 1000


@given(st.lists(st.floats(1e-7, 10), max_size=50))
def test_the_pace_stays_within_its_bounds(durations_s: list[float]) -> None:
    """Whatever slices take."""
    pace = Pace()
    for duration_s in durations_s:
        pace.took(duration_s)
        assert LEAST_ROWS <= pace.rows <= MOST_ROWS


@given(st.floats(1e-5, 4e-4))
def test_the_pace_finds_the_rows_that_fit_into_a_slice(row_s: float) -> None:
    """For any speed of a device, after a few slices."""
    pace = Pace()
    for _ in range(60):
        pace.took(pace.rows * row_s)
    assert 0.5 * SLICE_S <= pace.rows * row_s <= 1.01 * SLICE_S or pace.rows in {LEAST_ROWS, MOST_ROWS}


def load(text: str, tmp_path: Path) -> Any:
    """Return section storage of a configuration."""
    file = tmp_path / "config.yaml"
    file.write_text(text, encoding="utf-8")
    return config.load(file, {})


def test_the_documents_spellings_are_read(tmp_path: Path) -> None:
    """PRD.md's retention, rotation interval and buffer size have their effect; what has none is named."""
    loaded = load(
        "storage:\n  retention: {full_resolution: 24h, aggregated_1m: 3d, aggregated_5m: 10d}\n"
        "  rotation: {max_size: 500MB, interval: 6h}\n"
        "buffer: {path: /var/lib/buffer, max_size: 1GB, prune_strategy: oldest_first}\n",
        tmp_path,
    )
    section = loaded.settings.storage
    retention = section.retention
    days = [retention.full_resolution_s, retention.aggregated_1m_s, retention.aggregated_5m_s]
    assert [86_400, 3 * 86_400, 10 * 86_400] == days
    assert (6 * 3600, 1 << 30) == (section.archive.interval_s, section.max_size)
    no_effect = ("storage.rotation.max_size", "buffer.path", "buffer.prune_strategy")
    assert ["storage.rotation.interval", "buffer.max_size", *no_effect] == [
        warning.split(":")[0] for warning in loaded.warnings
    ]


def test_the_defaults_are_the_documents(tmp_path: Path) -> None:
    """48 h, 7 d, 30 d, 5 GB."""
    section = load("", tmp_path).settings.storage
    assert (48 * 3600, 7 * 86_400, 30 * 86_400, 7 * 86_400) == (
        section.retention.full_resolution_s,
        section.retention.aggregated_1m_s,
        section.retention.aggregated_5m_s,
        section.retention.unverified_after_s,
    )
    assert 5 << 30 == section.max_size
