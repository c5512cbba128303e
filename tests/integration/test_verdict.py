"""The verdict while things happen: played on the board, watched five times a second, held against what was played.

The whole pipeline with its own intervals, as an operator runs it. Each fault is played on cue, and the play notes what
it shows at each step: verdict, tiles, database and the session's row are compared with that.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from common.thresholds import RANKS
from healthd.wording import DASH
from tests.demo.scene import Link, Scene
from tests.fake_vm import FakeVm
from tests.harness import Pipeline, wait_for

LEVELS = {**RANKS, "idle": 0}
LOOK_S = STEP_S = 0.2
MORE_LOOKS = 6  # while a fault lasts
INTERVAL_S, HEAT_INTERVAL_S = 5.0, 30.0  # of what is shown
COMMIT_S = 1.0  # and until it is seen
CALM_COMMIT_S = 5.0  # what changes no level waits for the commit interval
STARTS_S = 1.0  # the played encoder's handshake

DERIVED = (
    *("stream.health_score", "stream.latency_estimate_ms", "stream.reliability_percent", "encoder.efficiency"),
    "network.stability_index",
)


class Fault(NamedTuple):
    """What is played, what the verdict has to say of it, and within which time."""

    cue: str
    words: str
    within_s: float


FAULTS = (
    Fault("rtt", "Round trip", 3),
    Fault("link", "is down", 2),
    Fault("heat", "Temperature", 5),
    Fault("hdmi", "No picture", 2),
    Fault("crash", "The encoder is gone", 2),
)
STOP = Fault("stop", "The stream has ended", 2)


class Step(NamedTuple):
    """What was played from a moment on."""

    at_s: float
    episode: str
    scene: Scene


class Truth:
    """All that was played, in order."""

    def __init__(self, notes: Path) -> None:
        self.steps: list[Step] = []
        for line in notes.read_text(encoding="ascii").splitlines():
            at_ms, episode, fields = json.loads(line)
            links = tuple(Link(*link) for link in fields.pop("links"))
            self.steps.append(Step(at_ms / 1000, episode, Scene(**fields, links=links)))

    def begin_s(self, episode: str) -> float:
        """Return when an episode began."""
        return next(step.at_s for step in self.steps if step.episode == episode)

    def within(self, from_s: float, to_s: float) -> list[Scene]:
        """Return what was played within a time, and what was there at its begin."""
        before = [step for step in self.steps if step.at_s <= from_s][-1:] or self.steps[:1]
        return [step.scene for step in (*before, *(step for step in self.steps if from_s < step.at_s <= to_s))]

    def live(self) -> list[tuple[float, float]]:
        """Return the times in which an encoder ran and had shaken hands."""
        spans: list[tuple[float, float]] = []
        began_s: float | None = None
        for step in self.steps:
            if step.scene.encodes and began_s is None:
                began_s = step.at_s
            elif not step.scene.encodes and began_s is not None:
                spans.append((began_s + STARTS_S, step.at_s))
                began_s = None
        return spans


class Watch(threading.Thread):
    """Looks at the page's picture all the time.

    Attributes:
        seen: each picture with the time at which it was there.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        super().__init__(daemon=True)
        self.seen: list[tuple[float, dict[str, Any]]] = []
        self._pipeline = pipeline
        self._over = threading.Event()

    def run(self) -> None:
        """Look until it is told to end."""
        while not self._over.wait(LOOK_S):
            status, body = self._pipeline.get("/api/now")
            if status == 200:
                self.seen.append((time.time(), json.loads(body)))

    def end(self) -> None:
        """Look no more."""
        self._over.set()
        self.join()

    def says(self, words: str) -> bool:
        """Tell whether the latest verdict on the stream or one of its reasons has some words."""
        return bool(self.seen) and says(self.seen[-1][1], words)

    def has_looked(self, looks: int) -> bool:
        """Tell whether it has looked so often."""
        return len(self.seen) >= looks

    def first_s(self, words: str, after_s: float) -> float:
        """Return when the verdict first had some words."""
        return next(at_s for at_s, picture in self.seen if at_s >= after_s and says(picture, words))


def stream_of(picture: dict[str, Any]) -> dict[str, Any]:
    """Return the verdict on the stream."""
    found: dict[str, Any] = next(one for one in picture["verdicts"] if one["id"] == "stream")
    return found


def says(picture: dict[str, Any], words: str) -> bool:
    """Tell whether the verdict on the stream or one of its reasons has some words."""
    verdict = stream_of(picture)
    return any(words in title for title in (verdict["title"], *(reason["title"] for reason in verdict["reasons"])))


