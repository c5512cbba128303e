"""The usual pair beside it: Debian's vmagent scraping prometheus-node-exporter into the same server."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import which
from typing import NamedTuple
from urllib.request import urlopen

from tests.free_port import free_port
from tests.harness import wait_for

NAMES = ("vmagent", "prometheus-node-exporter")
SCRAPE = "scrape_configs: [{{job_name: node, scrape_interval: 10s, static_configs: [{{targets: ['{target}']}}]}}]\n"


class Tally(NamedTuple):
    """What the agent has done so far.

    Attributes:
        samples: read.
        sent_bytes: written to the server, heads included.
    """

    samples: float
    sent_bytes: float


class Peers:
    """Both, running.

    Attributes:
        pids: of both.
    """

    def __init__(self, pids: list[int], address: str) -> None:
        self.pids = pids
        self._address = address

    def tally(self) -> Tally:
        """Return what the agent says of itself."""
        with urlopen(f"http://{self._address}/metrics", timeout=5) as answer:
            rows = answer.read().decode().splitlines()
        names = ("vm_promscrape_scraped_samples_sum", "vmagent_remotewrite_conn_bytes_written_total")
        found = [(name, float(row.split()[-1])) for row in rows for name in names if row.startswith(name)]
        return Tally(*(sum(value for other, value in found if other == name) for name in names))


@contextmanager
def running(folder: Path, server: str) -> Iterator[Peers | None]:
    """Run both, every 10 s, to a server; None where one is not installed."""
    if missing():
        yield None
        return
    exporter, agent = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    (folder / "scrape.yaml").write_text(SCRAPE.format(target=exporter), encoding="ascii")
    commands = (
        ["prometheus-node-exporter", f"--web.listen-address={exporter}"],
        [
            "vmagent", f"-httpListenAddr={agent}", f"-promscrape.config={folder / 'scrape.yaml'}",
            f"-remoteWrite.url={server}/api/v1/write", f"-remoteWrite.tmpDataPath={folder / 'vmagent'}",
        ],
    )  # fmt: skip
    started = [
        subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={"PATH": os.environ["PATH"], "GOMAXPROCS": "1"},
        )
        for command in commands
    ]
    peers = Peers([process.pid for process in started], agent)
    try:
        wait_for("vmagent's first scrape", lambda: _has_scraped(peers), 60)
        yield peers
    finally:
        for process in started:
            process.terminate()
            process.wait(30)


def missing() -> list[str]:
    """Return what would have to be installed."""
    return [name for name in NAMES if which(name) is None]


def _has_scraped(peers: Peers) -> bool:
    try:
        return peers.tally().samples > 0
    except OSError:
        return False
