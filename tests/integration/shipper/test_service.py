"""The steps of the shipper on its loop, between a buffer on real sockets and a server on real sockets."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from common.service import Service
from common.status import to_wire
from shipper.http.transport import Transport, open_transport
from shipper.sender import FUTURE_MS, taken_ms
from shipper.service import Shipper
from tests.fake_vm import FakeVm
from tests.free_port import free_port
from tests.patience import Patience
from tests.unit.shipper.running import Running, Start, reload
from tests.unit.shipper.stub import NOW_MS, BoundBuffer, Row, StubBuffer, rows

SECRET = "t0k3n-that-nobody-may-see"


def test_pending_samples_are_shipped_at_the_start(vm: FakeVm, start: Start) -> None:
    """All lanes, most urgent first."""
    running = start([row for priority in (3, 2, 1, 0) for row in rows(2, f"p{priority}", priority=priority)])
    running.until("all of them", lambda: len(running.stub.uploaded) == 8)
    first_s = {sample.name: sample.first_received_s for sample in vm.samples()}
    assert ["p0", "p1", "p2", "p3"] == sorted(first_s, key=lambda name: first_s[name])


def test_p0_is_shipped_as_it_is_committed(vm: FakeVm, start: Start, stub: BoundBuffer) -> None:
    """Nobody waits for a lane's interval."""
    running = start(rows(1, priority=0))
    running.until("the first", lambda: running.stub.uploaded == [0])
    patience = Patience(5)
    stub.push(Row("alert", NOW_MS, 7, {}, 0))
    running.until("the pushed one", lambda: running.stub.uploaded == [0, 7])
    assert not patience.is_over()


def test_p0_goes_between_two_chunks_of_a_long_lane(vm: FakeVm, start: Start, stub: BoundBuffer) -> None:
    """A backlog does not keep an alert waiting."""
    running = start(rows(1000), remote__chunk_size="10", remote__chunk_bytes="1KiB")
    running.until("the beginning", lambda: running.stub.uploaded)
    stub.push(Row("alert", NOW_MS, -1, {}, 0))
    running.until("the rest", lambda: len(running.stub.uploaded) == 1001)
    assert running.stub.uploaded.index(-1) < 900


def test_a_backlog_is_shipped_in_growing_chunks(vm: FakeVm, start: Start) -> None:
    """Lease after lease without waiting for the lane's interval."""
    running = start(rows(6000))
    running.until("all of them", lambda: len(running.stub.uploaded) == 6000)
    assert [50, 200, 800, 1450] == [request.samples for request in vm.requests()][:4]
    assert len(vm.requests()) < 10
    assert list(range(6000)) == running.stub.uploaded


def test_an_outage_is_waited_out(vm: FakeVm, start: Start) -> None:
    """One probe per backoff, nothing lost, nothing released before the attempts are used up."""
    vm.set_state(down=503)
    running = start(rows(100), remote__retry__max_attempts="10")
    running.until("three attempts", lambda: len(vm.requests()) == 3)
    assert 100 == running.status["retry_queue_size"]
    assert running.status["backoff_until_ms"] > vm.requests()[2].time_s * 1000
    assert running.process._error is not None
    assert "http_503" in running.process._error["error"]
    vm.set_state(down=None)
    running.until("the rest", lambda: len(running.stub.uploaded) == 100)
    assert [] == running.stub.released
    assert (0, None) == (running.status["retry_queue_size"], running.status["backoff_until_ms"])
    assert running.process._error is None
    assert 3 == running.counter("upload_failures", reason="http_503")


def test_an_outage_is_an_outage_for_every_lane(vm: FakeVm, start: Start, stub: BoundBuffer) -> None:
    """P0 too waits for the backoff, and goes first when it is over."""
    vm.set_state(down=503)
    running = start(rows(3), remote__retry__initial_backoff="300ms", remote__retry__max_backoff="300ms")
    running.until("the first failure", lambda: len(vm.requests()) == 1)
    stub.push(Row("alert", NOW_MS, 99, {}, 0))
    running.for_a_while(0.15)
    assert 1 == len(vm.requests())
    vm.set_state(down=None)
    running.until("all of them", lambda: len(running.stub.uploaded) == 4)
    assert 99 == running.stub.uploaded[0]


