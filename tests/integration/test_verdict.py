"""The verdict while things happen: played on the board, watched five times a second, held against what was played.

The whole pipeline with its own intervals, as an operator runs it; each fault is played on cue, so that the moment it
began is known.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from common.thresholds import RANKS
from tests.fake_vm import FakeVm
from tests.harness import Pipeline, wait_for

LEVELS = {**RANKS, "idle": 0}
LOOK_S = 0.2
SETTLE_LOOKS = 15  # while a fault lasts
SLACK_S = 3.0  # a step of the play and a look here, and a machine that does other things too

DERIVED = ("stream.health_score", "stream.latency_estimate_ms", "stream.reliability_percent", "encoder.efficiency")


class Fault(NamedTuple):
    """What is played, what the verdict has to say of it, and within which time."""

    cue: str
    words: str
    level: str
    within_s: float


FAULTS = (
    Fault("rtt", "Round trip", "error", 3),
    Fault("link", "is down", "degraded", 2),
    Fault("heat", "Temperature", "error", 5),
    Fault("hdmi", "No picture", "error", 2),
    Fault("crash", "The encoder is gone", "error", 2),
    Fault("stop", "The stream has ended", "idle", 2),
)


class Watch(threading.Thread):
    """Looks at the page's picture all the time.

    Attributes:
        seen: each picture with the time at which it was asked for.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        super().__init__(daemon=True)
        self.seen: list[tuple[float, dict[str, Any]]] = []
        self._pipeline = pipeline
        self._over = threading.Event()

    def run(self) -> None:
        """Look until it is told to end."""
        while not self._over.wait(LOOK_S):
            asked_s = time.time()
            status, body = self._pipeline.get("/api/now")
            if status == 200:
                self.seen.append((asked_s, json.loads(body)))

    def end(self) -> None:
        """Look no more."""
        self._over.set()
        self.join()

    def stream(self) -> dict[str, Any]:
        """Return the latest verdict on the stream."""
        return stream_of(self.seen[-1][1]) if self.seen else {"level": "", "title": "", "reasons": []}

    def says(self, words: str) -> str:
        """Return the latest verdict's title if it or a reason has some words, else ""."""
        return str(self.stream()["title"]) if says(self.stream(), words) else ""

    def is_healthy(self) -> bool:
        """Tell whether the latest verdict is a good one; print another one."""
        healthy = bool(self.stream()["title"] == "Stream healthy")
        if not healthy and len(self.seen) % 25 == 0:
            print([reason["title"] for reason in self.stream()["reasons"]] or self.stream()["title"])
        return healthy

    def has_looked(self, looks: int) -> bool:
        """Tell whether it has looked so often."""
        return len(self.seen) >= looks

    def first(self, words: str, after_s: float) -> float:
        """Return when the verdict or one of its reasons first had some words."""
        return next(at_s for at_s, picture in self.seen if at_s >= after_s and says(stream_of(picture), words))


def stream_of(picture: dict[str, Any]) -> dict[str, Any]:
    """Return the verdict on the stream."""
    found: dict[str, Any] = next(one for one in picture["verdicts"] if one["id"] == "stream")
    return found


def says(verdict: dict[str, Any], words: str) -> bool:
    """Tell whether a verdict or one of its reasons has some words."""
    return any(words in title for title in (verdict["title"], *(reason["title"] for reason in verdict["reasons"])))


def worst_beneath(picture: dict[str, Any]) -> int:
    """Return the worst level of what is shown of the stream and the device."""
    tiles = [tile["level"] for group in picture["groups"][:2] for tile in group["tiles"]]
    return max((LEVELS[level] for level in (*tiles, *(link["level"] for link in picture["links"]))), default=0)


@contextmanager
def playing(run_dir: Path, vm: FakeVm) -> Iterator[tuple[Pipeline, Path, Watch]]:
    """Run the pipeline on a played board; give it, the file of cues, and the watch."""
    cue = run_dir / "cue"
    with Pipeline(run_dir, vm.import_url, {"DEMO": f"--cue {cue}"}) as pipeline:
        wait_for("the page", lambda: pipeline.get("/")[0] == 200)
        watch = Watch(pipeline)
        watch.start()
        try:
            yield pipeline, cue, watch
        finally:
            watch.end()


def play(cue: Path, episode: str) -> float:
    """Begin an episode, or calm; return the time."""
    fresh = cue.with_suffix(".new")
    fresh.write_text(episode, encoding="ascii")
    fresh.replace(cue)
    return time.time()


@pytest.mark.timeout(420)
def test_what_is_played_is_said_at_once(run_dir: Path, vm: FakeVm) -> None:
    """Each episode is the verdict within its time; nothing is redder than it, nothing is derived outside of live."""
    lags: dict[str, float] = {}
    dead: list[tuple[float, float]] = []
    with playing(run_dir, vm) as (pipeline, cue, watch):
        wait_for("a healthy stream", watch.is_healthy, 60)
        for fault in FAULTS:
            began_s = play(cue, fault.cue)
            wait_for(fault.words, partial(watch.says, fault.words))
            lags[fault.cue] = watch.first(fault.words, began_s) - began_s
            print(f"{fault.cue}: said after {lags[fault.cue]:.1f} s, {fault.within_s:g} wanted")
            looks = len(watch.seen) + SETTLE_LOOKS
            wait_for("more of it", partial(watch.has_looked, looks))
            over_s = play(cue, "")
            if fault.cue in {"stop", "crash"}:
                dead.append((began_s, over_s))
            wait_for("calm", watch.is_healthy, 60)
        watch.end()
        rows = rows_of(pipeline.database)
    redder = [
        (at_s, one["verdicts"]) for at_s, one in watch.seen if worst_beneath(one) > LEVELS[stream_of(one)["level"]]
    ]
    assert [] == redder
    assert {} == {one.cue: lags[one.cue] for one in FAULTS if lags[one.cue] > one.within_s + SLACK_S}
    assert [] == [row for row in rows for began_s, over_s in dead if began_s + 2 < row[1] / 1000 < over_s]


def rows_of(database: Path) -> list[tuple[str, int]]:
    """Return name and time of every sample that is derived from the stream."""
    marks = ", ".join("?" * len(DERIVED))
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        query = f"SELECT metric_name, timestamp_ms FROM metrics WHERE metric_name IN ({marks})"
        return list(connection.execute(query, DERIVED))
