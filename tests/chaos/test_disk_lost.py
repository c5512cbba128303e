"""A place that cannot be written: read-only, immutable, limited, forbidden; at the start or from some moment on."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from buffer.storage import database
from tests import oracle
from tests.chaos.disks import fill, folder, patient, small_disk, stored
from tests.chaos.failing_disk import READ, SYNC, WRITE, failing_disk
from tests.harness import HANGS_S, ROOT, wait_for
from tests.launcher import program

__all__ = ["folder"]

NOBODY = 65_534
# From linux/prctl.h and linux/capability.h: root without these is stopped by permissions like everybody else.
PR_CAPBSET_DROP = 24
CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER = 1, 2, 3


def test_file_that_cannot_be_written_any_more(folder: Path) -> None:
    """Files that turn immutable while open, as on a card that goes read-only, pause ingest; then all is stored."""
    with patient(folder / "home", folder / "run") as treated:
        treated.wait_until("samples are stored", treated.publish(1_000))
        files = [str(folder / "home" / name) for name in ("metrics.db", "metrics.db-wal")]
        if subprocess.run(["chattr", "+i", *files], check=False, capture_output=True).returncode:
            pytest.skip("NOT ALLOWED TO MAKE FILES IMMUTABLE: what a read-only card does was not tested")
        try:
            acked = treated.publish(5_000)
            treated.wait_until("ingest pauses", lambda: bool(treated.buffer.status.paused))
            assert not acked()
        finally:
            subprocess.run(["chattr", "-i", *files], check=True)
        treated.wait_until("all is acked", acked)
        assert dict.fromkeys(range(6000), 1) == stored(folder / "home/metrics.db", "patient.number")


@pytest.mark.parametrize("failing", [READ, WRITE, SYNC])
def test_disk_that_fails_for_a_while(folder: Path, failing: str) -> None:
    """Reads, writes or syncs that end in EIO are reported, end nothing, and cost no sample."""
    with failing_disk() as disk, patient(folder / "home", folder / "run") as treated:
        treated.wait_until("samples are stored", treated.publish(1_000))
        disk.failing.add(failing)
        acked = treated.publish(2_000)
        treated.wait_until("the disk fails", lambda: disk.failed > 2 or acked())
        treated.ask(op="lease", priority=2, max_samples=500, before_ms=None)
        treated.buffer.checkpoints.checkpoint()
        treated.wait_until("the disk fails", lambda: disk.failed > 0)
        disk.failing.clear()
        treated.wait_until("all is acked", acked)
        treated.wait_until("all is well", treated.is_well)
        treated.ask(op="hello")
        treated.drain_everything()
        treated.wait_until("more is acked", treated.publish(100))
        assert treated.process._error is None
    assert dict.fromkeys(range(3100), 1) == stored(folder / "home/metrics.db", "patient.number")


@pytest.mark.root
def test_start_on_a_read_only_disk_waits(folder: Path) -> None:
    """The buffer starts, says why it takes nothing, and takes everything as soon as the disk can be written."""
    with small_disk(folder, 12) as disk:
        subprocess.run(["mount", "-o", "remount,ro", "tmpfs", str(disk)], check=True)
        with patient(disk, folder / "run") as treated:
            acked = treated.publish(100)
            treated.turn()
            assert "Read-only" in str(treated.buffer.status.paused)
            assert not treated.buffer._is_open
            subprocess.run(["mount", "-o", "remount,rw", "tmpfs", str(disk)], check=True)
            treated.wait_until("all is acked", acked)
            assert treated.buffer.status.paused is None
            assert treated.process._error is None


@pytest.mark.root
def test_start_on_a_full_disk_waits(folder: Path) -> None:
    """Not even an empty database fits: the buffer waits for room, and then runs."""
    with small_disk(folder, 12) as disk:
        (disk / "metrics.db.lock").touch()
        ballast = fill(disk)
        with patient(disk, folder / "run") as treated:
            acked = treated.publish(100)
            treated.turn()
            assert treated.buffer.status.paused
            ballast.unlink()
            treated.wait_until("all is acked", acked)


def oracle_and_buffer(folder: Path, **popen: Any) -> tuple[list[subprocess.Popen[bytes]], Path]:
    """Start the real buffer and a producer that counts; return both, and the ledger."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "BELABOX_RUN__DIR": str(folder / "run"),
        "BELABOX_STORAGE__PATH": str(folder / "home/metrics.db"),
        "BELABOX_STORAGE__COMMIT_INTERVAL": "100ms",
    }
    ledger = folder / "ledger"
    commands = (["buffer"], ["tests.oracle", "--ledger", str(ledger)])
    started = []
    for command, options in zip(commands, (popen, {}), strict=True):
        with (folder / f"{command[0]}.log").open("wb") as log:
            started.append(
                program([sys.executable, "-m", *command], cwd=ROOT, env=environment, stdout=log, stderr=log, **options)
            )
    return started, ledger


