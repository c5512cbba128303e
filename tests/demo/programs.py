"""The programs' side of the played board: belacoder, srtla_send and what they leave in /tmp.

Reads: a `Scene` and the wall clock. Emits: /proc/<pid>, /tmp, /proc/net/udp, /opt/belaUI/config.json.
"""

from __future__ import annotations

import ipaddress
import json

from tests.demo.scene import ENCODER_PID, LATENCY_MS, TARGET_BPS, Link, Scene
from tests.demo.tree import Tree

PORT, RECEIVER_PORT = 9000, 5000  # belaUI's
SENDER_PID = 3900
STATISTICS = "tmp/srt-stats.json"  # run.sh has the collector read it
PACKET_BYTES = 1360
ROUTE_HEAD = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
UDP_HEAD = (
    "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt"
    "   uid  timeout inode ref pointer drops\n"
)


class Programs:
    """The stream's processes, started and ended with it.

    Args:
        tree: where they show.
        plays: a number of its own for each play on this machine: its ports are so far from the usual ones.
    """

    def __init__(self, tree: Tree, plays: int = 0) -> None:
        self._tree = tree
        self._port, self._receiver_port = PORT + plays, RECEIVER_PORT + plays
        self._statistics_file = f"tmp/srtla-send-stats-{self._port}.json"
        self._sender: int | None = None
        self._encoder: int | None = None
        self._naks = [0.0] * 3
        self._sent = self._lost = 0.0
        settings = {
            "max_br": TARGET_BPS // 1000,
            "delay": 0,
            "srt_latency": LATENCY_MS,
            "acodec": "aac",
            "asrc": "HDMI",
        }
        recorded = json.loads(tree.read("opt/belaUI/config.json"))
        tree.put("opt/belaUI/config.json", json.dumps(recorded | settings))
        tree.put("tmp/belacoder_br", f"300000\n{TARGET_BPS}\n")

    def play(self, scene: Scene, elapsed_s: float, now_ms: int) -> None:
        """Write what the programs show at this moment."""
        self._follow(scene)
        ups = [link for link in scene.links if link.up]
        self._tree.put("proc/net/route", ROUTE_HEAD + "".join(_route(link) for link in ups))
        self._tree.put("tmp/srtla_ips", "".join(f"{link.ip}\n" for link in ups))
        self._tree.put("proc/net/fib_trie", "".join(f"  |-- {link.ip}\n     /32 host LOCAL\n" for link in ups))
        self._tree.put("proc/net/udp", UDP_HEAD + "".join(_socket(at, link) for at, link in enumerate(ups)))
        if scene.streaming:
            self._telemetry(scene, elapsed_s, now_ms)
            self._statistics(scene, elapsed_s)

    def _follow(self, scene: Scene) -> None:
        """Start and end the programs: both with the stream, the encoder alone when it has died."""
        if scene.streaming and self._sender is None:
            self._sender = SENDER_PID + scene.run
            self._start(
                self._sender,
                f"/usr/bin/srtla_send --stats-file /{self._statistics_file} {self._port} relay.example.org "
                f"{self._receiver_port} /tmp/srtla_ips",
            )
        elif not scene.streaming and self._sender is not None:
            self._tree.remove(f"proc/{self._sender}")
            self._tree.remove(self._statistics_file)
            self._tree.remove(STATISTICS)
            self._sender = None
        encoder = ENCODER_PID + scene.run if scene.encodes else None
        if encoder != self._encoder and self._encoder is not None:
            self._tree.remove(f"proc/{self._encoder}")
        if encoder is not None and encoder != self._encoder:
            line = f"/usr/bin/belacoder /tmp/belacoder_pipeline 127.0.0.1 {self._port} -d 0"
            self._start(encoder, f"{line} -b /tmp/belacoder_br -l {LATENCY_MS}")
        self._encoder = encoder

    def _start(self, pid: int, line: str) -> None:
        started = int(float(self._tree.read("proc/uptime").split()[0]) * 100)
        name = line.split(maxsplit=1)[0].rpartition("/")[2]
        self._tree.put(f"proc/{pid}/comm", f"{name}\n")
        self._tree.put(f"proc/{pid}/cmdline", line.replace(" ", "\0") + "\0")
        zeros = " ".join(["0"] * 17)
        self._tree.put(f"proc/{pid}/stat", f"{pid} ({name}) S 1 {zeros} {started} 0 0\n")

    def _telemetry(self, scene: Scene, elapsed_s: float, now_ms: int) -> None:
        rows: list[dict[str, object]] = []
        for at, link in enumerate(scene.links):
            self._naks[at] += link.bits_per_second / 8 / PACKET_BYTES * link.loss_percent / 100 * elapsed_s
            if link.up:
                rows.append(_connection(len(rows), link, int(self._naks[at])))
        report = {"schema_version": 1, "last_updated_ms": now_ms, "connections": rows}
        self._tree.put(self._statistics_file, json.dumps(report, separators=(",", ":")))

    def _statistics(self, scene: Scene, elapsed_s: float) -> None:
        """Write what srt-live-transmit would, in the place of packets to look at."""
        ups = [link for link in scene.links if link.up]
        bits = sum(link.bits_per_second for link in ups)
        lost_percent = sum(link.loss_percent * link.bits_per_second for link in ups) / max(1, bits)
        sent = bits / 8 / PACKET_BYTES * elapsed_s
        self._sent, self._lost = self._sent + sent, self._lost + sent * lost_percent / 100
        lost = int(self._lost)
        counts = {"packets": int(self._sent) + lost, "packetsLost": lost, "packetsRetransmitted": lost}
        send = {**counts, "packetsDropped": 0, "mbitRate": bits / 1e6}
        link = {"rtt": max((link.rtt_ms for link in ups), default=0) + 4, "bandwidth": 2.5 * TARGET_BPS / 1e6}
        line = json.dumps({"link": link, "send": send, "recv": {"packets": 0, "msTsbPdDelay": LATENCY_MS}})
        self._tree.put(STATISTICS, f"{line}\n")


def _route(link: Link) -> str:
    """Return a row of /proc/net/route: the network that a modem's address is in."""
    network = (ipaddress.ip_address(link.ip).packed[:3] + b"\0")[::-1].hex().upper()
    return f"{link.interface}\t{network}\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0\n"


def _connection(at: int, link: Link, naks: int) -> dict[str, object]:
    return {
        "conn_id": str(at),
        "rtt_ms": link.rtt_ms,
        "nak_count": naks,
        "weight_percent": 85 - 15 * at,
        "window": 8192,
        "in_flight": link.bits_per_second * link.rtt_ms // 1000 // 8 // PACKET_BYTES,
        "bitrate_bps": link.bits_per_second,
    }


def _socket(at: int, link: Link) -> str:
    """Return a row of /proc/net/udp; addresses are little-endian there."""
    address = ipaddress.ip_address(link.ip).packed[::-1].hex().upper()
    queued = link.bits_per_second // 400 if link.rtt_ms > LATENCY_MS // 5 else 0
    return (
        f"{5771 + at:>5}: {address}:{0xCCD7 + at:04X} 00000000:0000 07 {queued:08X}:00000000 "
        f"00:00000000 00000000     0        0 {64683 + at} 2 0000000000000000 0\n"
    )
