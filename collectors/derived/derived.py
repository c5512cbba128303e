"""What is made of other sources' numbers: scores, alerts, and why the bitrate was cut.

Reads: what the buffer has committed of stream.state, srt.*, srtla.*, encoder.*, hdmi.*, audio.*, cpu.* and memory.*;
    nothing of the machine.
Source: docs/derived.md has every formula, with its inputs and weights; common/thresholds.py the thresholds.
Emits: while the stream is live, from what was measured since then: stream.health_score (0-100),
    network.stability_index (0-100), encoder.efficiency (0-1), stream.latency_estimate_ms, stream.reliability_percent
    (of the time since the stream is live). alert.active{alert} (1 or 0), those of the stream only while it is
    live. Events alert_raised, alert_cleared, bitrate_cut.
Errors: what lacks one of its inputs is absent.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from collectors.derived import scores
from collectors.derived.alerts import AlertStates
from collectors.derived.recent_values import RecentValues
from collectors.derived.scores import Inputs
from collectors.host import Host
from common import clock, stream_states
from common.changes import Glimpse
from common.events import Event
from common.keys import boolean, duration, key, number, shared
from common.sample import Sample
from common.thresholds import METRICS, THRESHOLDS, Alerts

STATE = "stream.state"
INPUTS = (
    *("srt.connected", "srt.packet_loss_percent", "srt.rtt_ms", "srt.latency_ms"),
    *("srt.bitrate_bits_per_second", "srt.retransmit_percent", "srtla.link_up"),
    *("encoder.bitrate_bits_per_second", "encoder.bitrate_target_bits_per_second", "encoder.frame_drop_percent"),
    *("encoder.latency_ms", "encoder.frame_rate", "encoder.frame_rate_target", "srt.bitrate_cuts_total"),
    *("hdmi.connected", "hdmi.locked", "audio.sample_rate_hertz"),
)
MAX_UNJUDGED = 1_000  # moments between two looks


@dataclass(frozen=True)
class Config:
    """Section collectors.derived."""

    enabled: bool = key(boolean(), "true", "collect it")
    interval_s: float = key(duration(0.1, 86_400), "5s", "time between two collects", name="interval")
    watch_interval_s: float = key(duration(0.1, 60), "1s", "how often alerts are judged", name="watch_interval")
    cut_percent: float = key(number(1, 100), "20", "a bitrate that falls by this much at once is an event")
    alerts: Alerts = shared(Alerts, "alerts")


class State:
    """What was heard, and what came of it."""

    def __init__(self) -> None:
        self.heard = RecentValues(INPUTS)
        self.live_ms: int | None = None
        self.alerts = AlertStates()
        self.unjudged: deque[tuple[float, list[Sample]]] = deque(maxlen=MAX_UNJUDGED)
        self.bitrate: float | None = None
        self.cut: tuple[float, float] | None = None  # from, to: reported when it is known whether packets are read
        self.good = self.looked = 0
        self.counted_s = 0.0
        self.is_counted = False  # since the last collect
        self.has_heard = False  # since the last look


def hear(samples: Sequence[Sample], timestamp_ms: int, _producer: str, state: State) -> None:
    """Take in what was committed; what was measured before the stream is live tells nothing of it."""
    for sample in samples:
        if sample.name == STATE:
            _follow(sample.value == stream_states.LIVE, timestamp_ms, state)
    is_live = state.live_ms is not None and timestamp_ms >= state.live_ms
    counted = METRICS if is_live else _JUDGED_ALWAYS
    judged = [sample for sample in samples if sample.name in counted]
    if judged:
        state.unjudged.append((timestamp_ms / 1000, judged))
    if is_live:
        state.heard.take(samples, timestamp_ms, time.monotonic())
        state.has_heard = True


def collect(host: Host, config: Config, state: State) -> Iterator[Sample | Event]:
    """Yield every score whose inputs are there, every alert, and an event for a cut."""
    yield from _judge(config, state)
    for name, alert in state.alerts.states.items():
        yield Sample("alert.active", int(alert.active), {"alert": name})
    if state.live_ms is None:
        return
    for name, value in _scores(state.heard, host.now_s):
        if value is not None:
            yield Sample(name, value)
    _count_good(config, state, host.now_s)
    if state.is_counted:
        state.is_counted = False
        yield Sample("stream.reliability_percent", round(100 * state.good / state.looked, 2))
    yield from _cut(state, config.cut_percent, host.now_s)
    state.heard.forget(host.now_s)


def watch(host: Host, config: Config, state: State) -> Iterator[Sample | Event]:
    """Yield what has crossed a threshold since the last look, and the health score if it has a reason to be another."""
    for event in _judge(config, state):
        yield event
        if event.subject in state.alerts.states:
            yield Sample("alert.active", int(state.alerts.states[event.subject].active), {"alert": event.subject})
    _count_good(config, state, host.now_s)
    if state.has_heard and (health := scores.health(_inputs(state.heard, host.now_s))) is not None:
        yield Glimpse("stream.health_score", health)
    state.has_heard = False


_JUDGED_ALWAYS = frozenset(row.metric for row in THRESHOLDS if not row.streams)


def _follow(is_live: bool, timestamp_ms: int, state: State) -> None:
    """Begin to listen when the stream comes to live, and forget all of it when it is not any more."""
    if is_live and state.live_ms is None:
        state.live_ms = timestamp_ms
    elif not is_live:
        state.live_ms = None
        state.heard = RecentValues(INPUTS)
        state.bitrate = state.cut = None
        state.good = state.looked = 0
        state.is_counted = False


def _judge(config: Config, state: State) -> Iterator[Event]:
    while state.unjudged:
        at_s, samples = state.unjudged.popleft()
        yield from state.alerts.take(samples, at_s, config.alerts)
    yield from state.alerts.forget(clock.wall_ms() / 1000, config.alerts, live=state.live_ms is not None)


def _scores(heard: RecentValues, now_s: float) -> Iterator[tuple[str, float | None]]:
    def now(name: str) -> float | None:
        return heard.value(name, now_s)

    rtt, latency, rate = now("srt.rtt_ms"), now("srt.latency_ms"), now("encoder.bitrate_bits_per_second")
    yield "stream.health_score", scores.health(_inputs(heard, now_s))
    ups = [value for _, value in heard.each("srtla.link_up", now_s)]
    yield "network.stability_index", scores.stability(heard.readings("srt.rtt_ms", now_s), ups)
    sent, again = now("srt.bitrate_bits_per_second"), now("srt.retransmit_percent")
    yield "encoder.efficiency", scores.efficiency(sent, again, rate)
    yield "stream.latency_estimate_ms", scores.latency(now("encoder.latency_ms"), latency, rtt)


def _inputs(heard: RecentValues, now_s: float) -> Inputs:
    def now(name: str) -> float | None:
        return heard.value(name, now_s)

    rates = [value for _, value in heard.each("audio.sample_rate_hertz", now_s)]
    return Inputs(
        loss=now("srt.packet_loss_percent"),
        rtt=scores.share(now("srt.rtt_ms"), now("srt.latency_ms")),
        bitrate=scores.share(now("encoder.bitrate_bits_per_second"), now("encoder.bitrate_target_bits_per_second")),
        drops=now("encoder.frame_drop_percent"),
        frames=scores.share(now("encoder.frame_rate"), now("encoder.frame_rate_target")),
        sound=None if not rates else float(any(rates)),
        connected=now("srt.connected"),
        picture=_picture(heard, now_s),
    )


def _picture(heard: RecentValues, now_s: float) -> float | None:
    """Return 0 while no HDMI input has a source, or the one that has cannot make sense of it; None if unknown."""
    inputs = [value for _, value in heard.each("hdmi.connected", now_s)]
    if inputs and not any(inputs):
        return 0.0
    return 0.0 if len(inputs) == 1 and heard.value("hdmi.locked", now_s) == 0 else max(inputs, default=None)


def _count_good(config: Config, state: State, now_s: float) -> None:
    """Count a look at which it is known whether the receiver answers and frames come, and whether both do."""
    if state.live_ms is None or now_s - state.counted_s < config.watch_interval_s / 2:
        return
    state.counted_s = now_s
    connected, frames = state.heard.value("srt.connected", now_s), state.heard.value("encoder.frame_rate", now_s)
    if connected is not None and frames is not None:
        state.is_counted = True
        state.looked += 1
        state.good += bool(connected and frames)


def _cut(state: State, cut_percent: float, now_s: float) -> Iterator[Event]:
    """Yield a fall of the bitrate; where the packets are read, `collectors/srt/cuts.py` knows why, and when."""
    heard, before, last = state.heard, state.bitrate, state.cut
    now = state.bitrate = heard.value("encoder.bitrate_bits_per_second", now_s)
    state.cut = None
    if heard.value("srt.bitrate_cuts_total", now_s) is not None:
        return
    if before is not None and now is not None and now <= before * (1 - cut_percent / 100):
        state.cut = before, now
    if last is not None:
        limit = heard.value("encoder.bitrate_target_bits_per_second", now_s)
        is_set = limit is not None and limit < last[0]
        why = "the configured limit was lowered" if is_set else "the rule is not known: the packets are not read here"
        yield Event("bitrate_cut", f"from {last[0] / 1e6:.1f} to {last[1] / 1e6:.1f} Mbit/s; {why}")
