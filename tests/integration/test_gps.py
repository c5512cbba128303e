"""A collector that is off by default, from nothing to a position of a real gpsd."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import reduce
from operator import xor
from pathlib import Path

import pytest

from tests.fake_vm import FakeVm
from tests.harness import Pipeline, require, wait_for

CONFIG = """
storage: {{path: {database}}}
collectors: {{gps: {{enabled: {enabled}, interval: 1s, address: "{address}"}}}}
"""


def sentence(text: str) -> str:
    """Return a sentence of NMEA 0183 with its checksum."""
    return f"${text}*{reduce(xor, text.encode(), 0):02X}\r\n"


def epoch() -> bytes:
    """Return what a receiver near Munich, moving at 22.4 knots, says each second."""
    now = time.gmtime()
    clock, date = time.strftime("%H%M%S.00", now), time.strftime("%d%m%y", now)
    return "".join(
        map(
            sentence,
            (
                f"GPGGA,{clock},4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,",
                "GPGSA,A,3,04,05,,09,12,,,24,,,,,2.5,1.3,2.1",
                "GPGSV,1,1,04,04,45,083,46,05,61,200,41,09,10,300,30,12,20,100,35",
                f"GPRMC,{clock},A,4807.038,N,01131.000,E,022.4,084.4,{date},003.1,W",
            ),
        )
    ).encode()


@contextmanager
def receiver() -> Iterator[str]:
    """Play a GPS receiver at a TCP port; give its address."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        ended = threading.Event()

        def play() -> None:
            with suppress(OSError):
                peer = listening.accept()[0]
                with peer:
                    while not ended.wait(0.2):
                        peer.sendall(epoch())

        thread = threading.Thread(target=play)
        thread.start()
        yield f"127.0.0.1:{listening.getsockname()[1]}"
        ended.set()
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.fixture
def gpsd() -> Iterator[str]:
    """Give the address of a gpsd that has a receiver."""
    program = require("gpsd")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with receiver() as source:
        command = [program, "-N", "-n", "-S", str(port), f"tcp://{source}"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        yield f"127.0.0.1:{port}"
        process.terminate()
        process.wait(10)


def test_gps_is_off_until_it_is_enabled(run_dir: Path, vm: FakeVm, quick: dict[str, str], gpsd: str) -> None:
    """It ends by itself and is no trouble; a reload brings it, and its numbers; the next sends it away again."""
    config = run_dir / "gps.yaml"

    def write(enabled: str) -> None:
        text = CONFIG.format(enabled=enabled, address=gpsd, database=run_dir / "metrics.db")
        config.write_text(text, encoding="ascii")

    write("false")
    gps = "collectors:gps"
    with Pipeline(run_dir, f"{vm.url}/api/v1/import", {**quick, "CONFIG": str(config)}) as pipeline:
        wait_for("the end of what is not enabled", lambda: pipeline.states().get(gps) == "EXITED")
        wait_for("everything else", pipeline.all_running)
        wait_for("its state", lambda: pipeline.health()[1]["processes"]["gps"]["state"] == "off")
        pipeline.wait_cleared("gps")

        write("true")
        pipeline.supervisorctl("signal", "HUP", "healthd", "collectors:*")
        wait_for("its start", lambda: pipeline.states().get(gps) == "RUNNING")
        position = "SELECT metric_value FROM metrics WHERE metric_name = 'gps.latitude_degrees'"
        assert wait_for("a position", lambda: pipeline.rows(position))[0][0] == pytest.approx(48.1173)

        write("false")
        pipeline.supervisorctl("signal", "HUP", "healthd", "collectors:*")
        wait_for("its end", lambda: pipeline.states().get(gps) == "EXITED")
