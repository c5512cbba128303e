"""What the server acknowledged, as somebody before it sees it: what of that it lost, and what was sent again.

In: each body that the server took, and what the server has at a time. Out: counts of samples and bytes.
"""

from __future__ import annotations

import gzip
import json
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping

Series = frozenset[tuple[str, str]]


class Deliveries:
    """The acknowledged samples, by series and time.

    Args:
        is_cut_off: tells whether answers do not reach the device at the moment.

    Attributes:
        samples, bytes: of all bodies that the server took.
        again, again_bytes: of these, the samples that it had taken before, and their share of the bytes.
        lost: samples that the server had acknowledged and did not have any more.
        unanswered: samples whose acknowledgement did not reach the device.
    """

    def __init__(self, is_cut_off: Callable[[], bool]) -> None:
        self._is_cut_off = is_cut_off
        self._taken: dict[Series, set[int]] = defaultdict(set)
        self._gone: dict[Series, set[int]] = defaultdict(set)  # taken, and lost by the server since
        self._lock = threading.Lock()
        self.samples = self.bytes = self.again = self.lost = self.unanswered = 0
        self.again_bytes = 0.0

    @property
    def missing(self) -> int:
        """How many samples had to be sent again: lost, or taken without the device's knowledge."""
        return self.lost + self.unanswered

    @property
    def missing_bytes(self) -> float:
        """How many bytes that takes, as many for a sample as all others took."""
        return self.missing * self.bytes / max(1, self.samples)

    def take(self, body: bytes) -> None:
        """Note a body that the server took."""
        text = gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body
        samples = again = 0
        with self._lock:
            for line in map(json.loads, text.splitlines()):
                series, times = frozenset(line["metric"].items()), set(line["timestamps"])
                known = self._taken[series] | self._gone[series]
                samples, again = samples + len(times), again + len(times & known)
                self._taken[series] |= times
                self._gone[series] -= times
            self.samples, self.bytes = self.samples + samples, self.bytes + len(body)
            self.again += again
            self.again_bytes += len(body) * again / max(1, samples)
            self.unanswered += samples if self._is_cut_off() else 0

    def compare(self, there: Mapping[Series, Mapping[int, float]]) -> None:
        """Count what was taken and is not there, after the server was killed."""
        with self._lock:
            for series, times in self._taken.items():
                gone = times - there.get(series, {}).keys()
                self.lost += len(gone)
                self._gone[series] |= gone
                times.difference_update(gone)
