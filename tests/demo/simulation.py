"""The played board and all that judges it in one process, by a clock of its own: the same on any machine.

Reads: the played tree and the played packets. Emits: what the sources say, committed as the buffer does, and the
verdict on the stream from it. Between them is no socket and no process: `tests/integration/test_verdict.py` has those.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from collectors import registry
from collectors.host import Host
from collectors.source import Source
from common.changes import Changes
from common.events import Event
from common.sample import Batch, Sample
from common.thresholds import Alerts
from healthd.verdict import stream
from healthd.verdict.latest import Latest
from healthd.verdict.stream import StreamVerdict
from tests.demo.__main__ import STEP_S, Player
from tests.demo.cue import Cue
from tests.demo.packets import Packets
from tests.demo.scene import Scene
from tests.demo.wire import in_its_place

SOURCES = ("cpu", "memory", "thermal", "encoder", "hdmi", "audio", "srt", "session", "derived")
TICK_S, PACKETS_S = 0.1, 0.02
COMMIT_S, LOOK_S, NEWS_S, APART_S = 5.0, 1.0, 0.2, 1.0  # as buffer, healthd and the schedule of the collectors have it
TARGET_BPS = 2_000_000  # a third of the packets
BEGAN_S, WALL_S = 1_000.0, 1_795_000_000.0


@dataclass
class Timed:
    """A source and when it is due."""

    source: Source
    collect_s: float
    watch_s: float
    collected_s: float = 0.0
    is_news: bool = False


@dataclass
class Shown:
    """What was seen at a moment: the verdict, and what is played."""

    at_s: float
    verdict: StreamVerdict
    scene: Scene


@dataclass
class Simulation:
    """A board that is played, and what is made of it.

    Args:
        folder: an empty one.
        patch: replaces an attribute of a module, as pytest's monkeypatch does.
        seed: of the play, and of when each source is due.

    Attributes:
        now_s: its clock, monotonic.
        shown: the verdict at each look.
        events, samples: what was reported and committed, with its time.
        scenes: what was played from a time on.
    """

    folder: Path
    patch: Callable[[str, Any], None]
    seed: int = 1
    now_s: float = BEGAN_S
    shown: list[Shown] = field(default_factory=list)
    events: list[tuple[float, Event]] = field(default_factory=list)
    samples: list[tuple[float, Sample]] = field(default_factory=list)
    scenes: list[tuple[float, Scene]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Put its clock and its packets in the place of the machine's, and play the first step."""
        wire = in_its_place(self.patch, lambda: self.now_s, lambda: WALL_S + self.now_s)
        for module in ("scene", "programs", "packets"):
            self.patch(f"tests.demo.{module}.TARGET_BPS", TARGET_BPS)
        self._file = self.folder / "cue"
        root = self.folder / "host"
        self._player, self._cue = Player(root, self.seed, cue=self._file), Cue(self._file, self.seed)
        self._packets = Packets(wire.send)
        self._chance = random.Random(self.seed)
        self._sources = [self._timed(name, root) for name in SOURCES]
        self._changes, self._latest, self._verdict = Changes(Alerts()), Latest(), stream.NOTHING
        self._waiting: list[Batch] = []
        self._committed_s = self._stepped_s = self._sent_s = self.now_s
        self._look_s, self._looked_s = self.now_s, 0.0
        self._player.step(0.0, 0.0, self._wall_ms())

    def run(self, seconds: float, episode: str = "") -> None:
        """Play an episode, or calm, for some seconds."""
        self._file.write_text(episode, encoding="ascii")
        until_s = self.now_s + seconds
        while self.now_s < until_s - TICK_S / 2:
            self._play()
            for one in self._sources:
                self._turn(one)
            if self._waiting and self.now_s - self._committed_s >= COMMIT_S:
                self._commit()
            if self.now_s >= self._look_s:
                self._look()

    def _timed(self, name: str, root: Path) -> Timed:
        module = registry.load(name)
        source = Source(name, module, Host(root), module.Config(), run_dir=self.folder)
        due_s = self.now_s + self._chance.uniform(0, source.config.interval_s)
        return Timed(source, due_s, self.now_s + self._chance.uniform(0, 1))

    def _wall_ms(self) -> int:
        return int(1000 * (WALL_S + self.now_s))

    def _play(self) -> None:
        """Let a tick pass on the board."""
        scene = self._cue.scene(self.now_s - BEGAN_S)
        self.scenes.append((self.now_s, scene))
        for _ in range(round(TICK_S / PACKETS_S)):
            self.now_s += PACKETS_S
            self._packets.play(scene, self.now_s, PACKETS_S)
        if self.now_s - self._stepped_s >= STEP_S - TICK_S / 2:
            self._player.step(self.now_s - BEGAN_S, self.now_s - self._stepped_s, self._wall_ms())
            self._stepped_s = self.now_s

    def _turn(self, one: Timed) -> None:
        """Collect or watch, if it is time or a packet wakes it."""
        if self.now_s >= one.collect_s:
            one.collected_s, one.collect_s = self.now_s, self.now_s + one.source.config.interval_s
            seen, is_news, one.is_news = one.source.collect(), one.is_news, False
            self._publish(one.source.name, seen.samples, seen.events, urgent=is_news)
        elif one.source.watches and (self.now_s >= one.watch_s or self._is_woken(one.source)):
            self._watch(one)

    @staticmethod
    def _is_woken(source: Source) -> bool:
        return any(one.is_readable for one in getattr(source._state, "descriptors", ()))

    def _watch(self, one: Timed) -> None:
        one.watch_s = self.now_s + one.source.config.watch_interval_s
        seen = one.source.watch()
        if seen.events:
            one.is_news, one.collect_s = True, min(one.collect_s, max(self.now_s, one.collected_s + APART_S))
        self._publish(one.source.name, seen.samples, seen.events)

    def _publish(self, producer: str, samples: list[Sample], events: list[Event], *, urgent: bool = False) -> None:
        """Wait for company, or be committed at once: events, and what changes the page."""
        self.events += [(self.now_s, event) for event in events]
        found, is_news = self._changes.sift(samples)
        if found:
            self._waiting.append(Batch(producer, "e", 1, self._wall_ms(), int(1000 * self.now_s), "b", is_news, found))
        if found and (urgent or is_news or events):
            self._commit()

    def _commit(self) -> None:
        """Tell everybody; who hears says at once what it makes of it."""
        batches, self._waiting, self._committed_s = self._waiting, [], self.now_s
        for batch in batches:
            self.samples += [(batch.timestamp_ms / 1000 - WALL_S, sample) for sample in batch.samples]
            self._latest.take(batch, self.now_s)
            for one in self._sources:
                if one.source.hears:
                    one.source.hear(batch)
        if any(batch.urgent for batch in batches):
            self._look_s = min(self._look_s, max(self.now_s, self._looked_s + NEWS_S))
        for one in self._sources:
            if one.source.hears:
                self._watch(one)

    def _look(self) -> None:
        self._looked_s, self._look_s = self.now_s, self.now_s + LOOK_S
        self._latest.forget(self.now_s)
        self._verdict = stream.assess(self._latest, Alerts(), self.now_s, self._wall_ms(), self._verdict)
        self.shown.append(Shown(self.now_s, self._verdict, self.scenes[-1][1]))
