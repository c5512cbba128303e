"""The tap beside a real SRT stream: its numbers against those of the programs and networks it looks at.

Needs the right to packet sockets and `srt-live-transmit`.
"""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path as File
from statistics import median
from typing import Any

import pytest

from collectors.host import Host
from collectors.srt import bond, connection_samples
from collectors.srt.bond import Bond
from collectors.srt.link import SILENT_S
from collectors.srt.round_trips import RTT_KEPT_S
from collectors.srt.tap import Tap
from common.sample import Sample
from tests.bonding.kernel_network import KernelNetwork
from tests.bonding.network import Network, Relay
from tests.bonding.srtla import Path, Receiver, Sender
from tests.free_port import free_port
from tests.harness import require, wait_for

PACKET = 1316
RATE_BPS = 8_000_000
SENDS_S, REST_S = 8.0, 0.5


class Stream:
    """A real SRT stream of our own packets from one `srt-live-transmit` to another."""

    def __init__(self, folder: File, target_port: int, listen_port: int, latency_ms: int = 600) -> None:
        program = require("srt-live-transmit")
        self._statistics = folder / "statistics.json"
        options = ["-q", "-s:50", "-pf:json", "-f"]
        self._feed_port = free_port()
        sink = free_port()
        self._processes = [
            subprocess.Popen(
                [program, "-q", f"srt://:{listen_port}?latency={latency_ms}", f"udp://127.0.0.1:{sink}"],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            ),
            subprocess.Popen(
                [
                    *(program, *options, f"-statsout:{self._statistics}", f"udp://127.0.0.1:{self._feed_port}"),
                    f"srt://127.0.0.1:{target_port}?latency={latency_ms}",
                ],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            ),
        ]
        self._feed = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def send(self, seconds: float, tap: Tap) -> float:
        """Send at `RATE_BPS`, and have the tap read twice a second; return the CPU seconds that took."""
        used_s = 0.0
        began_s = read_s = time.monotonic()
        sent = 0
        while (now_s := time.monotonic()) - began_s < seconds:
            while sent < (now_s - began_s) * RATE_BPS / 8 / PACKET:
                self._feed.sendto(b"\x47" + sent.to_bytes(4, "big") * (PACKET // 4 - 1), ("127.0.0.1", self._feed_port))
                sent += 1
            if now_s - read_s >= 0.5:
                read_s = now_s
                drained_s = time.thread_time()
                tap.drain(time.time())
                used_s += time.thread_time() - drained_s
            time.sleep(0.004)
        rest(tap)
        return used_s

    def counted(self) -> list[dict[str, Any]]:
        """Return what the program itself has counted, one line every 50 packets."""
        lines = self._statistics.read_text().splitlines() if self._statistics.exists() else []
        return [json.loads(line) for line in lines]

    def close(self) -> None:
        """End both programs."""
        self._feed.close()
        for process in self._processes:
            process.terminate()
            process.wait()


@pytest.fixture
def network() -> Iterator[Network]:
    """A network in a thread."""
    made = KernelNetwork(7)
    made.start()
    yield made
    made.close()


def rest(tap: Tap) -> None:
    """Read the tap until nothing more is sent: what was lost last is asked for and sent again."""
    before: tuple[int, ...] = ()
    while before != (now := (*tap.sent(), *(link.packets.sent for link in tap.links.values()))):
        before = now
        time.sleep(REST_S)
        tap.drain(time.time())


def by_name(samples: Iterator[Sample]) -> dict[str, float]:
    """Return the values of samples without labels."""
    return {sample.name: float(sample.value) for sample in samples if not sample.tags}


@pytest.mark.root
def test_the_tap_agrees_with_the_sender_itself(tmp_path: File, network: Network) -> None:
    """Round trip within 5 % or 2 ms, packets within 1 % of what the program counted itself."""
    port, listen_port = free_port(), free_port()
    relay = Relay(network, port, ("127.0.0.1", listen_port), delay_s=0.02, loss=0.04)
    tap = Tap(port, free_port(), [])
    stream = Stream(tmp_path, port, listen_port)
    try:
        wait_for("the connection", lambda: relay.sent > 2)
        stream.send(SENDS_S, tap)
        counts = connection_samples.connection(tap, connection_samples.Totals(), 10.0, time.time())
        said, counted = by_name(counts), stream.counted()
    finally:
        stream.close()
        tap.close()
    sent, rtt_ms = counted[-1]["send"], median(line["link"]["rtt"] for line in counted)
    print(f"tap {said}\nprogram {rtt_ms} {counted[-1]}")
    assert said["srt.rtt_ms"] > 40 - 1  # the path's; on a busy machine its threads add their wake-ups, for both alike
    trips_ms = [line["link"]["rtt"] for line in counted[len(counted) // 3 :]]  # the last seconds, of which ours is
    assert min(trips_ms) < said["srt.rtt_ms"] + 2 < max(trips_ms) + 4  # the same but on a busy machine
    assert 600 == tap.connection.negotiated.latency_ms
    # The program writes a line every 50 packets; the tap reads to the end.
    for name, theirs in (("sent", "packets"), ("retransmitted", "packetsRetransmitted"), ("lost", "packetsLost")):
        assert abs(said[f"srt.packets_{name}_total"] - sent[theirs]) <= 50 + 0.01 * sent[theirs], name
    assert 0 == said["srt.tap_missed_packets_total"]


@pytest.mark.root
def test_each_link_has_its_own_numbers(tmp_path: File, network: Network) -> None:
    """Three links of 10, 30 and 60 ms one way and 0, 5 and 1 % loss, as the collector reports them."""
    paths = [Path("127.0.0.2", 0.01), Path("127.0.0.3", 0.03, 0.05), Path("127.0.0.4", 0.06, 0.01)]
    addresses = [path.address for path in paths]
    srt_port, srtla_port, listen_port = free_port(), free_port(), free_port()
    tap = Tap(srt_port, srtla_port, addresses)
    Receiver(network, srtla_port, ("127.0.0.1", listen_port), paths)
    Sender(network, srt_port, ("127.0.0.1", srtla_port), addresses)
    stream = Stream(tmp_path, srt_port, listen_port, latency_ms=1500)
    host, links = Host(tmp_path), Bond()
    try:
        wait_for("the links", lambda: are_up(tap))
        stream.send(2, tap)
        wait_for("the connection", lambda: is_connected(tap))
        used_s = stream.send(SENDS_S, tap)
        links.follow(host, addresses, tap)
        samples = list(bond.samples(host, links, tap, time.time()))
        trips_ms = {path.address: trips_of(path, time.time()) for path in paths}
        sent = {path.address: path.data for path in paths}
        list(links.changes(tap, time.time()))
        cut_s = time.time()
        cut(paths[0], tap, stream)
        down = {event.subject for event in links.changes(tap, time.time()) if event.kind == "srtla_link_down"}
        silent = {path.address for path in paths if longest_silence_s(path, cut_s - SILENT_S, time.time()) > SILENT_S}
    finally:
        stream.close()
        tap.close()
    found = {(sample.name, sample.tags.get("ip")): float(sample.value) for sample in samples}
    print("\n".join(f"{name} {ip} {value}" for (name, ip), value in found.items()))
    print(f"the network's own round trips { ({one: (min(took), median(took)) for one, took in trips_ms.items()}) } ms")
    print(f"the tap used {used_s:.3f} s of CPU in {SENDS_S:g} s at {RATE_BPS / 1e6:g} Mbit/s")
    for path in paths:
        least_ms, most_ms = min(trips_ms[path.address]), max(trips_ms[path.address])  # the same but on a busy machine
        assert 2000 * path.delay_s < least_ms < found["srtla.link_rtt_ms", path.address] + 2 < most_ms + 4
        packets = found["srtla.link_packets_sent_total", path.address]
        assert packets == pytest.approx(sent[path.address], rel=0.005, abs=2)
        assert 1 == found["srtla.link_up", path.address]
    assert 3 == found["srtla.active_links", None]
    assert "127.0.0.2" in down
    assert down <= silent  # no other one but on a busy machine, on which the network itself is late


def trips_of(path: Path, now_s: float) -> list[float]:
    """Return what the network itself took in the seconds of which the tap has round trips, or the last time; ms."""
    fresh = [took_s for at_s, took_s in path.trips_s if now_s - at_s < RTT_KEPT_S] or [path.trips_s[-1][1]]
    return [1000 * took_s for took_s in fresh]


def longest_silence_s(path: Path, begin_s: float, end_s: float) -> float:
    """Return for how long at most the network itself has answered nothing over a link."""
    times_s = [begin_s, *(at_s for at_s, _ in path.trips_s if at_s > begin_s), end_s]
    return max(after_s - before_s for before_s, after_s in pairwise(times_s))


def cut(path: Path, tap: Tap, stream: Stream) -> None:
    """Cut a link, and wait until it is seen."""
    path.is_cut = True
    wait_for("the dead link", lambda: is_dead(path.address, tap, stream))


def is_connected(tap: Tap) -> bool:
    """Read the tap; tell whether the receiver acknowledges."""
    tap.drain(time.time())
    return tap.connection.is_connected(time.time()) is True


def are_up(tap: Tap) -> bool:
    """Read the tap; tell whether every link has answered its registration."""
    tap.drain(time.time())
    return all(link.is_up(time.time()) for link in tap.links.values())


def is_dead(address: str, tap: Tap, stream: Stream) -> bool:
    """Go on sending; tell whether a link is seen as dead."""
    stream.send(0.3, tap)
    return tap.links[address].is_up(time.time()) is False
