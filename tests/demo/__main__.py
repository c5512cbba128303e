"""`python -m tests.demo`: play a stream on a copy of a recorded Orange Pi 5+, until it is ended.

Reads: the recorded tree. Emits: a tree that moves all the time. Fails: exit 1 where it cannot write.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from pathlib import Path

from tests.demo.kernel import Kernel
from tests.demo.kernel_log import KernelLog
from tests.demo.modems import Modems
from tests.demo.outside import Outside
from tests.demo.programs import Programs
from tests.demo.scene import EPISODES, scene_at
from tests.demo.tree import Tree

RECORDED = Path(__file__).parents[1] / "fixtures/opi5plus/vendor-6.1.115/1"
STILL = ("committed", "proc/3963", "proc/3964")  # of the recording: what others said, and a stream that does not play
STEP_S = 0.2  # the collectors count over seconds: coarser steps would show as a rate that jumps


class Player:
    """A board on which a stream plays."""

    def __init__(self, root: Path, seed: int = 1, only: str | None = None) -> None:
        tree = Tree(RECORDED, root)
        for path in STILL:
            tree.remove(path)
        self._programs = Programs(tree)
        self._parts = (Kernel(tree), KernelLog(tree), Modems(tree), Outside(tree))
        self._seed, self._only = seed, only

    def step(self, at_s: float, elapsed_s: float, now_ms: int) -> None:
        """Show the board at `at_s` seconds into the play."""
        scene = scene_at(at_s, self._seed, self._only)
        for part in self._parts:
            part.play(scene, elapsed_s)
        self._programs.play(scene, elapsed_s, now_ms)


def options() -> argparse.Namespace:
    """Return the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.demo", description=__doc__)
    parser.add_argument("root", type=Path, help="folder of the played board; replaced")
    parser.add_argument("--seed", type=int, default=1, help="another seed, another play")
    parser.add_argument("--episode", choices=sorted(EPISODES), help="play this episode alone, every minute")
    return parser.parse_args()


def main() -> None:
    """Play until SIGTERM or Ctrl-C."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    given = options()
    try:
        player = Player(given.root, given.seed, given.episode)
    except OSError as error:
        sys.exit(f"{given.root}: {error.strerror or error}")
    began_s = last_s = time.monotonic()
    try:
        while True:
            now_s = time.monotonic()
            player.step(now_s - began_s, now_s - last_s, time.time_ns() // 1_000_000)
            last_s = now_s
            time.sleep(STEP_S)
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