def tiles_of(picture: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the tiles of the stream and the device by their ids."""
    return {tile["id"]: tile for group in picture["groups"][:2] for tile in group["tiles"]}


def worst_beneath(picture: dict[str, Any]) -> int:
    """Return the worst level of what is shown of the stream and the device."""
    levels = [one["level"] for one in (*tiles_of(picture).values(), *picture["links"])]
    return max((LEVELS[level] for level in levels), default=0)


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


def play(cue: Path, watch: Watch, fault: Fault) -> None:
    """Play an episode until it has been said for a while."""
    put(cue, fault.cue)
    wait_for(fault.words, partial(watch.says, fault.words))
    wait_for("more of it", partial(watch.has_looked, len(watch.seen) + MORE_LOOKS))


def put(cue: Path, episode: str) -> None:
    """Name the episode, "" for calm."""
    fresh = cue.with_suffix(".new")
    fresh.write_text(episode, encoding="ascii")
    fresh.replace(cue)


@pytest.mark.root  # without packets it is said seconds later
@pytest.mark.timeout(300)
def test_what_is_played_is_said_at_once(run_dir: Path, vm: FakeVm) -> None:
    """Each episode is the verdict in time, no tile is redder or tells of another time, and the session is what was.

    Long because the episodes come one after the other, each when the one before is over, on the machine's own clock.
    """
    with playing(run_dir, vm) as (pipeline, cue, watch):
        wait_for("a healthy stream", partial(watch.says, "Stream healthy"), 60)
        for fault in FAULTS:
            play(cue, watch, fault)
        put(cue, "")
        wait_for("calm", partial(watch.says, "Stream healthy"), 60)
        play(cue, watch, STOP)
        session = wait_for("the session's row", partial(ended_session, pipeline))
        watch.end()
        rows, truth = rows_of(pipeline.database), Truth(cue.with_suffix(".played"))
    slack_s = slowness_s(watch, truth)
    lags = {
        fault: watch.first_s(fault.words, began_s := truth.begin_s(fault.cue)) - began_s for fault in (*FAULTS, STOP)
    }
    print(
        "\n".join(f"{fault.cue}: said after {lag_s:.1f} s, {fault.within_s:g} wanted" for fault, lag_s in lags.items())
    )
    print(f"session {session}; the machine was up to {slack_s:.1f} s late")
    assert {} == {fault.cue: lag_s for fault, lag_s in lags.items() if lag_s > fault.within_s + slack_s}
    assert [] == [(at_s, one) for at_s, one in watch.seen if worst_beneath(one) > LEVELS[stream_of(one)["level"]]]
    assert [] == [found for at_s, one in watch.seen for found in untrue(one, at_s, truth, slack_s)]
    assert [] == [row for row in rows if not is_within(truth.live(), row[1] / 1000, COMMIT_S + slack_s)]
    judge_session(session, truth, slack_s)


def slowness_s(watch: Watch, truth: Truth) -> float:
    """Return how much later than it should the machine did a step of the play or a look here, at the worst."""
    paces = ([at_s for at_s, _ in watch.seen], LOOK_S), ([step.at_s for step in truth.steps], STEP_S)
    return sum(max(b - a for a, b in pairwise(times)) for times, _ in paces)


def untrue(picture: dict[str, Any], at_s: float, truth: Truth, slack_s: float) -> Iterator[str]:
    """Yield what is shown and was not played in the time that it may be of."""
    tiles, late_s = tiles_of(picture), CALM_COMMIT_S + COMMIT_S + slack_s
    fresh = truth.within(at_s - INTERVAL_S - late_s, at_s)
    rates = {round(scene.bitrate_bps / 1e6, 1) for scene in fresh}
    if (rate := number(tiles, "low_bitrate")) is not None and rate not in rates:
        yield f"{at_s}: {rate} Mbit/s, played {rates}"
    measured = truth.within(at_s - 2 * INTERVAL_S - late_s, at_s)  # it is the median of an interval
    trips = [rtt_ms(scene) for scene in measured if scene.encodes]
    if (trip := number(tiles, "high_round_trip")) is not None and not min(trips) - 1 <= trip <= max(trips) + 1:
        yield f"{at_s}: {trip} ms, played {trips}"
    heats = [scene.celsius for scene in truth.within(at_s - HEAT_INTERVAL_S - late_s, at_s)]
    if (heat := number(tiles, "overheating")) is not None and not min(heats) - 1 <= heat <= max(heats) + 1:
        yield f"{at_s}: {heat} °C, played {heats}"


def number(tiles: dict[str, dict[str, Any]], name: str) -> float | None:
    """Return the number that a tile begins with, None where it has none."""
    text = tiles[name]["text"].split()[0] if name in tiles else DASH
    return None if text == DASH else float(text)


def rtt_ms(scene: Scene) -> float:
    """Return the round trip of the connection, as the play's receiver says it."""
    return 4 + max(link.rtt_ms for link in scene.links if link.up)


def is_within(spans: list[tuple[float, float]], at_s: float, slack_s: float) -> bool:
    """Tell whether a moment is in one of some spans, or a look after it."""
    return any(begin_s <= at_s <= end_s + slack_s for begin_s, end_s in spans)


def judge_session(session: dict[str, Any], truth: Truth, slack_s: float) -> None:
    """Hold its row against what was played: begin and end, how, and restarts.

    Not its means: here a fault may be over between two readings.
    """
    ends = [step.at_s for step in truth.steps if step.scene.encodes]
    assert abs(session["start_ms"] / 1000 - ends[0]) <= LOOK_S + slack_s
    assert -COMMIT_S - slack_s <= session["end_ms"] / 1000 - ends[-1] <= LOOK_S + slack_s
    assert ("completed", "stopped", 1) == (session["status"], session["how"], session["restarts"])


def ended_session(pipeline: Pipeline) -> dict[str, Any]:
    """Return the session's row once it has an end, nothing before."""
    query = "SELECT start_time, end_time, status, metadata FROM sessions WHERE end_time IS NOT NULL"
    for start_ms, end_ms, status, metadata in pipeline.rows(query):
        return {"start_ms": start_ms, "end_ms": end_ms, "status": status, **json.loads(metadata)}
    return {}


def rows_of(database: Path) -> list[tuple[str, int]]:
    """Return name and time of every sample that is derived from the stream."""
    marks = ", ".join("?" * len(DERIVED))
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        query = f"SELECT metric_name, timestamp_ms FROM metrics WHERE metric_name IN ({marks})"
        return list(connection.execute(query, DERIVED))
