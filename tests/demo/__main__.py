"""`python -m tests.demo`: play a stream on a copy of a recorded Orange Pi 5+, until it is ended.

Reads: the recorded tree. Emits: a tree that moves all the time. Fails: exit 1 where it cannot write.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

from tests.demo.cue import Cue
from tests.demo.kernel import Kernel
from tests.demo.kernel_log import KernelLog
from tests.demo.modems import Modems
from tests.demo.outside import Outside
from tests.demo.packets import Packets, claim, is_tapped, loopback
from tests.demo.programs import PORT, Programs
from tests.demo.scene import EPISODES, Scene, scene_at
from tests.demo.tree import Tree

RECORDED = Path(__file__).parents[1] / "fixtures/opi5plus/vendor-6.1.115/1"
# Of the recording: what others said, and a stream that does not play.
STILL = ("committed", "proc/3963", "proc/3964", "proc/mpp_service/sessions-summary")
STEP_S = 0.2  # the collectors count over seconds: coarser steps would show as a rate that jumps
PACKETS_STEP_S = 0.01  # an acknowledgement each


class Player:
    """A board on which a stream plays; `packets` has it play on the loopback interface too."""

    def __init__(
        self, root: Path, seed: int = 1, only: str | None = None, *, packets: bool = False, cue: Path | None = None
    ) -> None:
        tree = Tree(RECORDED, root, without=STILL)
        self._claim = claim() if packets else None
        plays = self._claim.getsockname()[1] - PORT if self._claim else 0
        self._programs = Programs(tree, plays)
        self._parts = (Kernel(tree), KernelLog(tree), Modems(tree), Outside(tree))
        self._packets = Packets(loopback(), plays, is_tapped) if packets else None
        self._seed, self._only = seed, only
        self._cue = Cue(cue, seed) if cue is not None else None

    def run(self) -> None:
        """Play on and on."""
        began_s = shown_s = sent_s = time.monotonic()
        while True:
            now_s = time.monotonic()
            if now_s - shown_s >= STEP_S:
                self.step(now_s - began_s, now_s - shown_s, time.time_ns() // 1_000_000)
                shown_s = now_s
            if self._packets is not None:
                self._packets.play(self._scene(now_s - began_s), now_s, now_s - sent_s)
                sent_s = now_s
            time.sleep(STEP_S if self._packets is None else PACKETS_STEP_S)

    def step(self, at_s: float, elapsed_s: float, now_ms: int) -> None:
        """Show the board at `at_s` seconds into the play."""
        scene = self._scene(at_s)
        for part in self._parts:
            part.play(scene, elapsed_s)
        self._programs.play(scene, elapsed_s, now_ms)
        if self._cue is not None:
            self._cue.note(scene, now_ms)

    def _scene(self, at_s: float) -> Scene:
        return self._cue.scene(at_s) if self._cue is not None else scene_at(at_s, self._seed, self._only)


def options() -> argparse.Namespace:
    """Return the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.demo", description=__doc__)
    parser.add_argument("root", type=Path, help="folder of the played board; replaced")
    parser.add_argument("--seed", type=int, default=1, help="another seed, another play")
    parser.add_argument("--episode", choices=sorted(EPISODES), help="play this episode alone, every minute")
    parser.add_argument("--cue", type=Path, help="play the episode whose name this file has, `crash` too, else calm")
    parser.add_argument("--packets", action="store_true", help="play its packets on lo, too (needs CAP_NET_RAW)")
    return parser.parse_args()


def main() -> None:
    """Play until SIGTERM or Ctrl-C."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    given = options()
    try:
        player = Player(given.root, given.seed, given.episode, packets=given.packets, cue=given.cue)
    except OSError as error:
        sys.exit(f"{given.root}: {error.strerror or error}")
    with suppress(KeyboardInterrupt):
        player.run()


if __name__ == "__main__":
    main()
