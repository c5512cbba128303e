"""The modems of the played board, as ModemManager would show them.

Reads: a `Scene`. Emits: the file `modems`.
"""

from __future__ import annotations

import json

from tests.demo.scene import Link, Scene
from tests.demo.tree import Tree

CONNECTED, REGISTERED = 11, 8
# By interface: id, model, carrier, technology, signal in percent.
MODEMS = {
    "usb0": ("3f9a01c2", "EM12-G", "Vodafone", "lte", 71),
    "wwan0": ("b7740d18", "RM520N-GL", "T-Mobile", "5gnr", 64),
    "enx020000000010": ("05ce9e6b", "E3372h", "O2", "lte", 42),
}


class Modems:
    """One for each uplink."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._sent = dict.fromkeys(MODEMS, 0.0)
        self._connected_s = dict.fromkeys(MODEMS, 0.0)

    def play(self, scene: Scene, elapsed_s: float) -> None:
        """Write what they show at this moment."""
        for link in scene.links:
            self._sent[link.interface] += link.bits_per_second / 8 * elapsed_s
            self._connected_s[link.interface] = self._connected_s[link.interface] + elapsed_s if link.up else 0.0
        self._tree.put("modems", json.dumps([self._modem(link) for link in scene.links]) + "\n")

    def _modem(self, link: Link) -> dict[str, object]:
        name, model, carrier, technology, percent = MODEMS[link.interface]
        shown = percent if link.up else 8
        return {
            "path": f"/org/freedesktop/ModemManager1/Modem/{list(MODEMS).index(link.interface)}",
            "id": name, "model": model, "carrier": carrier, "technology": technology, "interface": link.interface,
            "state": CONNECTED if link.up else REGISTERED, "is_roaming": False, "signal_percent": shown,
            "signal": {"rssi": -110.0 + 0.6 * shown, "rsrp": -130.0 + 0.6 * shown, "rsrq": -12.0, "snr": shown / 5 - 3},
            "is_polled": True,
            "stats": {
                "tx-bytes": round(self._sent[link.interface]), "rx-bytes": 51_200,
                "duration": int(self._connected_s[link.interface]),
            },
        }  # fmt: skip
