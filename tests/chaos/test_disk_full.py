"""Nowhere to write: a full disk, a read-only one, a lost permission, a limit; and how it goes on afterwards."""

from __future__ import annotations

import ctypes
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw
import pytest

from common import catalog
from common.sample import CRITICAL
from tests import oracle
from tests.chaos.patient import Patient
from tests.harness import ROOT, wait_for

ALARM = "test.alarm"
NOBODY = 65_534
# From linux/prctl.h and linux/capability.h: root without these is stopped by permissions like everybody else.
PR_CAPBSET_DROP = 24
CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER = 1, 2, 3
IMMUTABLE = "chattr"


@pytest.fixture
def folder() -> Iterator[Path]:
    """Give a folder with a short path."""
    path = Path(tempfile.mkdtemp(prefix="bmd-", dir="/tmp"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def alarm(monkeypatch: pytest.MonkeyPatch) -> str:
    """Give the name of a critical metric."""
    row = catalog.Metric(ALARM, catalog.GAUGE, "", ("slot",), "A test's.", CRITICAL, "test_alarm")
    monkeypatch.setitem(catalog.METRICS, ALARM, row)
    catalog.find.cache_clear()
    return ALARM


@contextmanager
def small_disk(folder: Path, megabytes: int, options: str = "") -> Iterator[Path]:
    """Give a file system of that size, where mounting is allowed; elsewhere the test is skipped, loudly."""
    disk = folder / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m{options}", "tmpfs", str(disk)]
    if os.geteuid() or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("NOT ALLOWED TO MOUNT: what a full or read-only disk does was not tested")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


@contextmanager
def patient(home: Path, run_dir: Path, **settings: str) -> Iterator[Patient]:
    """Give a buffer of this process, and end it."""
    before = dict(os.environ)
    treated = Patient(home, run_dir, **settings)
    try:
        yield treated
    finally:
        treated.close()
        os.environ.clear()
        os.environ.update(before)


def fill(disk: Path, leave_bytes: int = 0) -> Path:
    """Take all room but some with one file, and return it."""
    ballast = disk / "ballast"
    status = os.statvfs(disk)
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, status.f_bavail * status.f_frsize - leave_bytes)
    return ballast


def stored(database: Path, name: str) -> Counter[int]:
    """Count how often each number of a metric is in a database, if there is one yet."""
    if not database.exists():
        return Counter()
    connection = apsw.Connection(str(database), flags=apsw.SQLITE_OPEN_READONLY)
    connection.set_busy_timeout(5_000)
    try:
        rows = connection.execute("SELECT metric_value FROM metrics WHERE metric_name = ?", (name,)).fetchall()
    except apsw.SQLError:
        rows = []  # no tables yet
    finally:
        connection.close()
    return Counter(int(row[0]) for row in rows)  # type: ignore[arg-type]


def test_full_disk_pauses_ingest_and_room_resumes_it(folder: Path, alarm: str) -> None:
    """Producers hold what they have, health says so, and everything is stored once when there is room again."""
    with small_disk(folder, 12) as disk, patient(disk, folder / "run") as treated:
        treated.wait_until("there is a reserve", lambda: treated.stage.ingest.reserve.held)
        treated.wait_until("samples are stored", treated.publish(1_000))
        ballast = fill(disk, 64 * 1024)
        acked = treated.publish(20_000)
        treated.wait_until("ingest pauses", lambda: bool(treated.process.facts["paused"]))
        assert "full" in treated.process.facts["paused"]
        assert treated.process._error is not None
        treated.publish(100)
        assert not acked()
        ballast.unlink()
        treated.wait_until("all is acked", acked)
        assert treated.process.facts["paused"] is None
        assert treated.process._error is None
        treated.wait_until("there is a reserve again", lambda: treated.stage.ingest.reserve.held)
        assert dict.fromkeys(range(treated.published), 1) == stored(disk / "metrics.db", "patient.number")


def test_critical_samples_fit_into_the_reserve(folder: Path, alarm: str) -> None:
    """On a full disk alarms are committed and acked within a second, ordinary samples are not."""
    with small_disk(folder, 12) as disk, patient(disk, folder / "run") as treated:
        treated.wait_until("there is a reserve", lambda: treated.stage.ingest.reserve.held)
        treated.wait_until("samples are stored", treated.publish(1_000))
        ballast = fill(disk)
        acked = treated.publish(20_000)
        treated.wait_until("ingest pauses", lambda: bool(treated.process.facts["paused"]))
        before = treated.published
        for _ in range(20):
            treated.publish(2, alarm)
        alarms = Counter(range(before, treated.published))
        treated.wait_until("alarms are stored", lambda: stored(disk / "metrics.db", alarm) == alarms, 5)
        assert 1 == treated.process.instruments.counter("storage.reserve_used_total")
        assert treated.process.facts["paused"]
        assert not acked()
        ballast.unlink()
        treated.wait_until("all is acked", acked)
        assert alarms == stored(disk / "metrics.db", alarm)


def test_drain_goes_on_while_the_disk_is_full(folder: Path, alarm: str) -> None:
    """Leases are given; a mark that finds no room is answered with `storage`, and made later."""
    with small_disk(folder, 12) as disk, patient(disk, folder / "run") as treated:
        treated.wait_until("samples are stored", treated.publish(5_000))
        treated.stage.ingest.reserve.release()
        ballast = fill(disk)
        treated.publish(20_000)
        treated.wait_until("ingest pauses", lambda: bool(treated.process.facts["paused"]))
        answers = [mark_one_lease(treated) for _ in range(40)]
        assert {None, "storage"} >= set(answers)
        assert "storage" in answers
        ballast.unlink()
        treated.wait_until("everything is stored", lambda: not treated._publisher.unacked_samples)
        treated.drain_everything()


def mark_one_lease(treated: Patient) -> Any:
    """Lease and mark; return the error, if any."""
    lease = treated.ask(op="lease", priority=2, max_samples=500, before_ms=None)
    assert lease["lease"]
    samples = sum(len(group[3]) for group in lease["groups"])
    answer = treated.ask(op="done", lease=lease["lease"], upto=samples, batch_id="b", chunk_index=0)
    if "error" in answer:
        treated.ask(op="release", lease=lease["lease"])
    return answer.get("error")


def test_log_is_folded_in_while_there_is_room_for_what_it_holds(folder: Path) -> None:
    """The disk fills with samples, not with a write-ahead log that could not be folded in any more."""
    with small_disk(folder, 12) as disk, patient(disk, folder / "run") as treated:
        while not treated.process.facts["paused"]:
            acked = treated.publish(2_000)
            treated.wait_until("stored or full", lambda: acked() or bool(treated.process.facts["paused"]))  # noqa: B023
            treated.stage.fold_wal()  # ten seconds later
        assert treated.stage._store.wal_bytes() < treated.stage._store.database_bytes()
        assert len(stored(disk / "metrics.db", "patient.number")) > 60_000


def test_file_that_cannot_be_written_any_more(folder: Path) -> None:
    """Files that turn immutable while open, as on a card that goes read-only, pause ingest; then all is stored."""
    with patient(folder / "home", folder / "run") as treated:
        treated.wait_until("samples are stored", treated.publish(1_000))
        files = [str(folder / "home" / name) for name in ("metrics.db", "metrics.db-wal")]
        if subprocess.run([IMMUTABLE, "+i", *files], check=False, capture_output=True).returncode:
            pytest.skip("NOT ALLOWED TO MAKE FILES IMMUTABLE: what a read-only card does was not tested")
        try:
            acked = treated.publish(5_000)
            treated.wait_until("ingest pauses", lambda: bool(treated.process.facts["paused"]))
            assert not acked()
        finally:
            subprocess.run([IMMUTABLE, "-i", *files], check=True)
        treated.wait_until("all is acked", acked)
        assert dict.fromkeys(range(6000), 1) == stored(folder / "home/metrics.db", "patient.number")


def test_start_on_a_read_only_disk_waits(folder: Path) -> None:
    """The buffer starts, says why it takes nothing, and takes everything as soon as the disk can be written."""
    with small_disk(folder, 12) as disk:
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        with patient(disk, folder / "run") as treated:
            acked = treated.publish(100)
            treated.turn()
            assert "Read-only" in treated.process.facts["paused"]
            assert not treated.stages
            subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
            treated.wait_until("all is acked", acked)
            assert treated.process.facts["paused"] is None
            assert treated.process._error is None


def test_start_on_a_full_disk_waits(folder: Path) -> None:
    """Not even an empty database fits: the buffer waits for room, and then runs."""
    with small_disk(folder, 12) as disk:
        (disk / "metrics.db.lock").touch()
        ballast = fill(disk)
        with patient(disk, folder / "run") as treated:
            acked = treated.publish(100)
            treated.turn()
            assert treated.process.facts["paused"]
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
                subprocess.Popen(
                    [sys.executable, "-m", *command], cwd=ROOT, env=environment, stdout=log, stderr=log, **options
                )
            )
    return started, ledger


def settle(processes: list[subprocess.Popen[bytes]], database: Path, ledger: Path) -> None:
    """Wait until the producer's ledger is in the database, each number once; stop both."""
    so_far = oracle.published(ledger)
    wait_for("the ledger so far", lambda: so_far <= stored(database, oracle.METRIC).keys(), 60)
    processes[1].send_signal(signal.SIGTERM)
    assert processes[1].wait(10) == 0
    expected = oracle.published(ledger)
    wait_for("the whole ledger", lambda: expected <= stored(database, oracle.METRIC).keys(), 60)
    assert {1} == set(stored(database, oracle.METRIC).values())
    processes[0].send_signal(signal.SIGTERM)
    assert processes[0].wait(10) == 0


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
