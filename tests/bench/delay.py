"""How long ingest waits while upkeep works: a real buffer process, urgent samples, the time to their ack."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from buffer import settled_clock
from buffer.service import build
from common import clock, service
from common.instruments import Instruments
from common.log import Log
from common.publisher import Publisher
from common.sample import Sample
from tests.harness import ROOT

BETWEEN_S = 0.005  # from one ack to the next sample


def acks_s(run_dir: Path, database: Path, is_over: Callable[[], bool], environment: Mapping[str, str]) -> list[float]:
    """Return the time from publishing to the ack, in seconds, of one urgent sample after another.

    Args:
        run_dir: a folder with a short path.
        database: the file the buffer is to work on; its upkeep begins at once.
        is_over: asked after each ack.
        environment: more keys for the buffer.
    """
    variables = {"BELABOX_RUN__DIR": str(run_dir), "BELABOX_STORAGE__PATH": str(database), **environment}
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.delay"],
        cwd=ROOT,
        env={**os.environ, **variables},
        stdout=subprocess.DEVNULL,
    )
    publisher = Publisher("delay", run_dir, Instruments(), Log("delay"), 1000)
    delays: list[float] = []
    try:
        while child.poll() is None and not (delays and is_over()):
            began_s = time.perf_counter()
            publisher.publish([Sample("bench.delay", began_s)], clock.wall_ms(), urgent=True)
            while publisher.unacked_samples and child.poll() is None:
                publisher.socket.poll(1000)
                publisher.receive()
            delays.append(time.perf_counter() - began_s)
            time.sleep(BETWEEN_S)
    finally:
        publisher.close()
        child.send_signal(signal.SIGTERM)
        child.wait(60)
    return delays[1:]  # the first one waited for the process to start


if __name__ == "__main__":
    settled_clock.SETTLE_S = settled_clock.UNKNOWN_SETTLE_S = 0.0
    sys.exit(service.main(build, service.options_parser("tests.bench.delay", "A buffer.").parse_args()))
