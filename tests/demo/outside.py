"""What the world says of the played board: the receiver's statistics, and gpsd.

Reads: a `Scene`. Emits: the files `receiver` and `gpsd`.
"""

from __future__ import annotations

import json
import math

from tests.demo.scene import LATENCY_MS, Scene
from tests.demo.tree import Tree

LATITUDE, LONGITUDE = 52.5163, 13.3777  # a walk around the Brandenburg Gate
CIRCLE_DEGREES, CIRCLE_S = 0.0006, 300.0
SPEED_M_S = 1.4
PACKET_BYTES = 1360


class Outside:
    """The receiver and the satellites."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._streamed_s = self._walked_s = 0.0
        self._lost = self._dropped = 0.0

    def play(self, scene: Scene, elapsed_s: float) -> None:
        """Write what they show at this moment."""
        self._streamed_s = self._streamed_s + elapsed_s if scene.streaming else 0.0
        self._walked_s += elapsed_s
        lines = [self._position(), {"class": "SKY", "hdop": 0.9, "satellites": [{"used": at < 9} for at in range(12)]}]
        self._tree.put("gpsd", "".join(f"{json.dumps(line)}\n" for line in lines))
        publishers = {"live": self._publisher(scene, elapsed_s)} if scene.streaming else {}
        self._tree.put("receiver", json.dumps({"status": "ok", "publishers": publishers}) + "\n")

    def _publisher(self, scene: Scene, elapsed_s: float) -> dict[str, float]:
        up = [link for link in scene.links if link.up]
        sent = sum(link.bits_per_second for link in up) / 8 / PACKET_BYTES * elapsed_s
        self._lost += sent * sum(link.loss_percent for link in up) / len(up) / 100
        rtt_ms = max(link.rtt_ms for link in up)
        self._dropped += sent * 0.002 if rtt_ms > LATENCY_MS / 4 else 0
        return {
            "bitrate": scene.bitrate_bps / 1000,
            "rtt": rtt_ms,
            "latency": LATENCY_MS,
            "msRcvBuf": LATENCY_MS - rtt_ms,
            "pktRcvLoss": int(self._lost),
            "pktRcvDrop": int(self._dropped),
            "pktRcvRetrans": int(self._lost * 1.1),
            "mbpsBandwidth": 42.0,
            "uptime": self._streamed_s,
        }

    def _position(self) -> dict[str, float | int | str]:
        angle = 2 * math.pi * self._walked_s / CIRCLE_S
        return {
            "class": "TPV", "mode": 3, "altMSL": 36.0, "speed": SPEED_M_S, "eph": 4.2,
            "lat": round(LATITUDE + CIRCLE_DEGREES * math.cos(angle), 6),
            "lon": round(LONGITUDE + CIRCLE_DEGREES * math.sin(angle), 6),
            "track": round(math.degrees(angle + math.pi / 2) % 360, 1),
        }  # fmt: skip
