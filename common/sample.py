"""The one data type: a sample, and the batch it travels in.

A collector yields samples without a timestamp; the run loop stamps all samples of one collect with
the same millisecond and puts them into a batch. From there to the server nothing changes a value.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

Value: TypeAlias = "float | int | str"
Tags: TypeAlias = Mapping[str, str]

NO_TAGS: Tags = {}

# Priorities decide what is sent first and what is given up last.
CRITICAL, HIGH, NORMAL, LOW = 0, 1, 2, 3
PRIORITIES = (CRITICAL, HIGH, NORMAL, LOW)

# An int of more bits fits neither SQLite's INTEGER nor the 15-16 digits a server keeps.
MAX_INTEGER = 2**63 - 1


class Sample(NamedTuple):
    """One reading.

    Attributes:
        name: dotted metric name as in the catalogue, e.g. ``cpu.usage_percent``.
        value: a finite number in the metric's base unit, or text (kept on the device, never uploaded).
        tags: label names and values, both text.
    """

    name: str
    value: Value
    tags: Tags = NO_TAGS


@dataclass(frozen=True)
class Batch:
    """The samples of one collect, as one unit of delivery.

    Attributes:
        producer: who made it, e.g. ``cpu``; unique among the running processes.
        epoch: random per process start, so that a restarted producer's numbers are not mistaken for old ones.
        seq: 1, 2, 3 … within an epoch; a hole is a loss that can be counted.
        timestamp_ms: wall clock of every sample in it, Unix milliseconds.
        boottime_ms: CLOCK_BOOTTIME of the same instant, which no clock step moves.
        boot_id: which boot ``boottime_ms`` counts from.
        urgent: commit at once instead of with the next interval (P0, or a producer that is about to exit).
        samples: what was read.
    """

    producer: str
    epoch: str
    seq: int
    timestamp_ms: int
    boottime_ms: int
    boot_id: str
    urgent: bool
    samples: Sequence[Sample]


def is_deliverable(sample: Sample) -> bool:
    """Return whether a sample can be stored and uploaded as it is.

    NaN, infinities and booleans are refused here because a server drops them silently (or, worse,
    drops every other value of that line).
    """
    value = sample.value
    if isinstance(value, str):
        return True
    if isinstance(value, float):
        return math.isfinite(value)
    return not isinstance(value, bool) and abs(value) <= MAX_INTEGER
