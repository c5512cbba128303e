"""What systemd is told, over a real datagram socket."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.notify import Notify


@pytest.fixture(params=["file", "abstract"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """A socket as systemd opens it, and the name in the environment."""
    name = str(tmp_path / "notify") if request.param == "file" else f"@belabox-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(name.replace("@", "\0", 1) if name.startswith("@") else name)
        listener.settimeout(30)
        yield listener, name


def test_ready_once_and_alive_each_time(systemd: tuple[socket.socket, str]) -> None:
    """The status only where it has changed; nobody is watched while an operator has stopped healthd."""
    listener, name = systemd
    notify = Notify({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "180000000"})
    for status in ("ok", "ok", "degraded"):
        notify.report_progress(status)
    notify.disarm_watchdog()
    said = [listener.recv(4096).decode().split("\n") for _ in range(4)]
    assert ["WATCHDOG=1", "READY=1", "WATCHDOG_USEC=180000000", "STATUS=ok"] == said[0]
    assert [["WATCHDOG=1"], ["WATCHDOG=1", "STATUS=degraded"], ["WATCHDOG_USEC=0"]] == said[1:]


def test_a_process_of_its_own_unit_is_watched(systemd: tuple[socket.socket, str]) -> None:
    """It feeds its watchdog from its loop; a process of supervisord's, whose unit it is not, stays silent."""
    listener, name = systemd
    own, other = ({"NOTIFY_SOCKET": name, "WATCHDOG_PID": str(pid)} for pid in (os.getpid(), os.getppid()))
    Notify(other).ping_watchdog()
    Notify(own).ping_watchdog()
    listener.setblocking(False)
    assert (b"WATCHDOG=1", None) == (listener.recv(4096), _more(listener))


def _more(listener: socket.socket) -> bytes | None:
    try:
        return listener.recv(4096)
    except BlockingIOError:
        return None


def test_without_systemd_nothing_happens(tmp_path: Path) -> None:
    """Neither without a name nor with one that nobody listens at."""
    Notify({}).report_progress("ok")
    Notify({"NOTIFY_SOCKET": str(tmp_path / "nobody")}).report_progress("ok")
