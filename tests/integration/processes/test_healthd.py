"""`python -m healthd` as it runs: heartbeats in over its socket, health out over HTTP."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
import zmq

from common import clock, wire
from common.publisher import connect, send_heartbeat
from tests.harness import HANGS_S, ROOT, wait_for
from tests.launcher import program
from tests.patience import Patience
from tests.scratch import scratch

INTERVAL_S = 0.2


class Others:
    """The other processes: their heartbeats, sent from a thread until they are silenced.

    Attributes:
        status: by process, what it says of itself; take one out and it is silent.
        errors: by process, the error it reports.
    """

    def __init__(self, run_dir: Path) -> None:
        self.status: dict[str, dict[str, Any]] = {
            "buffer": {"kind": "buffer", "pending": [0, 0, 3, 0]},
            "shipper": {"kind": "shipper", "due": [0, 0, 0, 0], "last_upload_ms": None},
            "cpu": {"kind": "collector"},
            "memory": {"kind": "collector"},
        }
        self.errors: dict[str, str] = {}
        self._run_dir = run_dir
        self._started_ms = clock.wall_ms()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat)
        self._thread.start()

    def _beat(self) -> None:
        socket_ = connect(self._run_dir, "health.ipc")
        while not self._stop.wait(INTERVAL_S):
            socket_.send_multipart([wire.STATUS_TOPIC, b"garbage"])
            for process, status in list(self.status.items()):
                send_heartbeat(socket_, self._heartbeat(process, dict(status)))
        socket_.close(linger=0)

    def _heartbeat(self, process: str, status: dict[str, Any]) -> wire.Heartbeat:
        now_ms = clock.wall_ms()
        current = {"last_current_ms": now_ms} if process == "shipper" else {}
        error = self.errors.get(process)
        source = {"interval_s": 10.0, "last_collection_ms": now_ms, "error": error}
        sources = {"sources": {process: source}} if status["kind"] == "collector" else {}
        return wire.Heartbeat(
            process=process,
            pid=os.getpid(),
            epoch="e1",
            started_ms=self._started_ms,
            timestamp_ms=now_ms,
            interval_s=INTERVAL_S,
            error=None if error is None else {"error": error, "error_type": "Error", "timestamp_ms": now_ms},
            status={**status, **current, **sources},
            readings=[["counter", "collector.metrics_collected_total", {"collector": process}, 5]],
        )

    def close(self) -> None:
        """Silence everybody."""
        self._stop.set()
        self._thread.join()


class Healthd:
    """A running healthd.

    Attributes:
        slowest_s: longest time an answer took.
    """

    def __init__(self, run_dir: Path, environment: Mapping[str, str] | None = None, config: Path | None = None) -> None:
        self.run_dir = run_dir
        self.slowest_s = 0.0
        self._output = (run_dir / "healthd.out").open("ab")
        options = ["--config", str(config)] if config else []
        self.process = program(
            [sys.executable, "-m", "healthd", *options],
            cwd=ROOT,
            env={
                **{key: value for key, value in os.environ.items() if not key.startswith("BELABOX_")},
                "PYTHONPATH": str(ROOT),
                "BELABOX_RUN__DIR": str(run_dir),
                **({} if config else {"BELABOX_HEALTH__PORT": "0"}),
                **(environment or {}),
            },
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )

    def get(self, path: str) -> tuple[int, str]:
        """Return status code and text, (0, "") while it does not listen."""
        address = self.run_dir / "healthd.address"
        began_s = time.monotonic()
        try:
            with urlopen(f"http://{address.read_text(encoding='ascii').strip()}{path}", timeout=5) as answer:
                status, text = answer.status, answer.read().decode()
        except HTTPError as error:
            with error:
                status, text = error.code, error.read().decode()
        except OSError:
            return 0, ""
        self.slowest_s = max(self.slowest_s, time.monotonic() - began_s)
        return status, text

    def health(self) -> dict[str, Any]:
        """Return the report; nothing while it does not listen."""
        text = self.get("/health")[1]
        return dict(json.loads(text)) if text else {}

    def wait_for_status(self, status: str) -> dict[str, Any]:
        """Return the report once it has a status."""
        return wait_for(f"status {status}", lambda: (it := self.health()).get("status") == status and it, 20) or {}

    def log(self) -> str:
        """Return what it wrote."""
        return (self.run_dir / "healthd.out").read_text(encoding="utf-8")

    def stop(self) -> float:
        """End it as supervisord does; return how long that took besides waiting for a core."""
        began_s, patience = time.monotonic(), Patience(1)
        self.process.terminate()
        assert self.process.wait(HANGS_S) == 0
        return time.monotonic() - began_s - patience.waited_s()

    def kill(self) -> None:
        """End it whatever it does."""
        self.process.kill()
        self.process.wait()
        self._output.close()


@pytest.fixture
def run_dir() -> Iterator[Path]:
    """A run directory."""
    with scratch() as folder:
        yield folder


@pytest.fixture
def others(run_dir: Path) -> Iterator[Others]:
    """The rest of a healthy pipeline."""
    everybody = Others(run_dir)
    yield everybody
    everybody.close()


def test_health_follows_the_pipeline(run_dir: Path, others: Others) -> None:
    """From ok to degraded to error and back as processes fail and recover; always answered at once."""
    healthd = Healthd(run_dir)
    try:
        wait_for("all to be heard", lambda: len(healthd.health().get("processes", {})) == 5, 20)
        report = healthd.wait_for_status("ok")
        assert {"cpu": "ok", "memory": "ok"} == {name: it["status"] for name, it in report["collectors"].items()}
        assert (503, 200) == (healthd.get("/health/ready")[0], healthd.get("/health/live")[0])

        others.status["shipper"]["last_upload_ms"] = clock.wall_ms()
        wait_for("readiness", lambda: healthd.get("/health/ready")[0] == 200, 10)

        others.errors["cpu"] = "no such sensor"
        report = healthd.wait_for_status("degraded")
        assert [("cpu", "no such sensor")] == [(reason["part"], reason["text"]) for reason in report["reasons"]]
        assert (200, 503) == (healthd.get("/health")[0], healthd.get("/health/ready")[0])

        shipper = others.status.pop("shipper")
        report = healthd.wait_for_status("error")
        assert ["shipper", "cpu"] == [reason["part"] for reason in report["reasons"]]
        assert (503, 503) == (healthd.get("/health")[0], healthd.get("/health/ready")[0])

        del others.errors["cpu"]
        others.status["shipper"] = shipper
        healthd.wait_for_status("ok")
        assert 200 == healthd.get("/health/ready")[0]

        others.status.clear()
        wait_for("silence", lambda: healthd.health()["processes"]["buffer"]["state"] == "silent", 10)
        refused = 'healthd_refused_heartbeats_total{reason="'
        wait_for("what was refused to be counted", lambda: refused in healthd.get("/metrics")[1], 10)
        took_s = healthd.stop()
        print(f"slowest answer {healthd.slowest_s * 1000:.1f} ms, exit {took_s * 1000:.0f} ms")
        assert took_s < 1
        assert not (run_dir / "healthd.address").exists()
        for line in healthd.log().splitlines():
            assert json.loads(line)["process"] == "healthd"
    finally:
        healthd.kill()


def test_a_killed_predecessor_leaves_nothing_in_the_way(run_dir: Path, others: Others) -> None:
    """After SIGKILL the next healthd binds, hears and answers; while one runs a second one ends with 75."""
    first = Healthd(run_dir)
    try:
        first.wait_for_status("ok")
        second = Healthd(run_dir)
        assert 75 == second.process.wait(20)
        second.kill()
        assert "is in use by process" in second.log()
        assert 0o600 == stat.S_IMODE((run_dir / "healthd.address").stat().st_mode)
    finally:
        first.kill()
    again = Healthd(run_dir)
    try:
        wait_for("the rest to be heard again", lambda: len(again.health().get("collectors", {})) == 2, 20)
        assert again.stop() < 1
    finally:
        again.kill()


def test_heartbeats_are_published_as_samples(run_dir: Path, others: Others) -> None:
    """What the processes count arrives at the buffer's socket as a batch of healthd."""
    ingest: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.XSUB)
    ingest.bind(f"ipc://{run_dir}/ingest.ipc")
    ingest.send(b"\x01" + wire.SAMPLE_TOPIC)
    healthd = Healthd(run_dir, {"BELABOX_HEALTH__SELF_METRICS_INTERVAL": "1s"})
    try:

        def received() -> set[tuple[str, str]]:
            if not ingest.poll(1000):
                return set()
            batch, refused = wire.decode_batch(ingest.recv_multipart()[1])
            assert ("healthd", 0) == (batch.producer, refused)
            found = {(sample.name, tag) for sample in batch.samples for tag in sample.tags.values()}
            return found if ("collector.metrics_collected_total", "cpu") in found else set()

        found = wait_for("a batch with a collector in it", received, 20)
        assert {("process.up", "shipper"), ("process.resident_bytes", "memory")} <= found
    finally:
        healthd.kill()
        ingest.close(linger=0)


