"""What is made of other collectors' numbers: scores, alerts, and why the bitrate was cut.

Reads: what the buffer has committed of srt.*, srtla.*, encoder.*, cpu.* and memory.*; nothing of the machine.
Source: docs/derived.md has every formula, with its inputs and weights.
Emits: stream.health_score (0-100), network.stability_index (0-100), encoder.efficiency (0-1),
    stream.latency_estimate_ms, stream.reliability_percent (of the readings since the stream began),
    alert.active{alert} (1 or 0). Events alert_raised, alert_cleared, bitrate_cut.
Errors: what lacks one of its inputs is absent.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from collectors.derived import alerts, scores
from collectors.derived.alerts import Alerts, Lines
from collectors.derived.bitrate_rules import Cut, reason
from collectors.derived.heard import Heard
from collectors.host import Host
from common.events import Event
from common.keys import boolean, duration, key, number, section
from common.sample import Sample

INPUTS = (
    *("srt.connected", "srt.packet_loss_percent", "srt.rtt_ms", "srt.latency_ms", "srt.send_buffer_bytes"),
    *("srt.bitrate_bits_per_second", "srt.retransmit_percent", "srtla.link_up"),
    *("encoder.bitrate_bits_per_second", "encoder.bitrate_target_bits_per_second", "encoder.frame_drop_percent"),
    *("encoder.latency_ms", "encoder.frame_rate"),
)


@dataclass(frozen=True)
class Config:
    """Section collectors.derived."""

    enabled: bool = key(boolean(), "true", "collect it")
    interval_s: float = key(duration(0.1, 86_400), "5s", "time between two collects", name="interval")
    cut_percent: float = key(number(1, 100), "20", "a bitrate that falls by this much at once is an event")
    alerts: Lines = section(Lines)


class State:
    """What was heard, and what came of it."""

    def __init__(self) -> None:
        self.heard = Heard({*INPUTS, *alerts.INPUTS})
        self.alerts = Alerts()
        self.bitrate: float | None = None
        self.cut: tuple[float, float] | None = None  # from, to: judged when the other numbers have come
        self.good = self.looked = 0


def hear(samples: Sequence[Sample], timestamp_ms: int, _producer: str, state: State) -> None:
    """Take in what was committed."""
    state.heard.take(samples, timestamp_ms, time.monotonic())


def collect(host: Host, config: Config, state: State) -> Iterator[Sample | Event]:
    """Yield every score whose inputs are there, every alert, and an event for a cut."""
    now_s = host.now_s
    yield from state.alerts.look(state.heard, config.alerts, now_s)
    for name, value in _scores(state.heard, now_s):
        if value is not None:
            yield Sample(name, value)
    yield from _reliability(state, now_s)
    yield from _cut(state, config.cut_percent, now_s)
    state.heard.forget(now_s)


def _scores(heard: Heard, now_s: float) -> Iterator[tuple[str, float | None]]:
    def now(name: str) -> float | None:
        return heard.value(name, now_s)

    rtt, latency = now("srt.rtt_ms"), now("srt.latency_ms")
    rate, target = now("encoder.bitrate_bits_per_second"), now("encoder.bitrate_target_bits_per_second")
    share = rate / target if rate is not None and target else None
    drops = now("encoder.frame_drop_percent")
    score = scores.health(now("srt.packet_loss_percent"), rtt, latency, share, drops)
    yield "stream.health_score", 0.0 if now("srt.connected") == 0 else score
    ups = [value for _, value in heard.each("srtla.link_up", now_s)]
    yield "network.stability_index", scores.stability(heard.readings("srt.rtt_ms", now_s), ups)
    sent, again = now("srt.bitrate_bits_per_second"), now("srt.retransmit_percent")
    yield "encoder.efficiency", scores.efficiency(sent, again, rate)
    yield "stream.latency_estimate_ms", scores.latency(now("encoder.latency_ms"), latency, rtt)


def _reliability(state: State, now_s: float) -> Iterator[Sample]:
    """Yield in which share of the readings the receiver answered and frames came."""
    connected, frames = state.heard.value("srt.connected", now_s), state.heard.value("encoder.frame_rate", now_s)
    if connected is None or frames is None:
        state.good = state.looked = 0
        return
    state.looked += 1
    state.good += bool(connected and frames)
    yield Sample("stream.reliability_percent", round(100 * state.good / state.looked, 2))


def _cut(state: State, cut_percent: float, now_s: float) -> Iterator[Event]:
    heard, before, last = state.heard, state.bitrate, state.cut
    now = state.bitrate = heard.value("encoder.bitrate_bits_per_second", now_s)
    state.cut = None
    if before is not None and now is not None and now <= before * (1 - cut_percent / 100):
        state.cut = before, now
    if last is None:
        return
    cut = Cut(
        *last,
        heard.value("encoder.bitrate_target_bits_per_second", now_s),
        heard.value("srt.latency_ms", now_s),
        heard.readings("srt.rtt_ms", now_s),
        heard.readings("srt.send_buffer_bytes", now_s),
    )
    yield Event("bitrate_cut", f"from {cut.before / 1e6:.1f} to {cut.now / 1e6:.1f} Mbit/s; {reason(cut)}")
