"""A producer that knows what it published: numbered samples, and a ledger of those that were.

Writes a number to the ledger only after `publish` returned, so whatever happens to any process, every
number in the ledger must be in the database once and at the server once, at the time that stands beside it, which is
true whatever clock the pipeline is shown. Run by supervisord like every producer; killed like every producer, it goes
on after the highest number it ever tried.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from common import clock, service
from common.sample import Sample
from common.service import Service

METRIC = "oracle.number"  # not in the catalogue: normal priority
STEP_MS = 1_000  # a clock that goes back by more was set


class Oracle:
    """Publish the next numbers on every step."""

    def __init__(
        self, running: Service, ledger: Path, numbers_per_step: int, interval_s: float, age_s: float = 0.0
    ) -> None:
        self._publisher = running.publishes()
        self._ledger = os.open(ledger, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._pause, self._paused = pause(ledger), paused(ledger)
        self._tried = os.open(ledger.with_suffix(".tried"), os.O_RDWR | os.O_CREAT, 0o600)
        self._next = int(os.pread(self._tried, 20, 0) or b"0")
        self._numbers_per_step = numbers_per_step
        self._age_ms = int(1000 * age_s)
        self._last_ms = 0
        running.loop.every(interval_s, self.step)

    def step(self) -> None:
        """Publish one batch of numbers, each a series' sample of its own, and put them into the ledger."""
        if self._pause.exists():
            self._paused.touch()
            return
        timestamp_ms, true_ms = clock.wall_ms() - self._age_ms, time.time_ns() // 1_000_000 - self._age_ms
        if self._last_ms - STEP_MS < timestamp_ms <= self._last_ms:  # one value per series and millisecond
            timestamp_ms = self._last_ms + 1
        self._last_ms = timestamp_ms
        numbers = range(self._next, self._next + self._numbers_per_step)
        self._next = numbers.stop
        os.pwrite(self._tried, b"%020d" % self._next, 0)
        samples = [Sample(METRIC, number, {"slot": str(slot)}) for slot, number in enumerate(numbers)]
        self._publisher.publish(samples, timestamp_ms)
        os.write(self._ledger, b"".join(b"%d %d\n" % (number, true_ms) for number in numbers))


def pause(ledger: Path) -> Path:
    """Return the file beside a ledger that makes the oracle publish no more, and deliver what it has."""
    return ledger.with_suffix(".pause")


def paused(ledger: Path) -> Path:
    """Return the file that the oracle makes once it publishes no more."""
    return ledger.with_suffix(".paused")


def published(ledger: Path) -> set[int]:
    """Return the numbers that were published, by the ledger."""
    return set(published_ms(ledger))


def published_ms(ledger: Path) -> dict[int, int]:
    """Return the numbers that were published, and the true time of each, Unix milliseconds."""
    if not ledger.exists():
        return {}
    rows = map(str.split, ledger.read_text(encoding="ascii").splitlines())
    return {int(number): int(true_ms) for number, true_ms in rows}


if __name__ == "__main__":
    parser = service.options_parser("tests.oracle", "Publish numbered samples and keep a ledger of them.")
    parser.add_argument("--ledger", type=Path, required=True)
    parser.add_argument("--numbers", type=int, default=10, help="samples per step")
    parser.add_argument("--interval", type=float, default=0.1, help="seconds between steps")
    parser.add_argument("--age", type=float, default=0.0, help="date samples this many seconds back")
    parser.add_argument("--name", default="oracle")
    options = parser.parse_args()

    def build(_options: object) -> Service:  # noqa: D103
        running = Service(options.name, options)
        Oracle(running, options.ledger, options.numbers, options.interval, options.age)
        return running

    sys.exit(service.main(build, options))
