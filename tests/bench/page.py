"""What the page costs with a large database behind it, and what its readers cost the samples.

Reads: a pipeline whose database was filled with a week of a streaming device; the page in a real Chromium; the time to
    the ack of one urgent sample after another, with nobody and with ten browsers watching.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

from buffer.storage.store import Store
from common import clock
from common.instruments import Instruments
from common.log import Log
from common.publisher import Publisher
from common.sample import Batch, Sample
from common.settings import Storage
from healthd.page.plots import METRICS
from tests.bench import acked
from tests.bench.figures import Figure
from tests.browser.chromium import PHONE, chromium
from tests.harness import Pipeline, require, wait_for

SPANS_S = {"5m": 300, "1h": 3600, "24h": 86_400, "7d": 7 * 86_400}
INTERVAL_MS = 10_000
SERIES = 250  # of a device that streams over three links; those that are plotted among them
BYTES = 80  # of a sample in the file, about
MEGABYTE = 1_000_000
BROWSERS = 10
ASKED = 300  # acks that are timed
BETWEEN_S = 0.02
ROUNDS = 5


def figures(folder: Path, megabytes: int) -> Iterator[Figure]:
    """Measure first paint, plots, and ingest while ten watch."""
    folder.mkdir(mode=0o700)
    _fill(folder / "metrics.db", megabytes * MEGABYTE // BYTES)
    size = f"database of {(folder / 'metrics.db').stat().st_size / MEGABYTE:,.0f} MB"
    with Pipeline(folder, environment={"SERVER": "none"}) as pipeline:
        wait_for("the page", lambda: pipeline.get("/api/now")[0] == 200, 60)
        address = f"http://{(folder / 'healthd.address').read_text(encoding='ascii').strip()}"
        yield Figure("page: first contentful paint", _paint_ms(folder, address), "ms", "1,000", f"a phone's; {size}")
        for span, seconds in SPANS_S.items():
            took_ms = 1000 * _timed_s(f"{address}/api/plots?span_s={seconds}")
            yield Figure(f"page: plots of {span}", took_ms, "ms", "300" if span == "24h" else "", size)
        alone = _acks_ms(folder)
        with _watching(address):
            crowded = _acks_ms(folder)
        yield Figure(f"ack p99, {BROWSERS} browsers watch", crowded, "ms", "", f"nobody watches: {alone:.1f} ms")


def _fill(database: Path, samples: int) -> None:
    """Write the past of a device; every plotted metric is there."""
    store = Store(Storage(path=database), "bench")
    rounds = samples // SERIES
    start_ms = clock.wall_ms() - rounds * INTERVAL_MS
    for first in range(0, rounds, 100):
        numbers = range(first, min(first + 100, rounds))
        store.write(
            Batch("b", "e", n, start_ms + INTERVAL_MS * n, 0, "", urgent=False, samples=_round(n)) for n in numbers
        )
    store.checkpoint()
    store.close()


def _round(number: int) -> list[Sample]:
    tags = {"core": "all"}
    plotted = [Sample(name, (number * 37 + at) % 1000 / 10, tags) for at, name in enumerate(METRICS)]
    others = (Sample("bench.value", number + slot / 10, {"slot": str(slot)}) for slot in range(SERIES - len(METRICS)))
    return [*plotted, *others]


def _paint_ms(folder: Path, address: str) -> float:
    """Return the median of a few visits; the browser keeps nothing between them."""
    require("chromium")
    script = "return performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0"
    painted = []
    with chromium(folder, PHONE) as browser:
        browser.execute_cdp_cmd("Network.setCacheDisabled", {"cacheDisabled": True})
        for _ in range(ROUNDS):
            browser.get(address)
            painted.append(wait_for("paint", lambda: float(browser.execute_script(script)), 30))
    return statistics.median(painted)


def _timed_s(url: str) -> float:
    began_s = time.perf_counter()
    with urlopen(url, timeout=60) as answer:
        answer.read()
    return time.perf_counter() - began_s


def _acks_ms(folder: Path) -> float:
    """Return what one of a hundred urgent samples waits at least for its commit."""
    publisher = Publisher("bench", folder, Instruments(), Log("bench"), 1000)
    delays = []
    try:
        for number in range(ASKED):
            delays.append(1000 * acked.publish(publisher, Sample("bench.ack", number)))
            time.sleep(BETWEEN_S)
    finally:
        publisher.close()
    return statistics.quantiles(delays[1:], n=100)[98]


@contextmanager
def _watching(address: str) -> Iterator[None]:
    """Have some readers that follow the live numbers and ask for a day's plots as the page does."""
    over = threading.Event()

    def read() -> None:
        with urlopen(f"{address}/api/live", timeout=60) as live:
            while not over.is_set():
                live.readline()

    def plot() -> None:
        while not over.wait(1.0):
            _timed_s(f"{address}/api/plots?span_s=86400")

    threads = [threading.Thread(target=target, daemon=True) for target in [read] * BROWSERS + [plot] * BROWSERS]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join(10)
