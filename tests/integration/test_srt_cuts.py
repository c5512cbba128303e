"""Why the bitrate was lowered, beside a model of belacoder's controller on the same packets.

Needs the right to packet sockets, which root has.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path as File

import pytest

from collectors.srt import srt
from tests.bonding.play import MOST_BPS, Play
from tests.bonding.srtla import Path

ONE, TWO = "127.0.0.2", "127.0.0.3"


@pytest.fixture
def play(tmp_path: File, monkeypatch: pytest.MonkeyPatch) -> Iterator[Play]:
    """A stream over two links at its full bitrate."""
    monkeypatch.setattr(srt, "TAPS_ANY_ROOT", True)
    made = Play(tmp_path, [Path(ONE, 0.02), Path(TWO, 0.03)], (2000, 2000))
    made.run(0.6)
    made.start_sender()
    made.start_encoder()
    assert made.run(10, lambda: made.state.was_connected is True)
    for _ in range(5):  # a machine that is busy cuts it by itself
        made.controller.bitrate = MOST_BPS
        made.controller.cuts.clear()
        made.run(4)
        if not made.controller.cuts:
            break
    made.run(3)
    made.events.clear()
    made.controller.cuts.clear()
    yield made
    made.close()


def lose(play: Play) -> None:
    """Lose 20 % on all links: of less the controller does not always make a cut."""
    for path in play.paths:
        path.loss = 0.2


def cut(play: Play) -> None:
    """Cut a link."""
    play.paths[0].is_cut = True


def throttle(play: Play) -> None:
    """Have both links carry less than is sent."""
    for path in play.paths:
        path.rate_bps = 1.5e6


def lengthen(play: Play) -> None:
    """Have both links take a third of a second more each way."""
    for path in play.paths:
        path.delay_s += 0.33


def translate(play: Play) -> None:
    """Give a link another public address."""
    play.paths[0].translations += 1


def kill(play: Play) -> None:
    """End the receiver."""
    play.receiver.is_deaf = True


@pytest.mark.parametrize(
    ("happens", "words"),
    [
        (lose, "loses|answers after"),  # on a busy machine the links of the test are late too
        (cut, "link lo (127.0.0.2) has not answered for"),
        (throttle, "answers after"),
        (lengthen, "answers after"),
        (translate, "link lo (127.0.0.2) has not answered for"),
        (kill, "no link gets an answer"),
    ],
)
def test_a_cut_has_its_rule_and_its_cause(play: Play, happens: object, words: str) -> None:
    """The rule that made it, stamped within half a second of it, reported within two seconds, and what had happened."""
    happens(play)  # type: ignore[operator]
    if not play.run(20, lambda: "bitrate_cut" in play.kinds()):
        assert not has_cut(play), play.controller.cuts
        return  # the machine was too busy for a stream that could be cut
    reported_s, event = next((at_s, event) for at_s, event in play.events if event.kind == "bitrate_cut")
    stamp_s = (event.timestamp_ms or 0) / 1000
    print(f"{event.text}; reported {reported_s - stamp_s:.2f} s after {[one[3:] for one in play.controller.cuts[:5]]}")
    assert [one for one in play.controller.cuts if abs(one.at_s - stamp_s) < 0.5 and one.rule in event.text]
    assert reported_s - stamp_s < 2
    assert any(one in event.text for one in words.split("|"))
    if happens is translate:  # which of two it was is known when the sender has registered it again, after 4 s
        assert play.run(10, lambda: "srtla_link_readdressed" in play.kinds())


def has_cut(play: Play) -> bool:
    """Return whether the controller has lowered the bitrate by a quarter within two seconds."""
    cuts = play.controller.cuts
    return any(
        first.at_s <= last.at_s < first.at_s + 2 and last.now < 0.75 * first.before for first in cuts for last in cuts
    )


def test_a_lowered_limit_is_named(play: Play) -> None:
    """It is the user's wish, and no rule's."""
    play.limit(2_000_000)
    assert play.run(5, lambda: "bitrate_cut" in play.kinds()), time.time()
    assert "the configured limit is 2.0 Mbit/s" in play.events[0][1].text
