"""The scores: a few numbers for many, each from named inputs; a part of the derived collector. Pure.

docs/derived.md has every formula. A score one of whose inputs is absent is absent.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, pstdev

# What each part may take from a perfect 100, and between which values it takes nothing and all of it.
LOSS_WEIGHT, LOSS_PERCENT = 30.0, (0.0, 10.0)
RTT_WEIGHT, RTT_SHARE = 25.0, (1 / 5, 1 / 2)  # of the latency: belacoder cuts at 1/5, goes to its minimum at 1/3
BITRATE_WEIGHT, BITRATE_SHARE = 25.0, (0.9, 0.3)  # of the target
DROP_WEIGHT, DROP_PERCENT = 20.0, (0.0, 5.0)

STEADY_READINGS = 6


def health(
    loss_percent: float | None,
    rtt_ms: float | None,
    latency_ms: float | None,
    bitrate: float | None,
    drops: float | None,
) -> float | None:
    """Return how well a stream does, 0 to 100.

    Args:
        loss_percent: packets lost.
        rtt_ms: round trip.
        latency_ms: the latency negotiated.
        bitrate: share of the target, 1 for all of it.
        drops: frames dropped, percent.
    """
    if loss_percent is None or rtt_ms is None or not latency_ms or bitrate is None or drops is None:
        return None
    penalty = LOSS_WEIGHT * _between(loss_percent, LOSS_PERCENT)
    penalty += RTT_WEIGHT * _between(rtt_ms / latency_ms, RTT_SHARE)
    penalty += BITRATE_WEIGHT * _between(bitrate, BITRATE_SHARE)
    penalty += DROP_WEIGHT * _between(drops, DROP_PERCENT)
    return round(100 - penalty, 1)


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


def _between(value: float, span: tuple[float, float]) -> float:
    """Return how far a value is from the first of two to the second, 0 to 1."""
    return min(1.0, max(0.0, (value - span[0]) / (span[1] - span[0])))
