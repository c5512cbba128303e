"""The real buffer under many thousand messages of garbage, beside a producer that behaves.

FUZZ_MINUTES says how many, FUZZ_SEED which; the seed is printed.
"""

from __future__ import annotations

import time
from pathlib import Path

from common.sample import Sample
from tests.fuzz.garbage import Garbage
from tests.fuzz.rounds import MINUTES, SEED
from tests.unit.buffer.clients import Producer, RawProducer, Shipper
from tests.unit.buffer.databases import query
from tests.unit.common.child import buffer
from tests.unit.common.peers import Ears, reading

MESSAGES = int(50_000 * MINUTES) or 3_000  # of each minute a twelfth, where a core is free
GARBAGE_PER_BATCH = 50
SAMPLES_PER_BATCH = 10
MAX_GROWTH_KB = 50 * 1024
GOOD = "good.number"


def resident_kb(pid: int) -> int:
    """Return the resident memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")))


def publish(producer: Producer, first: int, at_ms: int) -> int:
    """Publish the next numbers; return the one after them."""
    numbers = range(first, first + SAMPLES_PER_BATCH)
    producer.put(*(Sample(GOOD, number, {"slot": str(number % SAMPLES_PER_BATCH)}) for number in numbers), at_ms=at_ms)
    producer.publisher.receive()
    return numbers.stop


def test_garbage_is_counted_and_costs_nobody_else_anything(run_dir: Path) -> None:
    """Good samples are stored once, bad ones counted once; the process is the same, not much larger, and answers."""
    print(f"FUZZ_MINUTES={MINUTES:g} FUZZ_SEED={SEED}")
    now_ms = time.time_ns() // 1_000_000 - MESSAGES
    garbage = Garbage(SEED, now_ms)
    numbers = 0
    with buffer(run_dir) as running, Producer(run_dir) as producer, RawProducer(run_dir) as raw, Ears(run_dir) as ears:
        numbers = publish(producer, numbers, now_ms)
        producer.settle()
        before = ears.wait_for("it runs")
        before_kb = resident_kb(running.pid)
        began_s = time.monotonic()
        for index in range(1, MESSAGES + 1):
            raw.send(*garbage.message())
            if index % GARBAGE_PER_BATCH == 0:
                numbers = publish(producer, numbers, now_ms + index)
                raw.acks()
        producer.settle()
        after = ears.wait_for(
            "every message counted",
            lambda said: (
                reading(said, "storage.refused_samples_total") >= garbage.expected.total()
                and reading(said, "storage.samples_committed_total") >= numbers
            ),
            60,
        )
        took_s = time.monotonic() - began_s
        grown_kb = resident_kb(running.pid) - before_kb
        counted = {
            reason: int(reading(after, "storage.refused_samples_total", reason=reason)) for reason in garbage.expected
        }
        print(f"{took_s:.1f} s, {MESSAGES / took_s:.0f} messages/s, {numbers} good samples, refused {counted}")
        print(f"{garbage.accepted} samples valid by accident; resident memory {before_kb} kB, grown by {grown_kb} kB")
        assert dict(garbage.expected) == counted
        assert garbage.expected.total() > MESSAGES / 4
        assert (before.pid, before.epoch) == (after.pid, after.epoch)
        assert grown_kb < MAX_GROWTH_KB
        with Shipper(run_dir) as shipper:
            assert numbers <= shipper.pending()[2]
        assert 0 == running.stop()
    stored = query(
        run_dir / "metrics.db",
        "SELECT metric_value, tags FROM metrics WHERE metric_name = ? ORDER BY metric_value",
        GOOD,
    )
    assert [(number, f'{{"slot":"{number % SAMPLES_PER_BATCH}"}}') for number in range(numbers)] == stored
