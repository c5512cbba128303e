"""What the kernel of the played board says, when something changes.

Reads: a `Scene`. Emits: records at the end of dev/kmsg.
"""

from __future__ import annotations

from tests.demo.scene import Scene
from tests.demo.tree import Tree

INFO, WARNING = 6, 4
HDMI = "fdee0000.hdmirx-controller: hdmirx_wait_lock_and_get_timing"


class KernelLog:
    """The log of one board."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._before: Scene | None = None
        self._sequence = 1000
        self._up_s = 0.0
        tree.put("dev/kmsg", "")

    def play(self, scene: Scene, elapsed_s: float) -> None:
        """Say what has changed."""
        self._up_s += elapsed_s
        before, self._before = self._before, scene
        if before is None:
            return
        if before.hdmi != scene.hdmi:
            word = "signal lock ok, i:23!" if scene.hdmi else "signal not lock, tmds_clk_ratio:0"
            self._say(INFO if scene.hdmi else WARNING, f"{HDMI} {word}")
        for was, link in zip(before.links, scene.links, strict=True):
            if was.up != link.up:
                word = "new high-speed USB device number 5" if link.up else "USB disconnect, device number 4"
                self._say(INFO, f"usb 1-1: {word}")

    def _say(self, level: int, message: str) -> None:
        self._sequence += 1
        with (self._tree.root / "dev/kmsg").open("a") as log:
            log.write(f"{level},{self._sequence},{int(self._up_s * 1e6)},-;{message}\n")
