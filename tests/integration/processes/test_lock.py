"""What only one process may hold."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from common import lock
from common.lock import AlreadyRunning
from tests.harness import ROOT

HOLDER = """
import sys, time
from pathlib import Path
from common import lock
lock.hold(Path(sys.argv[1]), "it")
print("held", flush=True)
time.sleep(600)
"""


def test_a_second_holder_is_told_who_has_it(tmp_path: Path) -> None:
    """The message names what is held, by which process, and the file."""
    path = tmp_path / "x.lock"
    descriptor = lock.hold(path, "the thing")
    with pytest.raises(AlreadyRunning) as caught:
        lock.hold(path, "the thing")
    assert f"the thing is in use by process {os.getpid()} (lock file {path})" == str(caught.value)
    os.close(descriptor)
    os.close(lock.hold(path, "the thing"))


def test_the_kernel_releases_the_lock_of_a_killed_process(tmp_path: Path) -> None:
    """No stale lock after kill -9, although the file is left behind."""
    path = tmp_path / "x.lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert "held\n" == holder.stdout.readline()
        with pytest.raises(AlreadyRunning, match=f"process {holder.pid} "):
            lock.hold(path, "it")
        holder.kill()
    assert path.exists()
    os.close(lock.hold(path, "it"))


def test_a_longer_note_of_an_earlier_holder_is_overwritten(tmp_path: Path) -> None:
    """The message never mixes two process ids."""
    path = tmp_path / "x.lock"
    path.write_text("4194303\n", encoding="ascii")
    descriptor = lock.hold(path, "it")
    assert str(os.getpid()) == path.read_text(encoding="ascii").split()[0]
    os.close(descriptor)


def test_a_full_disk_does_not_refuse_the_lock(tmp_path: Path) -> None:
    """The lock is the kernel's; only the note of who holds it needs room."""
    path = tmp_path / "x.lock"
    path.symlink_to("/dev/full")
    os.close(lock.hold(path, "it"))


def test_the_lock_file_is_private_and_not_inherited(tmp_path: Path) -> None:
    """A child that outlives its parent does not hold the lock on."""
    path = tmp_path / "x.lock"
    descriptor = lock.hold(path, "it")
    assert 0o600 == path.stat().st_mode & 0o777
    assert not os.get_inheritable(descriptor)
    os.close(descriptor)


def test_a_file_that_cannot_be_made_is_an_os_error(tmp_path: Path) -> None:
    """It is not confused with somebody holding it."""
    with pytest.raises(FileNotFoundError):
        lock.hold(tmp_path / "absent" / "x.lock", "it")
