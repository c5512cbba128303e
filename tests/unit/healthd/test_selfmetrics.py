"""Heartbeats become samples: readings as they are, histograms in three families, nothing from the silent."""

from __future__ import annotations

import os
from pathlib import Path

from common import VERSION, catalog
from common.instruments import Instruments
from common.sample import Sample, is_deliverable
from healthd import procfs
from healthd.programs import Snapshot
from healthd.selfmetrics import readings, samples
from healthd.verdict.rollup import assess
from tests.unit.healthd.build import LIMITS, NOW_S, beat, collector, known, program, shipper, supervision


def published(status: Snapshot, proc: Path) -> list[Sample]:
    """What healthd would publish."""
    return list(samples(readings(status, assess(status, LIMITS, NOW_S), proc)))


def of(found: list[Sample], name: str) -> dict[tuple[str, ...], object]:
    """Values of a metric by its label values."""
    return {tuple(sample.tags.values()): sample.value for sample in found if sample.name == name}


def recorded(proc: Path, pid: int) -> None:
    """A process with a name that tries to look like more fields."""
    (proc / str(pid)).mkdir()
    stat = f"{pid} (a) R 1 (b) S 1 1 1 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 1 0 100 1000000 300 0"
    (proc / str(pid) / "stat").write_text(stat + "\n", encoding="ascii")
    (proc / str(pid) / "statm").write_text("5000 300 200 1 0 400 0\n", encoding="ascii")
    (proc / str(pid) / "smaps_rollup").write_text("1000-2000 ---p 0 00:00 0 [rollup]\nRss: 9 kB\nPss: 7 kB\n")


def test_the_kernels_counts_come_with_the_program(tmp_path: Path) -> None:
    """Memory and CPU time of a running process are read from /proc under its name."""
    recorded(tmp_path, 100)
    found = published(known(collector(pid=100, restarts=3), shipper(pid=101)), tmp_path)
    page, ticks = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")
    assert 300 * page == of(found, "process.resident_bytes")[("cpu",)]
    assert 7 * 1024 == of(found, "process.pss_bytes")[("cpu",)]
    assert 300 / ticks == of(found, "process.cpu_seconds_total")[("cpu",)]
    assert 3 == of(found, "process.restarts_total")[("cpu",)]
    assert ("shipper",) not in of(found, "process.resident_bytes")


def test_a_process_that_is_not_running_has_no_readings(tmp_path: Path) -> None:
    """Silent, stopped and given-up processes are down, and nothing else is said of them."""
    recorded(tmp_path, 100)
    counted = [["counter", "collector.metrics_collected_total", {"collector": "x"}, 1]]
    down = {
        "silent": known(collector(age_s=6.1, readings=counted)),
        "stopped": known(collector(state="stopping", readings=counted)),
        "fatal": known(collector(readings=counted), supervision=supervision(program("cpu", "FATAL"))),
    }
    for status in down.values():
        found = published(status, tmp_path)
        assert 0 == of(found, "process.up")[("cpu",)]
        assert {} == of(found, "collector.metrics_collected_total")
        assert ("cpu",) not in of(found, "process.resident_bytes")


def test_a_histogram_becomes_cumulative_buckets(tmp_path: Path) -> None:
    """Buckets carry `le` as Prometheus writes it; sum and count stand beside them."""
    value = [[0.001, 0.5, 10.0], [1, 3, 3, 4], 25.5]
    spoke = collector(readings=[["histogram", "collector.collection_duration_seconds", {"collector": "cpu"}, value]])
    found = published(known(spoke, without=["memory"]), tmp_path)
    name = "collector.collection_duration_seconds"
    expected = {("cpu", "0.001"): 1, ("cpu", "0.5"): 3, ("cpu", "10.0"): 3, ("cpu", "+Inf"): 4}
    assert expected == of(found, f"{name}_bucket")
    assert ({("cpu",): 25.5}, {("cpu",): 4}) == (of(found, f"{name}_sum"), of(found, f"{name}_count"))


def test_a_series_is_published_once(tmp_path: Path) -> None:
    """Where two processes claim one series, the first has it: two values of one millisecond are one too many."""
    same = [["counter", "publisher.dropped_samples_total", {"reason": "outbox_full"}, 7]]
    other = [["counter", "publisher.dropped_samples_total", {"reason": "outbox_full"}, 8]]
    found = published(known(collector("cpu", readings=same), collector("memory", readings=other)), tmp_path)
    assert {("outbox_full",): 7} == of(found, "publisher.dropped_samples_total")


def test_a_real_process_gives_samples_that_can_be_delivered() -> None:
    """Every sample made of a real process' instruments is deliverable and in the catalogue."""
    instruments = Instruments()
    instruments.count("storage.commits_total", 5)
    instruments.gauge("storage.wal_size_bytes", 0)
    instruments.observe("storage.commit_duration_seconds", 0.2)
    spoke = beat("buffer", pid=os.getpid(), readings=instruments.readings())
    found = published(known(spoke), procfs.PROC)
    assert all(map(is_deliverable, found))
    assert [] == [sample.name for sample in found if catalog.find(sample.name).help == "Not in the catalogue."]
    assert {(VERSION,): 1} == of(found, "belabox_metrics.info")
    assert 1_000_000 < float(str(of(found, "process.resident_bytes")[("buffer",)]))
