"""A wall clock that is wrong after boot, and one that jumps: every sample arrives once, at its true time."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests import oracle
from tests.fake_vm import FakeVm
from tests.harness import Pipeline, finish, wait_for
from tests.integration.test_faults import arrived, stored, with_oracle
from tests.shifted_clock import ShiftedClock

HOUR_MS = 3_600_000
IN_2017 = 1_500_000_000_000


@pytest.fixture
def shift(run_dir: Path) -> ShiftedClock:
    """Give a clock that can be stepped."""
    return ShiftedClock(run_dir / "clock", booted_ago_s=5)


def times_ms(vm: FakeVm) -> list[int]:
    """Return the timestamps of the oracle's samples at the server."""
    name = oracle.METRIC.replace(".", "_")
    return [sample.timestamp_ms for sample in vm.samples(name)]


def flowing(vm: FakeVm, least: int) -> None:
    """Wait until more than so many numbers of the oracle are at the server."""
    wait_for("samples flowing", lambda: len(arrived(vm)) > least)


def frozen(pipeline: Pipeline, vm: FakeVm) -> bool:
    """Freeze the buffer and tell whether the server takes something meanwhile; if not, let it go on."""
    pid = pipeline.kill("buffer", signal.SIGSTOP)
    before = len(vm.requests())
    try:
        vm.wait_for(lambda _: len(vm.requests()) > before, 0.5)
    except TimeoutError:
        with suppress(ProcessLookupError):  # the watchdog was quicker
            os.kill(pid, signal.SIGCONT)
        return False
    return True


def settle(pipeline: Pipeline, vm: FakeVm, ledger: Path) -> None:
    """Stop the oracle, wait for everything, and count."""
    expected = finish(ledger)
    wait_for("everything at the server", lambda: expected <= arrived(vm).keys(), 60)
    assert {number for number, times in arrived(vm).items() if times != 1} == set()
    assert {number for number, times in stored(pipeline).items() if times != 1} == set()


def test_boot_in_2017_then_ntp(run_dir: Path, shift: ShiftedClock, quick: dict[str, str]) -> None:
    """Nothing is sent while the clock is unsynchronised; after the step all arrives with right times."""
    began_ms = time.time_ns() // 1_000_000
    shift.set(IN_2017 - began_ms, synchronised=False)
    with FakeVm() as vm:
        pipeline, ledger = with_oracle(run_dir, vm, {**quick, "BELABOX_TEST_CLOCK": str(run_dir / "clock")})
        with pipeline:
            wait_for("samples stored", lambda: len(stored(pipeline)) > 300)
            assert times_ms(vm) == []
            shift.set(0, synchronised=True)
            flowing(vm, 400)
            settle(pipeline, vm, ledger)
            assert "the wall clock was stepped" in pipeline.log("buffer")
            wait_for("an event", lambda: pipeline.rows("SELECT text FROM events WHERE kind = 'clock_stepped'"))
        assert min(times_ms(vm)) >= began_ms - 1_000
        assert max(times_ms(vm)) <= time.time_ns() // 1_000_000 + 1_000


def test_clock_that_jumps_while_the_buffer_is_dead_with_uploads_under_way(
    run_dir: Path, shift: ShiftedClock, quick: dict[str, str]
) -> None:
    """What the server took, and the buffer did not hear of, is not dated anew and sent a second time."""
    # By the clock that jumps, the server may seem to be started after an upload: that would be sent again, as it was.
    settings = {**quick, "BELABOX_TEST_CLOCK": str(run_dir / "clock"), "BELABOX_REMOTE__AUDIT__ENABLED": "false"}
    with FakeVm(latency_ms=100) as vm:
        pipeline, ledger = with_oracle(run_dir, vm, settings)
        with pipeline:
            for hours in (1, 2, 3):
                flowing(vm, len(arrived(vm)) + 100)
                wait_for("an upload while the buffer is frozen", lambda: frozen(pipeline, vm))
                pipeline.kill("buffer")
                shift.set(-hours * HOUR_MS, synchronised=True)
            flowing(vm, len(arrived(vm)) + 100)
            settle(pipeline, vm, ledger)
            told = pipeline.log("shipper").count("what the server had accepted before")
        assert told  # not each time: on a busy machine the answer may be read when the next buffer is there already


@pytest.mark.parametrize("stopped", ["", "buffer"])
def test_clock_that_jumps_back_an_hour(run_dir: Path, shift: ShiftedClock, quick: dict[str, str], stopped: str) -> None:
    """No sample is lost to one that has its time already, and none is in the future; also with the buffer down."""
    with FakeVm() as vm:
        pipeline, ledger = with_oracle(run_dir, vm, {**quick, "BELABOX_TEST_CLOCK": str(run_dir / "clock")})
        with pipeline:
            flowing(vm, 200)
            if stopped:
                pipeline.ask("stopProcess", stopped)
            shift.set(-HOUR_MS, synchronised=True)
            before = len(oracle.published(ledger))
            wait_for("samples after the step", lambda: len(oracle.published(ledger)) > before + 100)
            if stopped:
                pipeline.ask("startProcess", stopped)
            settle(pipeline, vm, ledger)
        assert max(times_ms(vm)) <= time.time_ns() // 1_000_000 + 1_000
        assert min(times_ms(vm)) < time.time_ns() // 1_000_000 - HOUR_MS + 120_000
