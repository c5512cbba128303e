"""What a busy device collects, made up: the same numbers each time, for tests and benchmarks of the buffer."""

from __future__ import annotations

import math
from collections.abc import Iterator
from random import Random

from common.sample import Batch, Sample

INTERVAL_MS = 6_000  # between two samples of a series
PRODUCERS = 10  # collectors, each with a tenth of the series and its own millisecond

# Names from the catalogue, so that priorities are as they are: 3 in 10 are streaming (P1), the rest system (P2).
NAMES = (
    "network.rx_bytes_total", "cpu.usage_percent", "memory.used_bytes", "disk.write_bytes_total",
    "thermal.zone_temp", "network.rx_bits_per_second", "filesystem.free_bytes",
)  # fmt: skip


def batches(start_ms: int, end_ms: int, per_minute: int) -> Iterator[Batch]:
    """Yield the batches of a span of time in order, about `per_minute` samples in each minute of it."""
    series = max(PRODUCERS, per_minute * INTERVAL_MS // 60_000)
    for round_ms in range(start_ms - start_ms % INTERVAL_MS, end_ms, INTERVAL_MS):
        for producer in range(PRODUCERS):
            timestamp_ms = round_ms + producer * 37
            if start_ms <= timestamp_ms < end_ms:
                samples = [_sample(number, timestamp_ms) for number in range(producer, series, PRODUCERS)]
                yield Batch(f"p{producer}", "bench", timestamp_ms, timestamp_ms, 0, "", urgent=False, samples=samples)


def _sample(number: int, timestamp_ms: int) -> Sample:
    """Return a series' sample: counters, constants, smooth gauges and noise with two decimals, a quarter each."""
    tags = {"interface": f"if{number}"}
    name = NAMES[number % len(NAMES)]
    step = timestamp_ms // INTERVAL_MS
    kind = number // PRODUCERS % 4
    if kind == 0:
        return Sample(name, (step - 290_000_000) * (1000 + number) + step % 7, tags)
    if kind == 1:
        return Sample(name, round(50 + 20 * math.sin(step / 50 + number), 2), tags)
    if kind == 2:
        return Sample(name, 4_096_000_000 + number, tags)
    return Sample(name, round(Random(step * 1_000_003 + number).random() * 100, 2), tags)