def test_after_its_attempts_a_round_ends_and_the_samples_are_pending(vm: FakeVm, start: Start) -> None:
    """Never lost: the next round leases them again."""
    vm.script([{"status": 500, "repeat": 3}])
    running = start(rows(10))
    running.until("the end of the round", lambda: running.stub.released)
    assert 3 == len(vm.requests())
    running.until("the next round", lambda: len(running.stub.uploaded) == 10)


def test_without_retries_a_round_has_one_attempt(vm: FakeVm, start: Start) -> None:
    """`retry.enabled: false`; the wait is the same."""
    vm.script([{"status": 500}])
    running = start(rows(10), remote__retry__enabled="false")
    running.until("the end of the round", lambda: running.stub.released)
    assert 1 == len(vm.requests())


def test_retry_after_is_waited_for(vm: FakeVm, start: Start) -> None:
    """And written down."""
    vm.script([{"status": 429, "headers": {"Retry-After": "1"}}])
    running = start(rows(5))
    began_s = time.monotonic()
    running.until("all of them", lambda: len(running.stub.uploaded) == 5)
    assert time.monotonic() - began_s >= 1
    failed = running.log("failed")[0]
    assert (1.0, 1000, 429, 1) == (
        failed["retry_after_sec"], failed["backoff_ms"], failed["http_status"], failed["attempt"]
    )  # fmt: skip


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refused_request_keeps_everything_pending(vm: FakeVm, start: Start, status: int) -> None:
    """The health says why; it is tried again, slowly."""
    vm.script([{"status": status}])
    running = start(rows(5))
    running.until("the refusal", lambda: running.stub.released)
    assert f"http_{status}" in str(running.process._error)
    assert ([], []) == (running.stub.done, running.stub.rejected)
    running.until("the next attempt", lambda: len(running.stub.uploaded) == 5)


def test_a_partial_success_is_counted(vm: FakeVm, start: Start) -> None:
    """Exactly 25 done, 25 sent again, counter 1."""
    vm.script([{"json": {"received": 25}, "accept": 25}])
    running = start(rows(50))
    running.until("all of them", lambda: len(running.stub.uploaded) == 50)
    assert [25, 25] == [len(marked) for marked, _, _ in running.stub.done]
    assert (1, 50) == (running.counter("partial_success"), running.counter("metrics_uploaded"))


