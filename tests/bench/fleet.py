"""`make fleet`: many devices and one server that goes away and comes back: who asks it when, and is all of it there.

Each device is the shipper's own dispatch, with its lanes, modes, backoff and backfill, its own connection, and a
buffer in memory; all are started at the same second. The server is a real victoria-metrics, on loopback.
"""

from __future__ import annotations

import argparse
import heapq
import json
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote
from urllib.request import urlopen

from tests.bench.figures import Figure, table
from tests.bench.fleet_device import SAMPLES_A_MINUTE, Device
from tests.bench.usage import Watch
from tests.chaos.server import RealServer
from tests.harness import require
from tests.scratch import scratch

CAUGHT_UP_S = 240.0  # at most, after the last sample
DAY_S = 86_400
OUTAGE_SHARE = 0.25  # of the time; it begins after as much of it


class Fleet:
    """All devices, turned as each is due.

    Attributes:
        requests: by second since the start, those that were answered and those that were not.
        late_s: by how much the simulation itself was late at most.
    """

    def __init__(self, devices: list[Device]) -> None:
        self.devices = devices
        self.began_s = time.monotonic()
        self.requests: Counter[int] = Counter()
        self.refused: Counter[int] = Counter()
        self.late_s = 0.0
        self._due = [(self.began_s, number) for number in range(len(devices))]

    def run(self, until_s: float, *, collecting: bool = True) -> None:
        """Turn devices until a moment, in seconds since the start, or until nothing waits."""
        while self._due[0][0] < self.began_s + until_s and (collecting or self.waiting):
            due_s, number = heapq.heappop(self._due)
            now_s = time.monotonic()
            time.sleep(max(0.0, due_s - now_s))
            self.late_s = max(self.late_s, now_s - due_s)
            device = self.devices[number]
            next_s = device.turn(collecting=collecting)
            second = int(time.monotonic() - self.began_s)
            self.requests[second] += device.answered
            self.refused[second] += device.refused
            heapq.heappush(self._due, (max(next_s, now_s + 0.01), number))

    @property
    def waiting(self) -> int:
        """How many samples are at no server yet."""
        return sum(device.buffer.waiting for device in self.devices)


def measure(devices: int, minutes: float) -> Iterator[Figure]:
    """Run them all; give what the server saw."""
    with scratch() as folder:
        server = RealServer(require("victoria-metrics"), folder)
        server.start()
        try:
            yield from _measured(server, folder, devices, 60 * minutes)
        finally:
            server.kill()


def _measured(server: RealServer, folder: Path, devices: int, seconds: float) -> Iterator[Figure]:
    outage_s = OUTAGE_SHARE * seconds
    fleet = Fleet([Device(f"device-{number:05}", f"{server.url}/api/v1/import", folder) for number in range(devices)])
    rate = f"{devices * SAMPLES_A_MINUTE / 60:,.0f} samples/s"
    _say(f"{devices} devices, {rate}")
    fleet.run(outage_s)
    calm = range(int(min(60.0, outage_s / 2)), int(outage_s))
    server.kill(signal.SIGTERM)
    _say(f"the server is away for {outage_s:.0f} s")
    fleet.run(2 * outage_s)
    held, back = fleet.waiting, int(time.monotonic() - fleet.began_s)
    server.start()
    watch = Watch([server.pid])
    _say(f"it is back, {held:,} samples wait")
    fleet.run(seconds)
    use = watch.use()
    fleet.run(seconds + CAUGHT_UP_S, collecting=False)
    made, there = sum(device.buffer.made for device in fleet.devices), _stored(server)
    after = range(back, int(seconds))
    mean = sum(fleet.requests[second] for second in calm) / len(calm)
    yield Figure("requests in calm, mean", mean, "/s", "", f"most in a second: {_most(fleet.requests, calm)}; {rate}")
    first = range(min(10, int(outage_s)))
    yield Figure("requests at the start of all, most", _most(fleet.requests, first), "/s", "", f"{devices} at once")
    away = range(int(outage_s), back)
    yield Figure("attempts while it is away, most", _most(fleet.refused, away), "/s")
    tens = ", ".join(f"{sum(fleet.requests[s + one] for one in range(10)) / 10:.0f}" for s in list(after)[:120:10])
    most = _most(fleet.requests, after)
    yield Figure("requests after it is back, most", most, "/s", "", f"means of ten seconds: {tens}")
    yield Figure("samples made", made, "", "", f"stored: {there:,}; still waiting: {fleet.waiting:,}")
    yield Figure("samples lost or doubled", abs(made - there), "", "0", f"held over the outage: {held:,}")
    sent = sum(device.sent_bytes for device in fleet.devices)
    daily = f"{sent / devices / seconds * DAY_S / 1e6:.1f} MB a day and device"
    yield Figure("on the wire", sent / max(1, made), "bytes/sample", "", daily)
    yield Figure("the server's CPU after it is back", use.cpu_percent, "% of a core", "", f"{use.memory_mib:,.0f} MiB")
    yield Figure("the simulation was late by, most", fleet.late_s, "s")


def _most(counted: Counter[int], seconds: range) -> int:
    return max((counted[second] for second in seconds), default=0)


def _stored(server: RealServer) -> int:
    """Return how many samples the server has."""
    urlopen(f"{server.url}/internal/force_flush", timeout=60).close()
    query = quote('sum(count_over_time({__name__=~"fleet_.*"}[1d]))')
    with urlopen(f"{server.url}/api/v1/query?query={query}&nocache=1", timeout=120) as answer:
        result = json.load(answer)["data"]["result"]
    return int(result[0]["value"][1]) if result else 0


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def main() -> int:
    """Print a table."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.fleet", description=__doc__)
    parser.add_argument("--devices", type=int, default=500)
    parser.add_argument("--minutes", type=float, default=6.0, help="a quarter of it the server is away")
    options = parser.parse_args()
    print("\n".join(table(measure(options.devices, options.minutes))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
