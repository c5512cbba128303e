"""Why belacoder lowered the bitrate: which rule of its controller fits what was measured; a part of derived. Pure.

Source: belacoder.c, update_bitrate(): thresholds on the round trip and on the packets waiting to be sent, with
averages and jitter of its own, every 20 ms. Where the packets are read, collectors/srt/controller.py follows it at that
pace. Here its rules are worked out from one reading every few seconds, so that a cut between two readings can have no
rule that fits: then it says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, pstdev
from typing import NamedTuple

PACKET_BYTES = 1316  # of SRT's payload: seven TS packets
LEAST_PACKETS = 50


class Cut(NamedTuple):
    """What was measured at a cut; None for what is not known.

    Attributes:
        before, now: the set bitrate, bits per second.
        target: the most it may be.
        latency_ms: of the connection.
        rtts_ms: round trips of the last minute, the newest last.
        buffered: bytes waiting to be sent over the last minute, the newest last.
    """

    before: float
    now: float
    target: float | None
    latency_ms: float | None
    rtts_ms: Sequence[float]
    buffered: Sequence[float]


def reason(cut: Cut) -> str:
    """Return the rule that fits, the gravest first, with its numbers."""
    if cut.target is not None and cut.target < cut.before:
        return f"the configured limit is {_rate(cut.target)}"
    return _by_rtt_and_latency(cut) or _by_buffer(cut) or _by_rising_rtt(cut) or "no rule of its controller fits"


def _by_rtt_and_latency(cut: Cut) -> str:
    if not cut.rtts_ms or not cut.latency_ms:
        return ""
    rtt = max(cut.rtts_ms[-2:])  # one reading before the cut, one after it
    if rtt >= cut.latency_ms / 3:
        return f"to the minimum: round trip {rtt:.0f} ms, a third of the latency of {cut.latency_ms:.0f} ms or more"
    if rtt > cut.latency_ms / 5:
        return f"10 % at a time: round trip {rtt:.0f} ms, more than a fifth of the latency of {cut.latency_ms:.0f} ms"
    return ""


def _by_buffer(cut: Cut) -> str:
    if len(cut.buffered) < 2:
        return ""
    packets = [count / PACKET_BYTES for count in cut.buffered]
    waiting = max(packets[-2:])  # one reading before the cut, one after it
    mean, jitter = fmean(packets[:-1]), pstdev(packets[:-1])
    thresholds = (
        ("to the minimum", (mean + jitter) * 4),
        ("10 % at a time", max(LEAST_PACKETS, mean + max(3 * jitter, mean))),
        ("100 kbit/s at a time", max(LEAST_PACKETS, mean + 2.5 * jitter)),
    )
    for step, threshold in thresholds:
        if waiting > max(threshold, 1):
            return f"{step}: {waiting:.0f} packets wait to be sent, the threshold is {threshold:.0f}"
    return ""


def _by_rising_rtt(cut: Cut) -> str:
    if len(cut.rtts_ms) < 3:
        return ""
    rtt, mean, jitter = cut.rtts_ms[-1], fmean(cut.rtts_ms[:-1]), pstdev(cut.rtts_ms[:-1])
    line = mean + max(4 * jitter, 0.15 * mean)
    return f"100 kbit/s at a time: round trip {rtt:.0f} ms, above its usual {line:.0f} ms" if rtt > line else ""


def _rate(bits_per_second: float) -> str:
    return f"{bits_per_second / 1e6:.1f} Mbit/s"
