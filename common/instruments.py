"""Counters, gauges and histograms of a process, sent with every heartbeat.

No locks and no globals: one process has one loop and one `Instruments`.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate
from typing import Any

# Upper bounds in seconds. A collect takes 0.2-5 ms, an upload 5 ms on a LAN and up to its timeout on LTE.
DURATION_BOUNDS_S = (0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0)

_Key = tuple[str, tuple[tuple[str, str], ...]]


class Instruments:
    """The counters, gauges and histograms of one process, by metric name and tags."""

    def __init__(self) -> None:
        self._counters: dict[_Key, float] = {}
        self._gauges: dict[_Key, float] = {}
        self._histograms: dict[_Key, tuple[list[int], list[float]]] = {}

    def count(self, name: str, amount: float = 1, **tags: str) -> None:
        """Add to a counter; an amount of 0 makes it visible before its first event."""
        key = _key(name, tags)
        self._counters[key] = self._counters.get(key, 0) + amount

    def total(self, name: str, value: float | None, **tags: str) -> None:
        """Set a counter that somebody else counts (the kernel); None changes nothing."""
        if value is not None:
            self._counters[_key(name, tags)] = value

    def gauge(self, name: str, value: float | None, **tags: str) -> None:
        """Set a gauge; None removes it: a value that is not known is absent, never 0."""
        key = _key(name, tags)
        if value is None:
            self._gauges.pop(key, None)
        else:
            self._gauges[key] = value

    def observe(self, name: str, seconds: float, **tags: str) -> None:
        """Put one duration into a histogram."""
        counts, total = self._histograms.setdefault(_key(name, tags), ([0] * (len(DURATION_BOUNDS_S) + 1), [0.0]))
        counts[bisect_left(DURATION_BOUNDS_S, seconds)] += 1
        total[0] += seconds

    def counter(self, name: str, **tags: str) -> float:
        """Return a counter's value, 0 if it was never counted."""
        return self._counters.get(_key(name, tags), 0)

    def readings(self) -> list[list[Any]]:
        """Return everything as a heartbeat carries it: ``[kind, name, tags, value]`` each."""
        return [
            *(["counter", name, dict(tags), value] for (name, tags), value in self._counters.items()),
            *(["gauge", name, dict(tags), value] for (name, tags), value in self._gauges.items()),
            *(
                ["histogram", name, dict(tags), [list(DURATION_BOUNDS_S), list(accumulate(counts)), total[0]]]
                for (name, tags), (counts, total) in self._histograms.items()
            ),
        ]


def _key(name: str, tags: dict[str, str]) -> _Key:
    return name, tuple(sorted(tags.items()))
