"""Why the bitrate was lowered, beside a model of belacoder's controller on the same packets, by a clock of their own.

`python -m tests.bonding.cuts` plays the same on the machine's own sockets, through the whole pipeline to a server.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path as File

import pytest

from tests.bonding.board import WATCH_S
from tests.bonding.faults import FAULTS, Fault
from tests.bonding.play import MOST_BPS, Play
from tests.bonding.played_network import PlayedNetwork
from tests.bonding.srtla import Path
from tests.whole import cases

ONE, TWO = "127.0.0.2", "127.0.0.3"
STAMP_S = 0.5
LOOKS = 4  # until it is reported: two seconds, but on a machine so busy that a look comes late
LATE_S = 1.2
BACK_S = 3600.0


@pytest.fixture
def play(tmp_path: File, monkeypatch: pytest.MonkeyPatch) -> Iterator[Play]:
    """A stream over two links at its full bitrate."""
    made = Play(tmp_path, PlayedNetwork(7, monkeypatch.setattr), [Path(ONE, 0.02), Path(TWO, 0.03)], (2000, 2000))
    made.run(0.6)
    made.start_sender()
    made.start_encoder()
    assert made.run(10, lambda: made.state.was_connected is True)
    made.controller.bitrate = MOST_BPS
    made.run(4)
    made.events.clear()
    assert [] == made.controller.cuts
    yield made
    made.close()


@pytest.mark.parametrize(("after_s", "watch_s"), cases([(0.1, WATCH_S), (0.6, LATE_S)], [(0.35, WATCH_S)]))
@pytest.mark.parametrize("name", FAULTS)
def test_a_cut_has_its_rule_and_its_cause(play: Play, name: str, after_s: float, watch_s: float) -> None:
    """The rule that made it, stamped within half a second of it, reported within two seconds, and what had happened."""
    fault = FAULTS[name]
    play.watch_s = watch_s
    play.run(2 * watch_s)
    play.network.later(after_s, lambda: fault.happens(play))
    assert play.run(5, lambda: "bitrate_cut" in play.kinds())
    judge(play, fault)
    if name == "translated":  # which of two it was is known when the sender has registered it again, after 4 s
        assert play.run(10, lambda: "srtla_link_readdressed" in play.kinds())


def judge(play: Play, fault: Fault) -> None:
    """Hold the first cut that is reported against the decisions of the controller."""
    reported_s, event = next((at_s, event) for at_s, event in play.events if event.kind == "bitrate_cut")
    stamp_s = (event.timestamp_ms or 0) / 1000
    print(f"{event.text}; reported {reported_s - stamp_s:.2f} s after {[one[3:] for one in play.controller.cuts[:5]]}")
    near = [one for one in play.controller.cuts if abs(one.at_s - stamp_s) < STAMP_S]
    assert [one for one in near if one.rule in event.text], near
    assert reported_s - near[0].at_s < LOOKS * play.watch_s
    assert fault.words in event.text


def test_a_clock_that_is_set_delays_no_cut(play: Play) -> None:
    """One that was found and is not judged yet is reported at the next look, stamped by the clock as it is now."""
    play.network.do(lambda: FAULTS["cut"].happens(play))
    assert play.run(5, lambda: play.state.cuts.waiting is not None)
    cut_s = play.controller.cuts[0].at_s
    play.network.ahead_s -= BACK_S  # type: ignore[attr-defined]
    assert play.run(2 * WATCH_S, lambda: "bitrate_cut" in play.kinds())
    stamp_s = (play.events[0][1].timestamp_ms or 0) / 1000
    assert cut_s - BACK_S - STAMP_S < stamp_s < time.time()


def test_a_lowered_limit_is_named(play: Play) -> None:
    """It is the user's wish, and no rule's."""
    play.limit(2_000_000)
    assert play.run(5, lambda: "bitrate_cut" in play.kinds())
    assert "the configured limit is 2.0 Mbit/s" in play.events[0][1].text
