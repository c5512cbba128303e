"""The scores: a few numbers for many, each from named inputs; a part of the derived collector. Pure.

docs/derived.md has every formula, its numbers generated from here. A score one of whose inputs is absent is absent.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, pstdev
from typing import NamedTuple


class Part(NamedTuple):
    """What one input may take from a perfect 100.

    Attributes:
        name: field of `Inputs`.
        input: what it is, for people.
        weight: what it takes at most.
        none, all: it takes nothing up to the first value and all from the second on, in between in proportion.
        needed: without it there is no score; else it takes nothing.
    """

    name: str
    input: str
    weight: float
    none: float
    all: float
    needed: bool = True


class Inputs(NamedTuple):
    """What the health score is made of; None for what is not known.

    Attributes:
        loss: packets lost, percent.
        rtt: round trip as a share of the negotiated latency.
        bitrate: share of the target, 1 for all of it.
        drops: frames dropped, percent.
        frames: frames encoded as a share of those asked for.
        sound: 1 while sound comes, 0 while none does.
        connected, picture: 0 while the receiver does not answer, or there is no picture to encode.
    """

    loss: float | None = None
    rtt: float | None = None
    bitrate: float | None = None
    drops: float | None = None
    frames: float | None = None
    sound: float | None = None
    connected: float | None = None
    picture: float | None = None


PARTS = (
    Part("loss", "`srt.packet_loss_percent`", 30, 0, 10),
    # Of the latency: belacoder cuts at 1/5, goes to its minimum at 1/3.
    Part("rtt", "`srt.rtt_ms` as a share of `srt.latency_ms`", 25, 0.2, 0.5),
    Part("bitrate", "`encoder.bitrate_bits_per_second` as a share of the target", 25, 0.9, 0.3),
    Part("drops", "`encoder.frame_drop_percent`", 20, 0, 5),
    Part("frames", "`encoder.frame_rate` as a share of `encoder.frame_rate_target`", 60, 0.95, 0.5, needed=False),
    Part(
        "sound",
        "sound: 0 while `audio.sample_rate_hertz` is 0 for each card that is captured from",
        30,
        1,
        0,
        needed=False,
    ),
)
STEADY_READINGS = 6


def health(inputs: Inputs) -> float | None:
    """Return how well a viewer is served, 0 to 100: nothing is left of it without a connection or a picture."""
    if inputs.connected == 0 or inputs.picture == 0 or inputs.frames == 0:
        return 0.0
    penalty = 0.0
    for part in PARTS:
        value: float | None = getattr(inputs, part.name)
        if value is None:
            if part.needed:
                return None
            continue
        penalty += part.weight * _between(value, part.none, part.all)
    return round(max(0.0, 100 - penalty), 1)


def stability(rtts_ms: Sequence[float], link_ups: Sequence[float]) -> float | None:
    """Return how steady the network is, 0 to 100: the round trip of the last minute, times the share of links up.

    Args:
        rtts_ms: round trips of the last minute.
        link_ups: 1 or 0 for each link; none where there is no bond.
    """
    if len(rtts_ms) < STEADY_READINGS or not fmean(rtts_ms):
        return None
    steady = max(0.0, 1 - pstdev(rtts_ms) / fmean(rtts_ms))
    return round(100 * steady * (fmean(link_ups) if link_ups else 1.0), 1)


def efficiency(sent: float | None, retransmit_percent: float | None, encoded: float | None) -> float | None:
    """Return which share of what was sent is the encoder's, 0 to 1: the rest is sound, framing and repetition."""
    if not sent or retransmit_percent is None or encoded is None:
        return None
    return round(min(1.0, encoded / sent * (1 - retransmit_percent / 100)), 3)


def latency(encoder_ms: float | None, latency_ms: float | None, rtt_ms: float | None) -> float | None:
    """Return how old a picture is when the receiver hands it on: encoding, half a round trip, SRT's latency."""
    if encoder_ms is None or latency_ms is None or rtt_ms is None:
        return None
    return round(encoder_ms + latency_ms + rtt_ms / 2, 1)


def share(part: float | None, whole: float | None) -> float | None:
    """Return a part of a whole, None where either is not known."""
    return part / whole if part is not None and whole else None


def _between(value: float, none: float, all_: float) -> float:
    """Return how far a value is from the first of two to the second, 0 to 1."""
    return min(1.0, max(0.0, (value - none) / (all_ - none)))
