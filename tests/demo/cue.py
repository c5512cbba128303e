"""An episode that somebody else decides on while it is played: a file has its name.

Reads: a file with the name of an episode, `crash` among them, or nothing for calm. Emits: a `Scene`; beside that file
another one, `.played`, with what was shown when. Fails: a file that is not there is calm.
"""

from __future__ import annotations

import json
from pathlib import Path

from tests.demo.scene import Scene, scene_of

NEW_RUN = frozenset({"stop", "crash"})  # after which the encoder is another process


class Cue:
    """What is played now.

    Args:
        file: with the episode's name.
        seed: as for `scene_of`.
    """

    def __init__(self, file: Path, seed: int) -> None:
        self._file = file
        self._seed = seed
        self._run = 0
        self._was = ""

    def scene(self, at_s: float) -> Scene:
        """Return what the board does at a moment."""
        episode = self._read()
        if self._was in NEW_RUN and episode != self._was:
            self._run += 1
        self._was = episode
        return scene_of(episode or None, self._run, at_s, self._seed)

    def note(self, scene: Scene, now_ms: int) -> None:
        """Note what is shown from now on, as a line of JSON: time, episode, scene."""
        with self._file.with_suffix(".played").open("a", encoding="ascii") as notes:
            notes.write(json.dumps([now_ms, self._was, scene._asdict()]) + "\n")

    def _read(self) -> str:
        try:
            return self._file.read_text(encoding="ascii").strip()
        except OSError:
            return ""
