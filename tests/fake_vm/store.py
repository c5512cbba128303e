"""Every sample that was accepted, as often as it was received.

In: parsed lines and the time they arrived.
Out: what is visible with `-dedup.minScrapeInterval=1ms` (per series and millisecond
the largest value), and how often each sample was received.

Three flat columns per series, 24 bytes a receipt: the bundled receiver runs for
days. Times of arrival are Unix seconds.
"""

from __future__ import annotations

import threading
from array import array
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tests.fake_vm.imports import Labels, Line

    Row = tuple[int, float, float]  # timestamp_ms, value, received_s

NAME = "__name__"


@dataclass(frozen=True)
class StoredSample:
    """One (series, millisecond) with its visible value and its receipts."""

    name: str
    labels: dict[str, str]
    timestamp_ms: int
    value: float
    received_count: int
    first_received_s: float


class Series:
    """The receipts of one series, sorted by timestamp when they are read."""

    def __init__(self, labels: Labels) -> None:
        """Start without samples."""
        self.labels = dict(labels)
        self._timestamps = array("q")
        self._values = array("d")
        self._received = array("d")
        self._sorted = True

    def __len__(self) -> int:
        """Return the number of receipts, repeats included."""
        return len(self._timestamps)

    def add(self, timestamps: list[int], values: list[float], received_s: float) -> None:
        """Append receipts (at least one) in any order of timestamps."""
        last = self._timestamps[-1] if self._timestamps else timestamps[0]
        in_order = [last, *timestamps] == sorted([last, *timestamps])
        self._sorted = self._sorted and in_order
        self._timestamps.extend(timestamps)
        self._values.extend(values)
        self._received.extend([received_s] * len(timestamps))

    def visible(self, start_ms: int, end_ms: int) -> list[tuple[int, float]]:
        """Return (timestamp_ms, value) from start to end, both included."""
        largest: dict[int, float] = {}
        for timestamp, value, _ in self._rows(start_ms, end_ms):
            known = largest.get(timestamp)
            if known is None or value > known:
                largest[timestamp] = value
        return list(largest.items())

    def samples(self) -> Iterator[StoredSample]:
        """Yield every sample in order of timestamps."""
        labels = {k: v for k, v in self.labels.items() if k != NAME}
        name = self.labels.get(NAME, "")
        for timestamp, group in groupby(self.receipts(), key=itemgetter(0)):
            receipts = list(group)
            yield StoredSample(
                name=name,
                labels=labels,
                timestamp_ms=timestamp,
                value=max(value for _, value, _ in receipts),
                received_count=len(receipts),
                first_received_s=min(received for _, _, received in receipts),
            )

    def receipts(self) -> list[Row]:
        """Return every receipt, sorted."""
        self._sort()
        return list(zip(self._timestamps, self._values, self._received, strict=True))

    def forget_since(self, received_s: float) -> None:
        """Drop what arrived at `received_s` or later."""
        self._replace([row for row in self.receipts() if row[2] < received_s])

    def _rows(self, start_ms: int, end_ms: int) -> Iterable[Row]:
        self._sort()
        first = bisect_left(self._timestamps, start_ms)
        last = bisect_right(self._timestamps, end_ms)
        columns = (self._timestamps, self._values, self._received)
        return zip(*(column[first:last] for column in columns), strict=True)

    def _sort(self) -> None:
        if not self._sorted:
            rows = zip(self._timestamps, self._values, self._received, strict=True)
            self._replace(sorted(rows))

    def _replace(self, rows: list[Row]) -> None:
        self._timestamps = array("q", [row[0] for row in rows])
        self._values = array("d", [row[1] for row in rows])
        self._received = array("d", [row[2] for row in rows])
        self._sorted = True


class Store:
    """All series; safe to use from several threads."""

    def __init__(self) -> None:
        """Start empty."""
        self.lock = threading.RLock()
        self._series: dict[Labels, Series] = {}

    def add(self, lines: Iterable[Line], received_s: float) -> None:
        """Store all samples of the lines."""
        with self.lock:
            for line in lines:
                series = self._series.get(line.labels)
                if series is None:
                    series = self._series[line.labels] = Series(line.labels)
                series.add(line.timestamps, line.values, received_s)

    def select(self, matches: Callable[[dict[str, str]], bool]) -> list[Series]:
        """Return the series whose labels match, in order of their labels."""
        with self.lock:
            found = [s for s in self._series.values() if matches(s.labels)]
            return sorted(found, key=lambda series: sorted(series.labels.items()))

    def samples(self, name: str = "") -> list[StoredSample]:
        """Return every sample, or those of one name, series by series."""
        with self.lock:
            return [x for s in self.select(lambda labels: name in {"", labels.get(NAME)}) for x in s.samples()]

    def forget_since(self, received_s: float) -> None:
        """Lose what arrived at `received_s` or later, as a crash does."""
        with self.lock:
            for series in self._series.values():
                series.forget_since(received_s)
            self._series = {k: s for k, s in self._series.items() if len(s)}
