"""What counts as delivered and what as refused, with a real server behind portals and proxies."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

from tests import oracle
from tests.chaos.deliveries import Deliveries
from tests.chaos.device import Device
from tests.chaos.portal import bad_backend, closings, portal, set_up, settled
from tests.chaos.server import RealServer
from tests.free_port import free_port
from tests.harness import require, wait_for

OFTEN = {"REMOTE__AUDIT__INTERVAL": "1s", "REMOTE__AUDIT__GRACE": "1s"}
CLEAN = {"lost": 0, "doubled": 0, "quarantined": 0}


def test_a_portal_that_opens_and_closes_takes_nothing(run_dir: Path) -> None:
    """With a token for writing alone: at each closing what is marked uploaded is what is at the server."""
    with set_up(run_dir, require("victoria-metrics"), write_only=True) as (device, server, way):
        assert closings(device, server, way, random.Random(1), 8.0) > 1
        account = settled(device, server)
    assert account.pop("published") > 500
    assert CLEAN == account


def test_one_bad_backend_of_two_costs_nothing(run_dir: Path) -> None:
    """Every second upload meets a page of one status or another; nothing is quarantined, everything arrives."""
    with set_up(run_dir, require("victoria-metrics"), write_only=False) as (device, server, way):
        for status in (400, 404, 413, 502):
            bad_backend(device, way, status, 2.0)
        account = settled(device, server)
    assert account.pop("published") > 100
    assert CLEAN == account


@contextmanager
def vmagent(folder: Path, target: str) -> Iterator[str]:
    """Run a vmagent that writes to a target; give its URL."""
    port = free_port()
    (folder / "queue").mkdir()
    command = [
        require("vmagent"), f"-remoteWrite.url={target}", f"-remoteWrite.tmpDataPath={folder / 'queue'}",
        f"-httpListenAddr=127.0.0.1:{port}",
    ]  # fmt: skip
    with (folder / "vmagent.log").open("ab") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            wait_for("vmagent", lambda: get(f"http://127.0.0.1:{port}/health") == "OK")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def get(url: str) -> str:
    """Return what a URL answers, nothing while nobody does."""
    try:
        with urlopen(url, timeout=10) as answer:
            return str(answer.read().decode())
    except OSError:
        return ""


def test_a_queue_before_the_server_is_waited_for(run_dir: Path) -> None:
    """A vmagent takes everything while the server behind it is away; nothing is sent to it again."""
    (run_dir / "vm").mkdir()
    server = RealServer(require("victoria-metrics"), run_dir / "vm")
    server.start()
    keys = {"REMOTE__AUDIT__QUERY_URL": f"{server.url}/api/v1/query", **OFTEN}
    try:
        with (
            portal(server.port) as way,
            vmagent(run_dir, f"http://127.0.0.1:{way.port}/api/v1/write") as queue,
            Device(run_dir / "p", f"{queue}/api/v1/import", **keys) as device,
        ):
            way.mode = "down"
            device.publish("--age", "600")  # the windows of its samples are over
            wait_for("samples to be taken", lambda: len(device.uploaded()) > 200, 60)
            device.stop("oracle")
            wait_for("the audit to wait", lambda: "something queues before it" in device.log("shipper"), 60)
            way.mode = "pass"
            account = settled(device, server)
            assert "missing at the server" not in device.log("buffer")
    finally:
        server.kill()
    assert account.pop("published") > 200
    assert CLEAN == account


def test_a_storage_node_that_lost_its_last_seconds_gets_those_and_only_those_again(
    run_dir: Path, server: RealServer
) -> None:
    """In a cluster nobody says that a vmstorage was started again: the audit finds what is missing, to the sample."""
    deliveries = Deliveries(lambda: False)
    with portal(server.port, cluster=True) as way:
        way.taken = deliveries.take
        base = f"http://127.0.0.1:{way.port}"
        keys = {"REMOTE__AUDIT__QUERY_URL": f"{base}/select/0/prometheus/api/v1/query", **OFTEN}
        with Device(run_dir / "p", f"{base}/insert/0/prometheus/api/v1/import", **keys) as device:
            device.publish("--age", "600", "--numbers", "100")  # the windows of its samples are over
            wait_for("samples to be taken", lambda: len(device.uploaded()) > 3_000, 60)
            way.mode = "partial"
            device.stop("oracle")
            published = oracle.published(device.ledger)
            wait_for("the rest to be taken", lambda: published <= device.uploaded())
            server.kill()
            server.start()
            deliveries.compare(server.times())
            asked = way.answered["partial"]
            wait_for("partial answers", lambda: way.answered["partial"] > asked + 3)
            assert 0 == deliveries.again
            way.mode = "pass"
            account = settled(device, server)
    assert account.pop("published") > 3_000
    assert CLEAN == account
    assert 0 < deliveries.lost == deliveries.again


def test_a_query_side_that_is_away_for_long_costs_nothing(run_dir: Path) -> None:
    """Uploads go on; the audit waits, and once it can ask again nothing was missing and nothing is sent again."""
    deliveries = Deliveries(lambda: False)
    with set_up(run_dir, require("victoria-metrics"), write_only=False, **OFTEN) as (device, server, way):
        way.taken = deliveries.take
        way.mode = "blind"
        device.stop("oracle")
        device.publish("--age", "600")  # the windows of its samples are over
        wait_for("samples to be taken", lambda: len(device.uploaded()) > 200, 60)
        seen = way.answered["blind"]
        wait_for("several audits", lambda: way.answered["blind"] > seen + 5, 60)
        way.mode = "pass"
        account = settled(device, server)
        wait_for("an audit", lambda: device.rows("SELECT 1 FROM windows WHERE state = 1 AND samples > 100"), 60)
        assert "missing at the server" not in device.log("buffer")
    assert account.pop("published") > 200
    assert CLEAN == account
    assert 0 == deliveries.again
