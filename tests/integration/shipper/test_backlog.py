"""Old samples go behind what is fresh."""

from __future__ import annotations

import time

from tests.fake_vm import FakeVm
from tests.unit.shipper.running import Start
from tests.unit.shipper.stub import BoundBuffer, Row, rows

MONTH_MS = 30 * 86_400_000


def test_p1_is_not_delayed_by_old_samples(vm: FakeVm, start: Start, stub: BoundBuffer) -> None:
    """Not by more than its interval, however often backfill may go."""
    vm.set_state(latency_ms=50)
    backlog = [row._replace(timestamp_ms=row.timestamp_ms - MONTH_MS) for row in rows(2000)]
    running = start(
        backlog,
        remote__priority__high="1s",
        remote__backfill__rate_limit="1000/s",
        remote__backfill__bandwidth_limit="100%",
    )

    def collect() -> None:
        now_ms = time.time_ns() // 1_000_000
        stub.stub.pending.append(Row("urgent", now_ms, 1, {"at": str(now_ms)}, 1))

    running.process.loop.every(0.1, collect)
    running.until("the backlog", lambda: set(range(2000)) <= set(running.stub.uploaded), 60)
    late_s = [s.first_received_s - s.timestamp_ms / 1000 for s in vm.samples() if s.name == "urgent"]
    assert len(late_s) >= 1
    print(f"latest after {max(late_s):.1f} s")
    assert max(late_s) < 10
