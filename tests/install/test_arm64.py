"""The package on the board's kind of processor: a clean Debian 12 of arm64, which qemu-user plays on this machine.

Reads: Debian's archive, through debootstrap. Needs root, debootstrap, systemd-nspawn, and qemu-user-static registered
with the kernel (`apt-get install qemu-user-static binfmt-support`). Without systemd in it: what the unit starts is
started here.
"""

from __future__ import annotations

import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from tests.fake_vm import FakeVm
from tests.harness import ROOT, wait_for
from tests.install.machine import BUILD_S, SUITE, missing
from tests.install.test_deb import PREFIX, built

REGISTERED = Path("/proc/sys/fs/binfmt_misc/qemu-aarch64")
SAMPLES_S = 300  # an instruction costs ten
RUN = f"""
install -d -m 700 -o metrics -g metrics /run/belabox-metrics
cd /{PREFIX}
exec setpriv --reuid metrics --regid metrics --clear-groups env RUN_DIR=/run/belabox-metrics \\
    LOG_DIR=/var/log/belabox-metrics HOST_ROOT=/ SRT_AUTOSTART=false CONFIG=/etc/belabox-metrics/config.yaml \\
    BELABOX_HEALTH__PORT=0 BELABOX_COLLECTORS__CPU__INTERVAL=5s PYTHON=/{PREFIX}/.venv/bin/python \\
    .venv/bin/python deploy/supervisord.py -n -c supervisord.conf
"""


def inside(root: Path, *command: str) -> list[str]:
    """Return the command line that runs a command in the tree, with this machine's network."""
    alone = ["systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--as-pid2", f"--directory={root}"]
    return [*alone, *command]


def run(root: Path, *command: str) -> str:
    """Run a command in the tree; return what it says."""
    done = subprocess.run(
        inside(root, *command), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=BUILD_S, check=False
    )
    assert 0 == done.returncode, (command, done.stdout[-2000:], done.stderr[-2000:])
    return done.stdout


@pytest.fixture
def tree(run_dir: Path) -> Path:
    """A clean Debian, with the package in /root."""
    lacking = [*missing(), *([] if REGISTERED.exists() else ["qemu-user-static, registered"])]
    if lacking:
        pytest.skip(f"ARM64 WAS NOT TRIED, it needs: {', '.join(lacking)}")
    root = run_dir / "arm64"
    subprocess.run(
        ["debootstrap", "--arch=arm64", "--variant=minbase", "--include=python3", SUITE, str(root)],
        check=True, timeout=BUILD_S, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    built(ROOT, "arm64", run_dir / "deb").rename(root / "root/this.deb")
    return root


@contextmanager
def pipeline(root: Path) -> Iterator[None]:
    """Run what the unit runs."""
    with (root / "root/out").open("wb") as out:
        started = subprocess.Popen(inside(root, "sh", "-ec", RUN), stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    try:
        yield
    finally:
        started.send_signal(signal.SIGTERM)
        started.wait(120)
        print((root / "root/out").read_text(encoding="utf-8", errors="replace")[-3000:])


def times_ms(root: Path) -> list[int]:
    """Return when the processor was looked at, oldest first."""
    database = root / "var/lib/belabox-metrics/metrics.db"
    if not database.exists():
        return []
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=10)) as connection:
        query = "SELECT DISTINCT timestamp_ms FROM metrics WHERE metric_name = 'system.load1' ORDER BY timestamp_ms"
        known = connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'metrics'").fetchone()
        return [time_ms for (time_ms,) in connection.execute(query)] if known else []


@pytest.mark.timeout(3600)
def test_the_board_s_package_runs_and_goes(tree: Path, vm: FakeVm) -> None:
    """Two minutes of samples reach the server; removed, the data stays; purged, nothing does."""
    assert "aarch64" == run(tree, "uname", "-m").strip()
    run(tree, "dpkg", "-i", "/root/this.deb")
    assert "belabox-metrics" in run(tree, "belabox-metrics", "version")
    config = tree / "etc/belabox-metrics/config.yaml"
    config.write_text(f"remote: {{url: '{vm.import_url}'}}\n", encoding="utf-8")
    with pipeline(tree):
        wait_for("uploads", vm.samples, SAMPLES_S)
        wait_for("two minutes of samples", lambda: span_ms(tree) >= 120_000, SAMPLES_S)
    times = times_ms(tree)
    longest_ms = max(after - before for before, after in pairwise(times))
    print(f"{len(times)} collects, the longest gap {longest_ms / 1000:.1f} s; {len(vm.samples())} samples uploaded")
    run(tree, "dpkg", "--remove", "belabox-metrics")
    assert ([], True) == (list((tree / PREFIX).glob("*")), bool(times_ms(tree)))
    run(tree, "dpkg", "--purge", "belabox-metrics")
    assert [] == [path for path in tree.rglob("*belabox*") if not path.is_relative_to(tree / "root")]


def span_ms(root: Path) -> int:
    """Return how long samples have come."""
    times = times_ms(root)
    return times[-1] - times[0] if times else 0
