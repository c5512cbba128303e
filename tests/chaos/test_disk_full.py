"""A disk that fills up, and what the buffer does until there is room again."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from common import catalog
from common.sample import CRITICAL
from tests.chaos.disks import fill, folder, patient, small_disk, stored
from tests.chaos.patient import Patient

__all__ = ["folder"]

ALARM = "test.alarm"


@pytest.fixture
def alarm(monkeypatch: pytest.MonkeyPatch) -> str:
    """Give the name of a critical metric."""
    row = catalog.Metric(ALARM, catalog.GAUGE, "", ("slot",), "A test's.", CRITICAL, "test_alarm")
    monkeypatch.setitem(catalog.METRICS, ALARM, row)
    catalog.find.cache_clear()
    return ALARM


@pytest.mark.root
def test_full_disk_pauses_ingest_and_room_resumes_it(folder: Path, alarm: str) -> None:
    """Producers hold what they have, health says so, and everything is stored once when there is room again."""
    with small_disk(folder, 12) as disk, patient(disk, folder / "run") as treated:
        treated.wait_until("there is a reserve", lambda: treated.buffer.ingest.reserve.held)
        treated.wait_until("samples are stored", treated.publish(1_000))
        ballast = fill(disk, 64 * 1024)
        acked = treated.publish(20_000)
        treated.wait_until("ingest pauses", lambda: bool(treated.buffer.status.paused))
        assert "full" in str(treated.buffer.status.paused)
        assert treated.process._error is not None
        treated.publish(100)
        assert not acked()
        ballast.unlink()
        treated.wait_until("all is acked", acked)
        assert treated.buffer.status.paused is None
        assert treated.process._error is None
        treated.wait_until("there is a reserve again", lambda: treated.buffer.ingest.reserve.held)
        assert dict.fromkeys(range(treated.published), 1) == stored(disk / "metrics.db", "patient.number")
        kinds = treated.buffer.store._connection.execute("SELECT kind FROM events ORDER BY id").fetchall()
        assert [("storage_paused",), ("storage_resumed",)] == [kind for kind in kinds if "storage" in kind[0]][:2]


@pytest.mark.root
def test_critical_samples_fit_into_the_reserve(folder: Path, alarm: str) -> None:
    """On a full disk alarms are committed and acked within a second, ordinary samples are not."""
    with small_disk(folder, 12) as disk, patient(disk, folder / "run") as treated:
        treated.wait_until("there is a reserve", lambda: treated.buffer.ingest.reserve.held)
        treated.wait_until("samples are stored", treated.publish(1_000))
        ballast = fill(disk)
        acked = treated.publish(20_000)
        treated.wait_until("ingest pauses", lambda: bool(treated.buffer.status.paused))
        before = treated.published
        for _ in range(20):
            treated.publish(2, alarm)
        alarms = Counter(range(before, treated.published))
        treated.wait_until("alarms are stored", lambda: stored(disk / "metrics.db", alarm) == alarms, 5)
        assert 1 == treated.process.instruments.counter("storage.reserve_used_total")
        assert treated.buffer.status.paused
        assert not acked()
        ballast.unlink()
        treated.wait_until("all is acked", acked)
        assert alarms == stored(disk / "metrics.db", alarm)


@pytest.mark.root
def test_drain_goes_on_while_the_disk_is_full(folder: Path, alarm: str) -> None:
    """Leases are given, and what became of them is kept until there is room to write it down."""
    with small_disk(folder, 12) as disk, patient(disk, folder / "run") as treated:
        treated.wait_until("samples are stored", treated.publish(5_000))
        treated.buffer.ingest.reserve.release()
        ballast = fill(disk)
        treated.publish(20_000)
        treated.wait_until("ingest pauses", lambda: bool(treated.buffer.status.paused))
        answers = [mark_one_lease(treated) for _ in range(5)]
        assert {None, "storage"} >= set(answers)
        ballast.unlink()
        treated.wait_until("everything is stored", lambda: not treated._publisher.unacked_samples)
        treated.drain_everything()


def mark_one_lease(treated: Patient) -> Any:
    """Lease and mark; return the error, if any."""
    lease = treated.ask(op="lease", priority=2, max_samples=500, before_ms=None)  # of 5,000 at least
    assert lease["lease"]
    samples = sum(len(group[3]) for group in lease["groups"])
    answer = treated.ask(op="done", lease=lease["lease"], upto=samples, batch_id="b", chunk_index=0)
    if "error" in answer:
        treated.ask(op="release", lease=lease["lease"])
    return answer.get("error")


@pytest.mark.root
def test_log_is_folded_in_while_there_is_room_for_what_it_holds(folder: Path) -> None:
    """The disk fills with samples, not with a write-ahead log that could not be folded in any more."""
    with small_disk(folder, 12) as disk, patient(disk, folder / "run") as treated:
        while not treated.buffer.status.paused:
            acked = treated.publish(2_000)
            treated.wait_until("stored or full", lambda: acked() or bool(treated.buffer.status.paused))  # noqa: B023
            treated.buffer.checkpoints.step()  # ten seconds later
        assert treated.buffer.store.wal_bytes() < treated.buffer.store.database_bytes()
        assert len(stored(disk / "metrics.db", "patient.number")) > 60_000
