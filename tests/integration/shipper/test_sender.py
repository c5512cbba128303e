"""What goes next: modes, backfill and the data budget, between a buffer and a server on real sockets."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fake_vm import FakeVm
from tests.unit.shipper.running import Running, Start, reload
from tests.unit.shipper.stub import NOW_MS, BoundBuffer, Row, rows

HOUR_MS = 3_600_000
AUTO = {"remote__mode": "auto", "remote__upload_interval": "600ms"}


def old(count: int, *, priority: int = 2, first: int = 0) -> list[Row]:
    """Return samples of an hour ago, numbered by their value."""
    return [
        row._replace(timestamp_ms=row.timestamp_ms - 3 * HOUR_MS) for row in rows(count, priority=priority, first=first)
    ]


def feed(running: Running) -> None:
    """Have a sample of P2 be collected every 50 ms."""
    running.process.loop.every(0.05, lambda: running.stub.pending.append(fresh()))


def fresh() -> Row:
    """Return a sample of now."""
    return Row("fed", time.time_ns() // 1_000_000, -2, {}, 2)


def changes(running: Running) -> list[tuple[str, str]]:
    """Return the changes of mode in the log."""
    return [(line["from"], line["to"]) for line in running.log("mode changed") if line["why"]]


def test_an_outage_leads_to_degraded_and_back(vm: FakeVm, start: Start) -> None:
    """A box that has nothing but P2 finds its way back too, and everything arrives."""
    vm.set_state(down=503)
    running = start(rows(300), **AUTO)
    feed(running)
    running.until("degraded", lambda: running.status["mode"] == "degraded")
    vm.set_state(down=None)
    running.until("the way back", lambda: running.status["mode"] == "realtime")
    running.until("the rest", lambda: set(range(300)) <= set(running.stub.uploaded))
    assert [("realtime", "degraded"), ("degraded", "realtime")] == changes(running)
    assert (1, 1, 0) == tuple(running.counter("mode_changes", mode=m) for m in ("realtime", "degraded", "offline"))
    assert ["mode_changed", "mode_changed"] == running.events()


def test_a_long_outage_is_offline_until_the_first_upload(vm: FakeVm, start: Start) -> None:
    """Ten upload intervals without one."""
    vm.set_state(down=503)
    running = start(rows(10), remote__mode="auto", remote__upload_interval="200ms")
    feed(running)
    running.until("offline", lambda: running.status["mode"] == "offline")
    vm.set_state(down=None)
    running.until("the way back", lambda: running.status["mode"] == "realtime")
    assert [("degraded", "offline"), ("offline", "degraded"), ("degraded", "realtime")] == changes(running)[1:]


def test_fixed_degraded_sends_p0_and_p1_in_large_chunks(vm: FakeVm, start: Start) -> None:
    """The rest waits, and is not late."""
    running = start([*rows(500, priority=1), *rows(5, priority=2), *rows(5, priority=3)], remote__mode="degraded")
    running.until("P1", lambda: len(running.stub.uploaded) == 500)
    running.stage.look()
    assert ([500], "degraded") == ([request.samples for request in vm.requests()], running.status["mode"])
    assert ([0, 0, 5, 5], [0, 0, 0, 0]) == (running.status["pending"], running.status["due"])


def test_fixed_offline_says_nothing_to_the_server(vm: FakeVm, start: Start) -> None:
    """No upload, no question; everything is queued and nothing late."""
    running = start([row for priority in range(4) for row in rows(3, priority=priority)], remote__mode="offline")
    running.until("a look", lambda: running.stub.hellos)
    running.for_a_while(0.2)
    running.stage.look()
    running.stage.compare_clocks()
    running.stage.audit()
    assert ([], None) == (vm.requests(), running.status["skew_ms"])
    assert ([3, 3, 3, 3], [0, 0, 0, 0]) == (running.status["pending"], running.status["due"])


def test_p0_whose_wake_up_was_lost_is_found_in_the_backlog(vm: FakeVm, start: Start, stub: BoundBuffer) -> None:
    """A wake-up can be lost, a sample cannot."""
    running = start(rows(3, priority=1))
    running.until("P1", lambda: len(running.stub.uploaded) == 3)
    stub.stub.pending.append(Row("alert", NOW_MS, -1, {}, 0))
    running.stage.look()
    running.until("P0", lambda: -1 in running.stub.uploaded)


def test_old_samples_go_behind_fresh_ones(vm: FakeVm, start: Start) -> None:
    """Then most urgent first, and oldest first within a priority."""
    backlog = [row for priority in (3, 2, 1, 0) for row in old(3, priority=priority, first=10 * priority)]
    running = start([*backlog, *rows(2, first=100)], remote__backfill__rate_limit="100/s")
    running.until("all of them", lambda: len(running.stub.uploaded) == 14)
    assert [100, 101, 0, 1, 2, 10, 11, 12, 20, 21, 22, 30, 31, 32] == running.stub.uploaded


def test_old_samples_go_slowly_and_p0_does_not_wait_for_them(vm: FakeVm, start: Start, stub: BoundBuffer) -> None:
    """The rate limit is for backfill alone."""
    running = start(old(120), remote__backfill__rate_limit="0.1/s")
    running.until("the first request", lambda: len(running.stub.uploaded) == 50)
    began_s = time.monotonic()
    stub.push(Row("alert", NOW_MS, -1, {}, 0))
    running.until("P0", lambda: -1 in running.stub.uploaded)
    assert 51 == len(running.stub.uploaded)  # the next old ones go ten seconds after the first
    running.until("the next request", lambda: len(running.stub.uploaded) > 51, 60)
    assert time.monotonic() - began_s > 1.5


def test_old_samples_are_fresh_to_nobody_who_kept_them(vm: FakeVm, start: Start) -> None:
    """Switched off they stay on the device, and are not late."""
    running = start([*old(5), *rows(5, first=10)], remote__backfill__enabled="false")
    running.until("the fresh ones", lambda: len(running.stub.uploaded) == 5)
    running.for_a_while(0.2)
    running.stage.look()
    assert ([10, 11, 12, 13, 14], 5) == (running.stub.uploaded, len(running.stub.pending))
    assert [0, 0, 0, 0] == running.status["due"]


def test_a_budget_is_exceeded_by_one_chunk_at_most_and_p0_still_goes(
    vm: FakeVm, start: Start, stub: BoundBuffer
) -> None:
    """Counted by the kernel, headers and all; who waits for the period's end is not late."""
    running = start(rows(20_000, priority=1), remote__budget__daily="40KB", remote__chunk_bytes="4KiB")
    running.until("the limit", lambda: running.status["budget"]["holding"] == [1, 2, 3])
    running.for_a_while(0.2)
    assert 40 * 1024 <= running.status["budget"]["daily"]["used"] < 40 * 1024 + 4096 + 2000
    assert sum(request.body_bytes for request in vm.requests()) < 40 * 1024
    stub.push(Row("alert", NOW_MS, -1, {}, 0))
    running.until("P0", lambda: -1 in running.stub.uploaded)
    running.stage.look()
    assert [0, 0, 0, 0] == running.status["due"]
    assert running.status["pending"][1] > 0
    assert {"budget_reached"} == set(running.events())