def settle(processes: list[subprocess.Popen[bytes]], database: Path, ledger: Path) -> None:
    """Wait until the producer's ledger is in the database, each number once; stop both."""
    so_far = oracle.published(ledger)
    wait_for("the ledger so far", lambda: so_far <= stored(database, oracle.METRIC).keys(), 60)
    processes[1].send_signal(signal.SIGTERM)
    assert processes[1].wait(HANGS_S) == 0
    expected = oracle.published(ledger)
    wait_for("the whole ledger", lambda: expected <= stored(database, oracle.METRIC).keys(), 60)
    assert {1} == set(stored(database, oracle.METRIC).values())
    processes[0].send_signal(signal.SIGTERM)
    assert processes[0].wait(HANGS_S) == 0


@contextmanager
def ended(processes: list[subprocess.Popen[bytes]]) -> Iterator[None]:
    """Leave no process behind."""
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def test_limit_on_file_size_comes_and_goes(folder: Path) -> None:
    """A limit stops every write of the real buffer; lifted, it goes on without a restart and nothing is lost."""
    (folder / "home").mkdir()
    processes, ledger = oracle_and_buffer(folder)
    database = folder / "home/metrics.db"
    with ended(processes):
        wait_for("samples flowing", lambda: len(stored(database, oracle.METRIC)) > 100)
        hard = resource.prlimit(processes[0].pid, resource.RLIMIT_FSIZE)[1]
        resource.prlimit(processes[0].pid, resource.RLIMIT_FSIZE, (200_000, hard))
        log = folder / "buffer.log"
        wait_for("a report", lambda: "IOError" in log.read_text(encoding="utf-8"))
        published = len(oracle.published(ledger))
        wait_for("more samples", lambda: len(oracle.published(ledger)) > published + 200)
        resource.prlimit(processes[0].pid, resource.RLIMIT_FSIZE, (hard, hard))
        wait_for("a recovery", lambda: "takes writes again" in log.read_text(encoding="utf-8"))
        settle(processes, database, ledger)


def without_privilege() -> None:
    """Make a root process subject to permissions."""
    for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER):
        ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)


def test_permission_that_is_missing_at_start_and_given_later(folder: Path) -> None:
    """A buffer that is not allowed into its folder waits, and runs as soon as it is."""
    home = folder / "home"
    home.mkdir()
    lock_out(home)
    processes, ledger = oracle_and_buffer(folder, preexec_fn=without_privilege)
    with ended(processes):
        log, database = folder / "buffer.log", home / "metrics.db"
        wait_for("a report", lambda: "Permission denied" in log.read_text(encoding="utf-8"))
        assert processes[0].poll() is None
        let_in(home)
        wait_for("samples flowing", lambda: stored(database, oracle.METRIC))
        lock_out(home)  # lost while it runs: what is open stays open
        before = len(stored(database, oracle.METRIC))
        wait_for("more samples", lambda: len(stored(database, oracle.METRIC)) > before + 50)
        let_in(home)
        settle(processes, database, ledger)


def test_folder_that_may_not_be_looked_into_any_more(folder: Path) -> None:
    """Sizes are not known then; what is open is read and written as before."""
    with patient(folder / "home", folder / "run") as treated:
        treated.wait_until("samples are stored", treated.publish(100))
        with mock.patch.object(database, "size", side_effect=PermissionError(13, "Permission denied")):
            treated.buffer.measure()
            treated.buffer.checkpoints.step()
            assert not treated.buffer.checkpoints.checkpoint()
            assert "Permission denied" in str(treated.process._error)
            treated.wait_until("more samples are stored", treated.publish(100))
        assert treated.buffer.checkpoints.checkpoint()


def lock_out(folder: Path) -> None:
    """Take a folder's write permission from the user of this test."""
    if os.geteuid() == 0:
        os.chown(folder, NOBODY, NOBODY)
    else:
        folder.chmod(0o500)


def let_in(folder: Path) -> None:
    """Give it back."""
    os.chown(folder, os.geteuid(), os.getegid())
    folder.chmod(0o700)
