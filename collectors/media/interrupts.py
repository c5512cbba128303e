"""Interrupt counts by device; shared by the encoder and HDMI sources."""

from __future__ import annotations

import re
from collections.abc import Iterable

from collectors.host import Host, unsigned

FILE = "proc/interrupts"


def count(host: Host, pattern: re.Pattern[str]) -> int | None:
    """Return how often the rows whose last word matches have fired since boot, or None where there is none."""
    return counts(host, pattern)[0]


def counts(host: Host, *patterns: re.Pattern[str]) -> list[int | None]:
    """Return the same for several patterns, all of one instant."""
    rows = (host.parse(FILE, parse) or {}).items()
    found = ([total for name, total in rows if pattern.fullmatch(name)] for pattern in patterns)
    return [sum(totals) if totals else None for totals in found]


def parse(lines: Iterable[str]) -> dict[str, int] | None:
    """Return the sum over all cores by the last word of a row, e.g. ``fdbd0000.rkvenc-core``."""
    rows: dict[str, int] = {}
    cores = 0
    for line in lines:
        words = line.split()
        if words and all(word.startswith("CPU") for word in words):
            cores = len(words)
        elif len(words) > cores + 1 and words[0].endswith(":"):
            counts = [unsigned(word) for word in words[1 : cores + 1]]
            if cores and None not in counts:
                rows[words[-1]] = rows.get(words[-1], 0) + sum(number or 0 for number in counts)
    return rows if cores else None
