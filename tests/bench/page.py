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
from urllib.request import Request, urlopen

from selenium.webdriver import Chrome

from buffer.storage.store import Store
from common import clock
from common.instruments import Instruments
from common.log import Log
from common.publisher import Publisher
from common.sample import Batch, Sample
from common.settings import Storage
from healthd import procfs
from healthd.page.plots import METRICS
from tests.bench import acked
from tests.bench.figures import Figure
from tests.bench.usage import memory
from tests.browser.chromium import PHONE, chromium
from tests.harness import Pipeline, wait_for

SPANS_S = {"5m": 300, "1h": 3600, "24h": 86_400, "7d": 7 * 86_400}
INTERVAL_MS = 10_000
SERIES = 250  # of a device that streams over three links; those that are plotted among them
BYTES = 80  # of a sample in the file, about
MEGABYTE = 1_000_000
BROWSERS = 10
ASKED = 300  # acks that are timed
BETWEEN_S = 0.02
ROUNDS = 5
WATCHED_S = 20.0
REFRESH_S = 5.0  # between two requests of the page for plots
SLOW = {"offline": False, "latency": 600, "downloadThroughput": 15_000, "uploadThroughput": 15_000}
PAINTED = "return performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0"
WATCH = """
window.shift = 0;
new PerformanceObserver((list) => list.getEntries().forEach((entry) => { window.shift += entry.value; }))
  .observe({ type: "layout-shift", buffered: true });
"""


def figures(folder: Path, megabytes: int) -> Iterator[Figure]:
    """Measure first paint, plots, and what ten viewers cost healthd and the samples."""
    folder.mkdir(mode=0o700)
    _fill(folder / "metrics.db", megabytes * MEGABYTE // BYTES)
    size = f"database of {(folder / 'metrics.db').stat().st_size / MEGABYTE:,.0f} MB"
    with Pipeline(folder, environment={"SERVER": "none"}) as pipeline:
        wait_for("the page", lambda: pipeline.get("/api/now")[0] == 200, 60)
        address = f"http://{(folder / 'healthd.address').read_text(encoding='ascii').strip()}"
        with chromium(folder, PHONE) as browser:
            yield Figure(
                "page: first contentful paint", _paint_ms(browser, address), "ms", "1,000", f"a phone's; {size}"
            )
            verdict_s, shift = _slow_visit(browser, address)
        yield Figure(
            "page: first verdict on a slow link", verdict_s, "s", "2", "120 kbit/s, 600 ms; nothing in its cache"
        )
        yield Figure("page: layout shift of a visit", shift, "", "0.1", f"{WATCHED_S:.0f} s, on that link")
        yield Figure(
            "page: a viewer", _megabytes_an_hour(address), "MB/h", "2", "live numbers, and 5 min of plots on screen"
        )
        pid = pipeline.pid("healthd")
        for span, seconds in SPANS_S.items():
            began_s, took_ms = _cpu_s(pid), 1000 * _timed_s(f"{address}/api/plots?span_s={seconds}")
            beside = f"{size}; {1000 * (_cpu_s(pid) - began_s):.0f} ms of a processor"
            yield Figure(f"page: plots of {span}", took_ms, "ms", "300" if span == "24h" else "", beside)
        (idle_percent, idle_mib), (percent, mib) = _cost(pid), _cost_of_viewers(pid, address)
        yield Figure(f"page: {BROWSERS} viewers", percent - idle_percent, "% of a core", "1", "above nobody's")
        yield Figure(f"page: memory of {BROWSERS} viewers", mib - idle_mib, "MiB", "5", f"nobody: {idle_mib:.1f}")
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


def _paint_ms(browser: Chrome, address: str) -> float:
    """Return the median of a few visits; the browser keeps nothing between them."""
    browser.execute_cdp_cmd("Network.setCacheDisabled", {"cacheDisabled": True})
    painted = []
    for _ in range(ROUNDS):
        browser.get(address)
        painted.append(wait_for("paint", lambda: float(browser.execute_script(PAINTED)), 30))
    return statistics.median(painted)


def _slow_visit(browser: Chrome, address: str) -> tuple[float, float]:
    """Return after how many seconds a verdict is painted over a slow link, and the layout shift from then on."""
    browser.execute_cdp_cmd("Network.enable", {})
    browser.execute_cdp_cmd("Network.setBypassServiceWorker", {"bypass": True})
    browser.execute_cdp_cmd("Network.emulateNetworkConditions", SLOW)
    browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": WATCH})
    browser.get(address)
    painted_ms = wait_for("paint", lambda: float(browser.execute_script(PAINTED)), 30)
    assert browser.execute_script("return document.querySelector('h1').textContent") != "Looking…"
    time.sleep(WATCHED_S)
    return painted_ms / 1000, float(browser.execute_script("return window.shift"))


def _megabytes_an_hour(address: str) -> float:
    """Return what the page asks for in an hour, heads included, from what it costs in half a minute."""
    live = _received(f"{address}/api/live", WATCHED_S) / WATCHED_S
    after_ms = clock.wall_ms() - 10_000
    plots = _received(f"{address}/api/plots?span_s=300&after_ms={after_ms}", WATCHED_S) / REFRESH_S
    return (live + plots) * 3600 / MEGABYTE


def _received(url: str, most_s: float) -> int:
    """Return the bytes of an answer as they come over the wire, of an endless one for some seconds."""
    until_s, received = time.monotonic() + most_s, 0
    with urlopen(Request(url, headers={"Accept-Encoding": "gzip"}), timeout=60) as answer:
        received += len(str(answer.headers))
        while time.monotonic() < until_s and (piece := answer.read1()):
            received += len(piece)
    return received


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


def _cost_of_viewers(pid: int, address: str) -> tuple[float, float]:
    """Return what healthd takes while browsers show the page with its plots."""
    with _watching(address, span_s=300, every_s=REFRESH_S):
        time.sleep(REFRESH_S)
        return _cost(pid)


def _cost(pid: int) -> tuple[float, float]:
    """Return which part of a core a process takes, in percent, and its memory in MiB."""
    began_s, began_cpu_s = time.monotonic(), _cpu_s(pid)
    time.sleep(WATCHED_S)
    return 100 * (_cpu_s(pid) - began_cpu_s) / (time.monotonic() - began_s), memory([pid])


def _cpu_s(pid: int) -> float:
    """Return the CPU time of a process, threads that have ended included."""
    used = procfs.usage(pid)
    assert used is not None
    return used.cpu_seconds


@contextmanager
def _watching(address: str, span_s: int = 86_400, every_s: float = 1.0) -> Iterator[None]:
    """Have some readers that follow the live numbers, compressed, and ask for plots as the page does."""
    over = threading.Event()

    def read() -> None:
        with urlopen(Request(f"{address}/api/live", headers={"Accept-Encoding": "gzip"}), timeout=60) as live:
            while not over.is_set():
                live.read1()

    def plot() -> None:
        while not over.wait(every_s):
            _timed_s(f"{address}/api/plots?span_s={span_s}")

    threads = [threading.Thread(target=target, daemon=True) for target in [read] * BROWSERS + [plot] * BROWSERS]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join(10)
