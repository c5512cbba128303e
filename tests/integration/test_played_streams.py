"""What is said of played streams, by a clock of its own: starts and stops, and the demo's faults with their lags."""

from __future__ import annotations

import json
from collections.abc import Iterator
from statistics import fmean

import pytest

from buffer.storage.sessions import SAMPLE
from common.event_kinds import KINDS
from common.thresholds import RANKS
from tests.demo.simulation import Shown, Simulation
from tests.scratch import MEMORY, scratch

LEVELS = {**RANKS, "idle": 0}
TICK_S = 0.11
FAULTS = {  # what the verdict has to say, within how many seconds, and within how many it is over
    "rtt": ("Round trip", 3, 3),
    "link": ("is down", 2, 3),
    "heat": ("Temperature", 5, 5),
    "hdmi": ("No picture", 2, 3),
    "crash": ("The encoder is gone", 2, 3),
    "stop": ("The stream has ended", 2, 3),
}
DERIVED = ("stream.health_score", "stream.latency_estimate_ms", "stream.reliability_percent", "encoder.efficiency")


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulation]:
    """A board on which a stream begins; thousands of its files are replaced, which a disk would take its time for."""
    with scratch(MEMORY) as folder:
        yield Simulation(folder, monkeypatch.setattr)


def words(shown: Shown) -> str:
    """Return all that a verdict says."""
    return "; ".join((shown.verdict.title, *(reason.title for reason in shown.verdict.reasons)))


def within_s(board: Simulation, text: str, after_s: float) -> float:
    """Return how long it took until the verdict had some words; infinity for never."""
    return next((one.at_s - after_s for one in board.shown if one.at_s > after_s and text in words(one)), float("inf"))


def test_ten_starts_and_stops(board: Simulation) -> None:
    """No red, no amber, nothing grave is reported; each is healthy within seconds, and each end is said."""
    lags: list[float] = []
    for _ in range(10):
        began_s = board.now_s
        board.run(4.7)
        lags.append(within_s(board, "Stream healthy", began_s))
        board.run(1.5, "stop")
        assert "The stream has ended" == board.shown[-1].verdict.title
    print(f"healthy after {[f'{lag_s:.1f}' for lag_s in lags]} s")
    assert [] == [words(one) for one in board.shown if LEVELS[one.verdict.level] > 0]
    assert [] == [event for _, event in board.events if KINDS[event.kind].severity in {"error", "critical"}]
    kinds = [event.kind for _, event in board.events]
    assert (10, 10, 10) == tuple(map(kinds.count, ("stream_started", "srt_connected", "stream_ended")))


def test_each_fault_is_the_verdict_in_time(board: Simulation) -> None:
    """And no longer than it lasts; no tile is redder, and nothing is derived while no stream is live."""
    board.run(6)
    for episode, (text, most_s, over_s) in FAULTS.items():
        began_s = board.now_s
        board.run(most_s + 1, episode)
        ended_s, said_s = board.now_s, within_s(board, text, began_s)
        assert text in words(board.shown[-1]), (episode, words(board.shown[-1]))
        board.run(over_s + 1)
        healthy_s = within_s(board, "Stream healthy", ended_s)
        print(f"{episode}: said after {said_s:.1f} s of {most_s}, over after {healthy_s:.1f} s of {over_s}")
        assert said_s <= most_s + TICK_S, episode
        assert healthy_s <= over_s + TICK_S, (episode, words(board.shown[-1]))
    assert [] == [words(one) for one in board.shown if worst_beneath(one) > LEVELS[one.verdict.level]]
    lived = [at_s for at_s, scene in board.scenes if scene.encodes]
    derived = [(at_s, one.name) for at_s, one in board.samples if one.name in DERIVED]
    assert derived
    assert [] == [(at_s, name) for at_s, name in derived if not any(0 <= at_s - one <= 1 + TICK_S for one in lived)]


def worst_beneath(shown: Shown) -> int:
    """Return the worst level of what is shown of the stream and the device."""
    verdict = shown.verdict
    levels = (*(tile.level for tile in (*verdict.tiles, *verdict.device)), *(link["level"] for link in verdict.links))
    return max(map(LEVELS.__getitem__, levels), default=0)


def test_a_sessions_numbers_are_those_of_the_play(board: Simulation) -> None:
    """Length, means over time and how it ended, as computed from what was played."""
    board.run(16)
    board.run(16, "rtt")
    board.run(16)
    board.run(3, "stop")
    row = json.loads([str(one.value) for _, one in board.samples if one.name == SAMPLE][-1])
    means, lived = row["metadata"]["summary"], [(at_s, scene) for at_s, scene in board.scenes if scene.encodes]
    rate_bps = fmean(scene.bitrate_bps for _, scene in lived)
    trip_ms = 4 + fmean(
        max(link.rtt_ms for link in scene.links) for _, scene in lived
    )  # as the play's receiver says it
    print(f"{rate_bps:.0f} bit/s and {trip_ms:.0f} ms played, {means}")
    assert ("completed", "stopped", 0) == (row["status"], row["metadata"]["how"], row["metadata"]["restarts"])
    assert lived[-1][0] - lived[0][0] == pytest.approx((row["end_ms"] - row["start_ms"]) / 1000, abs=1)
    # Read every 5 s, of which a change costs a part.
    assert rate_bps == pytest.approx(means["bitrate_bits_per_second"], rel=0.1)
    assert trip_ms == pytest.approx(means["rtt_ms"], rel=0.1)
