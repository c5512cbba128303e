"""Leases of the real buffer across its end, its shipper's end, and a command that asks it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from common import clock, wire
from common.sample import Sample
from deploy.command.place import PipelinePlace
from deploy.command.quarantine import quarantine
from tests.harness import wait_for
from tests.unit.buffer.clients import WITH_ALARMS, Producer, Shipper, accounted, values
from tests.unit.buffer.databases import NOW_MS, query
from tests.unit.common.child import Child


@pytest.fixture
def running(run_dir: Path) -> Iterator[Child]:
    """The real buffer, with metrics of every priority."""
    with Child(run_dir, ["-c", WITH_ALARMS]) as child:
        yield child


@pytest.fixture
def environment(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database's path, as the command finds it."""
    monkeypatch.setenv("BELABOX_STORAGE__PATH", str(run_dir / "metrics.db"))


@pytest.fixture
def producer(running: Child, run_dir: Path) -> Iterator[Producer]:
    """A producer of the buffer's."""
    with Producer(run_dir) as one:
        yield one


@pytest.fixture
def shipper(running: Child, run_dir: Path) -> Iterator[Shipper]:
    """The buffer's shipper."""
    with Shipper(run_dir) as one:
        yield one


def test_refused_samples_are_listed_and_released_by_a_command(
    producer: Producer, shipper: Shipper, run_dir: Path, capsys: pytest.CaptureFixture[str], environment: None
) -> None:
    """All of them or a metric's; what is released is pending again, at its own time."""
    producer.put(Sample("m", 7, {"l": "v"}), Sample("n", 8), Sample("text", "kept"))
    producer.settle()
    shipper.ask("reject", lease=shipper.lease()[0], upto=2, reason="400 bad line")
    place = PipelinePlace(run_dir, run_dir, None, is_device=False)
    for action, metric in (("list", None), ("release", "m"), ("list", None), ("release", None)):
        assert 0 == quarantine(place, argparse.Namespace(action=action, metric=metric))
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith(f'm {{"l":"v"}}: 1 samples, {clock.rfc3339(NOW_MS)} to ')
    assert ["2 samples in quarantine", "1 samples are pending again"] == said[2:4]
    assert ["1 samples in quarantine", "1 samples are pending again"] == said[-2:]
    assert [7, 8] == sorted(values(shipper.lease()[1]))


def test_a_buffer_that_ends_takes_the_mark_of_what_is_under_way(
    producer: Producer, shipper: Shipper, running: Child, run_dir: Path
) -> None:
    """One chunk's; the rest of the lease is pending, and there is no other lease."""
    producer.numbers(range(50))
    producer.settle()
    lease, _ = shipper.lease()
    running.process.terminate()
    wait_for("its end to begin", lambda: shipper.ask("lease", priority=2, max_samples=1).get("error") == "closing")
    assert {"marked": 20} == accounted(shipper.done(lease, 20))
    assert 0 == running.wait()
    pending = query(run_dir / "metrics.db", "SELECT count(*) FROM metrics WHERE uploaded = 0 AND metric_name = 'm'")
    assert [(30,)] == pending


def test_a_lease_of_a_dead_buffer_is_unknown_to_the_next(
    producer: Producer, shipper: Shipper, running: Child, run_dir: Path
) -> None:
    """After kill -9 nothing is marked for a lease that the new process never gave; its rows are pending."""
    producer.numbers(range(5))
    producer.settle()
    lease, _ = shipper.lease()
    running.kill()
    with Child(run_dir, ["-c", WITH_ALARMS]), Shipper(run_dir) as again:
        assert "unknown_lease" == again.done(lease, 5)["error"]
        fresh, groups = again.lease()
        assert list(range(5)) == values(groups)
        assert fresh != lease


def test_a_shipper_that_vanishes_does_not_block_the_buffer(producer: Producer, run_dir: Path) -> None:
    """Replies to a peer that is gone are dropped, and the next shipper is served."""
    producer.numbers(range(1000))
    producer.settle()
    for _ in range(20):
        with Shipper(run_dir) as gone:
            gone.socket.setsockopt(zmq.LINGER, 1000)
            for number in range(20):
                gone.socket.send(wire.pack({"v": 1, "id": number, "op": "lease", "priority": 2, "max_samples": 1000}))
    with Shipper(run_dir) as next_one:
        assert [0, 0, 1000, 0] == next_one.pending()
        assert 1000 == len(values(next_one.lease()[1]))
