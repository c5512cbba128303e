"""Turn heartbeats into samples: the metrics that processes report, and their memory and CPU time from the kernel.

Reads: the heartbeats of running processes, /proc/<pid>.
Emits: their readings, process.{up,restarts_total,resident_bytes,pss_bytes,cpu_seconds_total}{program},
    belabox_metrics.info{version}. A histogram becomes name_bucket{le} (cumulative), name_sum, name_count.
Fails: a process that is silent or gone has no readings any more; its process.up is 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from common import VERSION
from common.sample import Sample
from healthd import heartbeats, procfs
from healthd.heartbeats import RUNNING, Histogram, Reading
from healthd.programs import Snapshot
from healthd.verdict.rollup import Verdict


def readings(known: Snapshot, verdict: Verdict, proc: Path = procfs.PROC) -> Iterator[Reading]:
    """Yield every reading once: a series that two processes claim is the first one's.

    Args:
        known: what is known of the processes.
        verdict: on the same.
        proc: where /proc is.
    """
    seen = set()
    for reading in _all(known, verdict, proc):
        series = (reading.name, *sorted(reading.tags.items()))
        if series not in seen:
            seen.add(series)
            yield reading


def samples(found: Iterable[Reading]) -> Iterator[Sample]:
    """Yield readings as the samples that are stored and uploaded."""
    for reading in found:
        if isinstance(reading.value, Histogram):
            yield from _histogram(reading, reading.value)
        else:
            yield Sample(reading.name, reading.value, reading.tags)


def buckets(histogram: Histogram) -> list[tuple[str, float]]:
    """Return upper bounds and cumulative counts, the bounds written as Prometheus' clients write them."""
    bounds = [*(repr(float(bound)) for bound in histogram.bounds), "+Inf"]
    return list(zip(bounds, histogram.counts))  # noqa: B905 - equally long, checked when it came


def _all(known: Snapshot, verdict: Verdict, proc: Path) -> Iterator[Reading]:
    yield Reading("info", "belabox_metrics.info", {"version": VERSION}, 1)
    for name, condition in verdict.conditions.items():
        beat, runs = known.beats.get(name), condition.state == RUNNING
        program = {"program": name}
        yield Reading("gauge", "process.up", program, int(runs))
        if beat is None:
            continue
        yield Reading("counter", "process.restarts_total", program, beat.restarts)
        if runs:
            yield from _used(beat.heartbeat.pid, program, proc)
            yield from heartbeats.readings(beat)


def _used(pid: int, program: dict[str, str], proc: Path) -> Iterator[Reading]:
    used = procfs.usage(pid, proc)
    if used is not None:
        yield Reading("gauge", "process.resident_bytes", program, used.resident_bytes)
        pss_bytes = procfs.pss_bytes(pid, proc)
        if pss_bytes is not None:
            yield Reading("gauge", "process.pss_bytes", program, pss_bytes)
        yield Reading("counter", "process.cpu_seconds_total", program, used.cpu_seconds)


def _histogram(reading: Reading, histogram: Histogram) -> Iterator[Sample]:
    for bound, count in buckets(histogram):
        yield Sample(f"{reading.name}_bucket", count, {**reading.tags, "le": bound})
    yield Sample(f"{reading.name}_sum", histogram.total, reading.tags)
    yield Sample(f"{reading.name}_count", histogram.counts[-1], reading.tags)