def test_a_busy_port_is_waited_for(run_dir: Path, others: Others) -> None:
    """While its port is taken healthd says so and goes on; SIGHUP and a free port let it listen."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config = run_dir / "config.yaml"
        config.write_text(f"health: {{port: {port}}}\n", encoding="ascii")
        healthd = Healthd(run_dir, config=config)
        try:
            wait_for("its complaint", lambda: f"cannot listen on 127.0.0.1 port {port}" in healthd.log(), 20)
            taken.close()
            wait_for("the port", lambda: healthd.get("/health")[0], 20)
            assert f"127.0.0.1:{port}\n" == (run_dir / "healthd.address").read_text(encoding="ascii")

            wait_for("all to be heard", lambda: len(healthd.health().get("collectors", {})) == 2, 20)
            config.write_text(
                "health: {port: 0, path: /status, degraded_threshold: {pending_metrics: 1}}\n", encoding="ascii"
            )
            others.status["shipper"]["due"] = [0, 2, 0, 0]
            healthd.process.send_signal(signal.SIGHUP)
            wait_for("the new path", lambda: healthd.get("/status")[0] == 200, 20)
            wait_for("the new threshold", lambda: "more than 1 samples due" in healthd.get("/status")[1], 10)
            assert "reasons" in json.loads(healthd.get("/status")[1])
            assert port != int((run_dir / "healthd.address").read_text(encoding="ascii").rpartition(":")[2])
            assert healthd.stop() < 1
        finally:
            healthd.kill()


def test_health_disabled_opens_no_port(run_dir: Path, others: Others) -> None:
    """With health.enabled false the watch goes on without HTTP."""
    healthd = Healthd(run_dir, {"BELABOX_HEALTH__ENABLED": "false"})
    try:
        others.errors["cpu"] = "EIO"
        wait_for("trouble in the log", lambda: '"part": "cpu"' in healthd.log(), 20)
        assert not (run_dir / "healthd.address").exists()
        assert healthd.stop() < 1
    finally:
        healthd.kill()


def test_a_wrong_configuration_is_shown(run_dir: Path, others: Others) -> None:
    """Each wrong key, on this device alone, until it is mended."""
    config = run_dir / "config.yaml"
    config.write_text("health: {port: 0, bind: 0.0.0.0}\nremote: {urls: x}\n", encoding="ascii")
    healthd = Healthd(run_dir, config=config)
    try:
        report = wait_for("its report", healthd.health, 20) or {}
        errors = report["configuration"]["errors"]
        assert ["remote.urls", "health.token_file"] == [text.split(": ")[1] for text in errors]
        assert "127.0.0.1" == (run_dir / "healthd.address").read_text(encoding="ascii").partition(":")[0]
        reasons = wait_for("its reason", lambda: healthd.health()["reasons"], 20) or []
        assert "configuration" in {reason["part"] for reason in reasons if reason["severity"] == "error"}
        config.write_text("health: {port: 0}\n", encoding="ascii")
        healthd.process.send_signal(signal.SIGHUP)
        wait_for("no errors", lambda: healthd.health().get("configuration") == {"errors": [], "warnings": []}, 20)
        healthd.wait_for_status("ok")
    finally:
        healthd.kill()


def test_a_token_that_cannot_be_read_opens_nothing_until_it_can(run_dir: Path, others: Others) -> None:
    """It lives, says so in its log, and takes the file once it is mended."""
    token = run_dir / "token"
    healthd = Healthd(run_dir, {"BELABOX_HEALTH__TOKEN_FILE": str(token)})
    try:
        wait_for("its refusal", lambda: healthd.get("/health")[0] == 401, 20)
        assert 200 == healthd.get("/health/live")[0]
        wait_for("its log", lambda: "nobody can open the page until it is mended" in healthd.log(), 20)
        token.write_text("0123456789abcdef\n", encoding="ascii")
        token.chmod(0o600)
        address = (run_dir / "healthd.address").read_text(encoding="ascii").strip()
        request = Request(f"http://{address}/metrics", headers={"Authorization": "Bearer 0123456789abcdef"})
        with urlopen(request, timeout=5) as answer:
            assert 200 == answer.status
    finally:
        healthd.kill()
