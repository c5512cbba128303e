"""The account of a storm: what was published, what became of it, and what it cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.chaos.deliveries import Deliveries

WRONG_MS = 5_000  # a clock that is off by up to two seconds is not corrected
PER_FLIP = 2  # samples that a flipped bit can change without SQLite noticing, as it keeps no checksums of pages
WORTH_IT = 1.3  # bytes that were sent again for one that was missing


@dataclass
class Ledger:
    """What was done and what came of it.

    Attributes:
        faults: how many of each kind.
        published: numbers the oracle published, and the true time of each, Unix milliseconds.
        stored: how often each number is in the database.
        arrived: the times of each number at the server.
        counted: samples that the device says it lost, by reason.
        perhaps: more samples that it says it may have lost: no index names them, or they may have been stored.
        events, events_arrived: in the database, and at the log server.
        deliveries: what the server took.
    """

    deliveries: Deliveries
    faults: Counter[str] = field(default_factory=Counter)
    published: dict[int, int] = field(default_factory=dict)
    stored: Counter[int] = field(default_factory=Counter)
    arrived: dict[int, list[int]] = field(default_factory=dict)
    counted: Counter[str] = field(default_factory=Counter)
    perhaps: int = 0
    events: set[tuple[str, ...]] = field(default_factory=set)
    events_arrived: set[tuple[str, ...]] = field(default_factory=set)

    @property
    def lost(self) -> set[int]:
        """Published and not at the server."""
        return self.published.keys() - self.arrived.keys()

    @property
    def doubled(self) -> set[int]:
        """At the server, or in the database, more than once."""
        more = {number for number, times in self.stored.items() if times > 1}
        return more | {number for number, times in self.arrived.items() if len(times) > 1}

    @property
    def misdated(self) -> set[int]:
        """At the server at a time that is not its own."""
        return {
            number
            for number, times in self.arrived.items()
            if number in self.published and any(abs(ms - self.published[number]) > WRONG_MS for ms in times)
        }

    @property
    def events_lost(self) -> set[tuple[str, ...]]:
        """In the database and not at the log server."""
        return self.events - self.events_arrived

    @property
    def difference(self) -> int:
        """How many more samples are lost than counted, or below 0 fewer: published less what arrived and is counted."""
        more = len(self.lost) - self.counted.total()
        return more - min(max(0, more), self.perhaps)

    @property
    def unexplained(self) -> int:
        """How many samples and events are doubled, at a wrong time, or lost without being counted, or not and are."""
        flips = sum(count for kind, count in self.faults.items() if kind.startswith("bit flip"))
        wrong = abs(self.difference) + len(self.doubled) + len(self.misdated) + len(self.events_lost)
        return max(0, wrong - PER_FLIP * flips)

    @property
    def resend_ratio(self) -> float:
        """How many bytes were sent again for one that was missing."""
        return self.deliveries.again_bytes / max(1.0, self.deliveries.missing_bytes)

    def lines(self) -> Iterator[str]:
        """Yield the ledger for people."""
        kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(self.faults.items()))
        sent = self.deliveries
        yield f"faults       {self.faults.total()}: {kinds}"
        yield f"published    {len(self.published)}, events {len(self.events)}"
        yield f"stored       {len(self.published.keys() & self.stored.keys())}"
        yield f"arrived      {len(self.published.keys() & self.arrived.keys())}, events {len(self.events_arrived)}"
        yield f"lost         {_some(self.lost)}, events {_some(self.events_lost)}"
        yield f"doubled      {_some(self.doubled)}"
        yield f"wrong time   {_some(self.misdated)}"
        yield f"counted      {self.counted.total()} {dict(self.counted)}, perhaps {self.perhaps} more"
        yield f"difference   {self.difference}: published, less what arrived, less what is counted"
        yield f"unexplained  {self.unexplained}"
        yield (
            f"sent again   {sent.again} of {sent.samples} samples, {sent.again_bytes / 1000:.1f} of "
            f"{sent.bytes / 1000:.1f} kB; truly missing {sent.missing} samples, {sent.missing_bytes / 1000:.1f} kB "
            f"(lost by the server {sent.lost}, answer lost {sent.unanswered})"
        )
        yield f"ratio        {self.resend_ratio:.2f} bytes for one that was missing, budget {WORTH_IT}"


def _some(numbers: set[int] | set[tuple[str, ...]]) -> str:
    """Return how many there are, and the first of them."""
    return f"{len(numbers)} {sorted(numbers)[:5]}" if numbers else "0"
