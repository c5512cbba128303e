"""belacoder's controller as it is followed on the packets, against a model of it from the same source."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from collectors.srt.connection import ControllerInput
from collectors.srt.controller import Controller, ControllerDecision
from collectors.srt.cuts import decisive
from tests.bonding.srt import TICK_S
from tests.bonding.srt import Controller as Model

LEAST, MOST, LATENCY_MS = 500_000, 6_000_000, 2_000


def readings(seed: int) -> list[ControllerInput]:
    """Return a stream of half a minute, in which the round trip and the buffer rise now and then."""
    chance, found, rtt, waiting = random.Random(seed), [], 60.0, 40.0
    for at in range(1_500):
        if chance.random() < 0.004:
            rtt, waiting = chance.choice([(90.0, 60.0), (450.0, 300.0), (800.0, 900.0), (60.0, 500.0)])
        rtt, waiting = 0.97 * rtt + 0.03 * 60, 0.95 * waiting + 0.05 * 40
        found.append(
            ControllerInput(at * TICK_S, float(int(rtt + chance.uniform(-3, 3))), int(waiting + chance.uniform(0, 8)))
        )
    return found


@pytest.mark.parametrize("seed", range(10))
def test_it_decides_as_belacoder_does(seed: int) -> None:
    """The same rule at the same time, for each of its decisions, from the same numbers."""
    model, followed = Model(LEAST, MOST, LATENCY_MS), Controller(LATENCY_MS)
    model.bitrate = followed.bitrate = MOST
    followed.least, followed.most = LEAST, MOST
    stream = readings(seed)
    expected = []
    for before, reading in pairwise(stream):
        known = len(model.cuts)
        model.tick(reading.at_s, int(before.rtt_ms or 0), before.waiting, 5_000_000)
        expected += [(round(reading.at_s, 2), cut.rule, cut.now) for cut in model.cuts[known:]]
    found = [
        (round(one.at_s, 2), one.rule, one.now)
        for one in followed.follow(stream, 5_000_000)
        if one.now < one.before
    ]  # fmt: skip
    assert len(expected) > 3
    assert expected == found


def test_a_gap_is_another_time() -> None:
    """After missed packets it goes on from what is now, instead of deciding for the time in between."""
    followed = Controller(LATENCY_MS)
    followed.bitrate = MOST
    followed.follow([ControllerInput(0.0, 60.0, 40), ControllerInput(1.0, 60.0, 40)], 5_000_000)
    assert [] == followed.follow([ControllerInput(100.0, 60.0, 40)], 5_000_000)


SLOW, FAST, LEAST_AT_ONCE = "100 kbit/s at a time", "10 % at a time", "to the minimum"


def fall(rule: str, at_s: float, *rates: int) -> list[ControllerDecision]:
    """Return decisions that lower the bitrate, one every fifth of a second."""
    return [
        ControllerDecision(at_s + 0.2 * at, rule, "", before, now)
        for at, (before, now) in enumerate(pairwise(rates))
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("decisions", "expected"),
    [
        (fall(SLOW, 0.0, *range(6_000_000, 4_600_000, -100_000)), 2.2),  # the twelfth
        (fall(FAST, 0.0, 6_000_000, 5_300_000, 4_670_000, 4_103_000), 0.2),
        (fall(SLOW, 0.0, 6_000_000, 5_900_000) + fall(LEAST_AT_ONCE, 0.4, 5_900_000, 500_000), 0.4),
        (fall(FAST, 0.0, 6_000_000, 5_300_000) + fall(SLOW, 0.4, *range(5_300_000, 4_500_000, -100_000)), 0.0),
        (fall(SLOW, 0.0, 500_000, 500_000), None),
        ([], None),
    ],
)
def test_a_cut_is_when_the_steps_have_added_up(decisions: list[ControllerDecision], expected: float | None) -> None:
    """By the gravest rule of the fall; what lowers nothing is none."""
    found = decisive(decisions, 4_800_000)
    assert expected == (None if found is None else pytest.approx(found.at_s))
