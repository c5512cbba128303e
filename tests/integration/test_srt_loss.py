"""Loss of links whose packets overtake each other: what is lost is told from what is late, and alerts go by that."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path as File

import pytest

from tests.bonding.play import Play
from tests.bonding.played_network import PlayedNetwork
from tests.bonding.srtla import Path

LINKS = ("127.0.0.2", "127.0.0.3")
BITRATE_BPS = 2_000_000
LATE_S = 0.08  # more than ten packets overtake one
SETTLED_S = 5.0
LOSSES = (0.0, 0.01, 0.05, 0.15, 0.05, 0.01, 0.0)
WITHIN_POINTS = 1.0


@dataclass
class EvenPath(Path):
    """A link's network of whose data packets every stretch loses the same share."""

    owed: float = 0.0

    def loses(self, _chance: float) -> bool:
        """Return whether a data packet is lost."""
        self.owed += self.loss
        self.owed -= (is_lost := self.owed >= 1)
        return is_lost


@pytest.fixture(params=[0.0, LATE_S], ids=["in order", "reordered"])
def play(tmp_path: File, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Play]:
    """A stream over two links, always at the same bitrate."""
    paths: list[Path] = [EvenPath(address, 0.03, spread_s=request.param) for address in LINKS]
    made = Play(tmp_path, PlayedNetwork(7, monkeypatch.setattr), paths)
    made.controller.least = made.controller.most = made.controller.bitrate = BITRATE_BPS
    made.run(0.6)
    made.start_sender()
    made.start_encoder()
    made.run(3)
    yield made
    made.close()


def test_no_alert_for_reordering(play: Play) -> None:
    """Each link's loss is within a point of what is played, five seconds after it changed; alerts are those of loss."""
    raised: list[float] = []
    for loss in LOSSES:
        for path in play.paths:
            path.loss = loss
        play.run(SETTLED_S)
        play.collect()
        shown = [play.value("srtla.link_loss_percent", address) for address in LINKS]
        print(f"{100 * loss:g} % played, {shown} shown, {play.value('srt.packet_loss_percent')} % of the stream")
        assert shown == pytest.approx([100 * loss] * 2, abs=WITHIN_POINTS)
        raised += [loss for _, event in play.alerts if event.kind == "alert_raised"]
        play.alerts.clear()
    assert [] == [loss for loss in raised if loss < 0.05]
    assert 1 == len(raised)
