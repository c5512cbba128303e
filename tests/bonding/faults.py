"""What makes a controller cut the bitrate, as it is played on a stream, and the words that have to name it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tests.bonding.play import Play


class Fault(NamedTuple):
    """What happens to a stream over two links, and what is to be said of it."""

    happens: Callable[[Play], None]
    words: str


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


FAULTS = {
    "lossy": Fault(lose, "loses"),
    "cut": Fault(cut, "(127.0.0.2) has not answered for"),
    "throttled": Fault(throttle, "answers after"),
    "long": Fault(lengthen, "answers after"),
    "translated": Fault(translate, "(127.0.0.2) has not answered for"),
    "killed": Fault(kill, "no link gets an answer"),
}