def test_a_poisoned_sample_is_quarantined_after_a_second_refusal(
    vm: FakeVm, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A minute later; meanwhile everything around it is uploaded, and it is neither sent nor lost."""
    monkeypatch.setattr("shipper.upload.SECOND_TRIAL_S", 1.0)
    vm.set_state(poison="poison")
    running = start([*rows(20), *rows(1, "poison", first=20), *rows(20, first=21)])
    running.until("the others", lambda: len(vm.samples()) == 40)
    began_s, requests = time.monotonic(), len(vm.requests())
    running.until("all of them", lambda: len(running.stub.uploaded) == 40 and running.stub.rejected)
    running.until("the end", lambda: not running.stage._server.sender.uploads)
    assert [([20], "http_400")] == running.stub.rejected
    assert (1, 40) == (running.counter("rejected_samples"), running.counter("metrics_uploaded"))
    assert time.monotonic() - began_s > 0.5
    assert len(vm.requests()) <= requests + 4


def test_a_sample_that_is_taken_at_the_second_trial_is_uploaded(
    vm: FakeVm, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server was at fault."""
    monkeypatch.setattr("shipper.upload.SECOND_TRIAL_S", 0.5)
    vm.set_state(poison="poison")
    running = start([*rows(2), *rows(1, "poison", first=2), *rows(2, first=3)])
    running.until("the others", lambda: len(vm.samples()) == 4)
    vm.set_state(poison=None)
    running.until("all of them", lambda: len(running.stub.uploaded) == 5)
    assert ([], {1}) == (running.stub.rejected, {sample.received_count for sample in vm.samples()})


def test_facts_and_counters_say_what_was_done(vm: FakeVm, start: Start) -> None:
    """Everything that `/health` and the exposition show."""
    running = start(rows(60))
    running.until("the end", lambda: len(running.stub.uploaded) == 60 and running.status["due"] is not None)
    now_ms = time.time() * 1000
    status = running.status
    assert ("shipper", "realtime", True, vm.import_url) == (
        status["kind"], status["mode"], status["enabled"], status["endpoint"]
    )  # fmt: skip
    assert (60, 0) == (status["metrics_uploaded"], status["upload_failures"])
    assert status["last_upload_ms"] == pytest.approx(now_ms, abs=5000)
    assert status["last_current_ms"] >= status["last_upload_ms"]
    assert [0, 0, 0, 0] == status["due"]
    assert sum(request.body_bytes for request in vm.requests()) == running.counter("bytes_sent")


def test_the_backlog_and_its_age_are_reported(start: Start) -> None:
    """In an empty lane nothing is old."""
    running = start(rows(5), remote__url="http://127.0.0.1:9/api/v1/import")
    running.until("a failure", lambda: running.status["upload_failures"])
    current_ms = running.status["last_current_ms"]
    past_ms = round(time.time() * 1000) - 90_000
    running.stub.pending += [row._replace(timestamp_ms=past_ms) for row in rows(2, priority=1)]
    running.stage.look()
    assert [0, 2, 0, 0] == running.status["due"]
    readings = running.process.instruments.readings()
    ages = {tags["priority"]: age_s for _, name, tags, age_s in readings if "lane_age" in name}
    assert pytest.approx(90, abs=5) == ages.pop("1")
    assert {"0": 0.0, "2": 0.0, "3": 0.0} == ages
    assert current_ms == running.status["last_current_ms"]


def test_a_round_is_one_line_and_its_chunks_are_for_developers(vm: FakeVm, start: Start) -> None:
    """With the fields that have the same names everywhere."""
    running = start(rows(60))
    running.until("the end", lambda: running.log("uploaded"))
    line, chunk = running.log("uploaded")[0], running.log("chunk uploaded")[0]
    assert ("INFO", 60, 2) == (line["level"], line["count"], line["chunks"])
    assert {"batch_id", "endpoint", "http_status", "bytes_sent", "bytes_rcvd", "duration_ms", "rounds"} <= line.keys()
    assert ("DEBUG", 0, 1, 50, 204) == (
        chunk["level"], chunk["chunk_index"], chunk["attempt"], chunk["count"], chunk["http_status"]
    )  # fmt: skip
    assert {"batch_id", "endpoint", "bytes_sent", "bytes_rcvd", "duration_ms"} <= chunk.keys()


def test_each_attempt_of_a_retry_is_a_line_and_its_repetition_in_a_minute_is_not(vm: FakeVm, start: Start) -> None:
    """With what an operator needs."""
    vm.set_state(down=503)
    running = start(rows(5), remote__retry__max_attempts="3")
    running.until("five failures", lambda: running.status["upload_failures"] == 5)
    lines = running.log("failed")
    assert [1, 2, 3] == [line["attempt"] for line in lines]
    line = lines[0]
    assert {"batch_id", "chunk_index", "attempt", "backoff_ms", "endpoint", "http_status", "error"} <= line.keys()
    assert ("WARNING", "UploadError") == (line["level"], line["error_type"])


def test_a_request_that_may_block_is_announced(vm: FakeVm, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before it begins, for as long as it can take; and taken back when there is nothing left to do."""
    said: list[float] = []
    monkeypatch.setattr(Service, "beat", lambda process, **_: said.append(process.quiet_s))
    running = start(rows(200), remote__timeout="7s", remote__connect_timeout="3s")
    running.until("the end", lambda: len(running.stub.uploaded) == 200)
    assert {11.0} == set(said) - {5.0}  # the clock check takes less
    running.until("rest", lambda: running.process.quiet_s == 0)


def test_a_buffer_that_is_away_is_an_error_until_it_is_back(
    vm: FakeVm, start_process: Callable[..., Service], run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And never the end of the process."""
    monkeypatch.setattr("shipper.service.PAUSE_S", 0.05)
    process = start_process()
    running = Running(
        process, Shipper(process, open_transport(process.config, process.log, lambda: False)), StubBuffer(rows(3))
    )
    running.until("an error", lambda: process._error)
    assert "not there" in str(process._error)
    with BoundBuffer(run_dir, running.stub):
        running.until("all of them", lambda: len(running.stub.uploaded) == 3)
    assert process._error is None


def test_a_buffer_that_was_started_anew_is_greeted_and_its_lease_is_dropped(vm: FakeVm, start: Start) -> None:
    """What it did not hear of is sent again."""
    vm.script([{"status": 503}])
    running = start(rows(10))
    running.until("a retry", lambda: running.status["retry_queue_size"] == 10)
    running.stub.forget_leases()
    running.until("all of them", lambda: len(running.stub.uploaded) == 10)
    assert running.log("a lease is void, the buffer was restarted")


def test_a_buffer_that_cannot_write_is_told_again_without_sending_again(vm: FakeVm, start: Start) -> None:
    """A full disk."""
    running = start(rows(10))
    running.stub.refuse = {"done": "storage"}
    running.until("an error", lambda: running.process._error)
    running.stub.refuse = {}
    running.until("all of them", lambda: len(running.stub.uploaded) == 10)
    assert 1 == len(vm.requests())
    assert 10 == running.counter("metrics_uploaded")


def test_switched_off_it_stays_up_and_ships_nothing(vm: FakeVm, start: Start) -> None:
    """And says so."""
    running = start(rows(10), remote__enabled="false")
    running.for_a_while(0.1)
    assert ([], 0) == (vm.requests(), running.stub.hellos)
    assert (False, "disabled") == (running.status["enabled"], running.status["mode"])


def test_a_reload_changes_the_server(vm: FakeVm, start: Start, environment: Callable[..., None]) -> None:
    """A backoff of the old one does not count; what was under way is pending and goes to the new one."""
    running = start(
        rows(10),
        remote__url="http://127.0.0.1:9/api/v1/import",
        remote__retry__initial_backoff="60s",
        remote__retry__max_backoff="60s",
    )
    running.until("a failure", lambda: running.status["backoff_until_ms"])
    reload(running, environment, remote__url=vm.import_url)
    running.until("all of them", lambda: len(running.stub.uploaded) == 10)
    assert vm.import_url == running.status["endpoint"]
    assert 2 == running.stub.hellos


def test_the_lanes_are_shown_and_which_of_them_are_set_by_themselves(start: Start) -> None:
    """Such a lane wins over the upload interval."""
    running = start(remote__upload_interval="6s", remote__priority__low="1m")
    assert {"critical": 0, "high": 2, "normal": 6, "low": 60, "set": ["low"]} == running.status["lanes"]


def test_a_reload_can_switch_it_on(vm: FakeVm, start: Start, environment: Callable[..., None]) -> None:
    """Without a restart."""
    running = start(rows(10), remote__enabled="false")
    reload(running, environment, remote__enabled="true")
    running.until("all of them", lambda: len(running.stub.uploaded) == 10)
    assert (True, "realtime") == (running.status["enabled"], running.status["mode"])


def test_without_a_token_that_can_be_used_nothing_is_sent(vm: FakeVm, start: Start) -> None:
    """What is wrong is the error of the upload; the samples stay pending."""
    running = start(rows(1), remote__auth__type="bearer_token")
    running.until("the error", lambda: running.process._error is not None)
    assert "BELABOX_TOKEN" in str(running.process._error)
    assert ([], []) == (vm.requests(), running.stub.uploaded)


def test_the_token_is_sent_and_never_shown(
    run_dir: Path, start: Start, monkeypatch: pytest.MonkeyPatch, vm: FakeVm
) -> None:
    """Not in a log, a heartbeat or a URL, whether uploads work or fail in any way."""
    (run_dir / "token").write_text(SECRET, encoding="ascii")
    (run_dir / "token").chmod(0o600)
    vm.core.token = SECRET
    vm.script([{"status": 401}, {"status": 503}, {"reset": "before"}, {"redirect": vm.url}, {"html": True}, {}])
    running = start(
        rows(10), remote__auth__type="bearer_token", remote__auth__token_file=str(run_dir / "token"),
        remote__url=f"{vm.import_url}?authKey={SECRET}",
    )  # fmt: skip
    shown: list[Any] = []
    monkeypatch.setattr(Service, "beat", lambda process, **_: shown.append((to_wire(process.status), process._error)))
    try:
        running.until("all of them", lambda: len(running.stub.uploaded) == 10)
    finally:
        vm.core.token = None
    assert running.status["upload_failures"] == 4  # the reset of a used connection is none
    assert "bearer" in {request.headers["authorization"].lower() for request in vm.requests()}
    assert SECRET not in (run_dir / "log").read_text(encoding="utf-8")
    assert SECRET not in str(shown) + str(running.status)


def test_the_clock_is_compared_after_the_first_uploads(vm: FakeVm, start: Start) -> None:
    """At the start, with the server's own health page."""
    vm.set_state(date_skew_s=60)
    running = start(rows(1))
    running.until("a skew", lambda: running.status["skew_ms"] is not None)
    assert running.status["skew_ms"] == pytest.approx(-60_000, abs=600)
    running.until("the upload", lambda: [0] == running.stub.uploaded)


def test_a_clock_that_could_not_be_asked_is_asked_again_soon(
    vm: FakeVm, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a boot the network comes later than the first question; five minutes are long."""
    monkeypatch.setattr("shipper.service.FIRST_SKEW_S", 0.0)
    monkeypatch.setattr("shipper.service.NEXT_SKEW_S", 0.05)
    running = start(rows(1), monitoring__clock_skew_url=f"http://127.0.0.1:{free_port()}/health")
    running.until("a failure", lambda: running.log("clock skew not measured"))
    running.stage._server.clocks._url = f"{vm.url}/health"  # as if it could be reached from now on
    running.until("a skew", lambda: running.status["skew_ms"] is not None)


def test_the_clock_is_not_compared_while_the_server_is_in_trouble(
    vm: FakeVm, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One probe per backoff is one probe."""
    vm.set_state(down=503)
    running = start(rows(1), remote__retry__initial_backoff="30s", remote__retry__max_backoff="30s")
    running.until("a failure", lambda: running.status["backoff_until_ms"])
    asked: list[str] = []
    monkeypatch.setattr(Transport, "get", lambda _self, url, *_, **__: asked.append(url))
    running.stage.compare_clocks()
    assert [] == asked


def test_samples_that_the_server_would_drop_as_from_the_future_wait(
    vm: FakeVm, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its own clock; once this one is set, which is seen by itself, they go."""
    monkeypatch.setattr("shipper.service.LOOK_S", 0.05)
    monkeypatch.setattr("shipper.service.FIRST_SKEW_S", 0.0)
    vm.set_state(date_skew_s=-3 * 86_400)
    running = start([])
    running.until("a skew", lambda: running.status["skew_ms"] is not None)
    running.stub.pending += rows(3)
    running.stage._server.sender._queues.send_all(time.monotonic())
    running.for_a_while(0.5)
    assert [] == running.stub.uploaded
    vm.set_state(date_skew_s=0)
    running.stage._wall_clock._offset_ms -= 3 * 86_400_000  # as if the clock had been set
    running.until("the samples", lambda: running.stub.uploaded == [0, 1, 2])


@pytest.mark.parametrize(("expected", "skew_ms"), [(None, None), (None, 5_000), (None, -(10**9)), (1_000, 10**9)])
def test_only_a_clock_days_ahead_holds_samples_back(expected: int | None, skew_ms: int | None) -> None:
    """One that is behind, or a little ahead, is the server's to judge."""
    now_ms = 10**9 + 1_000 - FUTURE_MS
    assert (None, expected) == taken_ms((None, None), now_ms, skew_ms, math.inf)


@pytest.mark.parametrize(("expected", "skew_ms"), [(60_000, None), (60_000, 0), (50_000, 10_000), (70_000, -10_000)])
def test_what_is_older_than_the_server_keeps_is_not_sent(expected: int, skew_ms: int | None) -> None:
    """By the server's clock, with a minute to get there; whatever else limits the span stays."""
    assert (expected, None) == taken_ms((None, None), 86_400_000, skew_ms, 86_400)
    assert (80_000, 90_000) == taken_ms((80_000, 90_000), 86_400_000, skew_ms, 86_400)


def test_samples_from_before_the_servers_retention_wait_until_it_is_known(vm: FakeVm, start: Start) -> None:
    """What is older than any server keeps for sure goes once the server was asked, and says that it keeps more."""
    row = rows(1)[0]._replace(timestamp_ms=time.time_ns() // 1_000_000 - 2 * 86_400_000)
    running = start([row], remote__audit__enabled="true")
    running.for_a_while(0.3)
    assert [] == running.stub.uploaded
    running.stage.audit()
    running.until("the sample", lambda: running.stub.uploaded == [0])