def test_near_the_limit_nothing_is_asked(vm: FakeVm, start: Start) -> None:
    """Neither the time nor what the server has."""
    running = start(rows(2000, priority=1), remote__budget__daily="6KB", remote__chunk_bytes="1KiB")
    running.until("the limit", lambda: running.status["budget"]["holding"] == [1, 2, 3])
    spent = running.status["budget"]["daily"]["used"]
    running.stage.compare_clocks()
    running.stage.audit()
    running.stage.look()
    assert spent == pytest.approx(running.status["budget"]["daily"]["used"], abs=200)


def test_another_budget_holds_at_once(vm: FakeVm, start: Start, environment: Callable[..., None]) -> None:
    """A reload with more lets go what waited."""
    running = start(rows(3000, priority=1), remote__budget__monthly="8KB", remote__chunk_bytes="1KiB")
    running.until("the limit", lambda: running.status["budget"]["holding"] == [1, 2, 3])
    reload(running, environment, remote__budget__monthly="8MB")
    running.until("all of them", lambda: len(running.stub.uploaded) == 3000)
    assert running.status["budget"]["monthly"]["used"] > 8 * 1024


def test_what_was_used_is_written_down(run_dir: Path, vm: FakeVm, start: Start) -> None:
    """For its owner's eyes; the next process goes on from there."""
    running = start(rows(100), remote__budget__daily="1MB")
    running.until("all of them", lambda: len(running.stub.uploaded) == 100)
    running.stage._quota.settle()
    running.stage._quota.save()
    used = running.status["budget"]["daily"]["used"]
    assert 0o600 == (run_dir / "budget.json").stat().st_mode & 0o777
    running.process.close()
    again = start(remote__budget__daily="1MB")
    assert used <= again.status["budget"]["daily"]["used"] < used + 1000


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"version": 1}', '{"version": 1, "daily": {"current": 1, "used": {}}}']
)
def test_a_file_that_cannot_be_used_starts_anew(run_dir: Path, vm: FakeVm, start: Start, content: str) -> None:
    """With a warning, and is replaced."""
    (run_dir / "budget.json").write_text(content, encoding="ascii")
    running = start(rows(1), remote__budget__daily="1MB")
    running.until("an upload", lambda: running.stub.uploaded)
    assert running.log("the budget's file cannot be used, counting from 0")
    running.stage._quota.settle()
    running.stage._quota.save()
    assert '"version": 1' in (run_dir / "budget.json").read_text(encoding="ascii")


def test_a_file_that_cannot_be_written_stops_nothing(run_dir: Path, vm: FakeVm, start: Start) -> None:
    """It is a warning."""
    (run_dir / "budget.json.new").mkdir()
    running = start(rows(1), remote__budget__daily="1MB")
    running.until("an upload", lambda: running.stub.uploaded)
    running.stage._quota.settle()
    running.stage._quota.save()
    assert running.log("budget not written")
