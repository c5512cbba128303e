"""The hardware encoder: its current and configured bitrate, its frames, and whether it has stalled.

Reads: proc/mpp_service/{sessions-summary,load}, proc/interrupts, tmp/belacoder_br, tmp/belacoder_pipeline,
    opt/belaUI/config.json (only the pipeline's name), usr/share/belacoder/pipelines/*/*.
Source: Rockchip's mpp_rkvenc2.c and mpp_service.c (vendor kernels), belacoder.c, belaUI.js.
Emits: encoder.bitrate_bits_per_second (what belacoder has set the encoder to), encoder.bitrate_target_bits_per_second
    (the most it may), encoder.bitrate_stability_percent (100 is steady, over the last minute),
    encoder.bitrate_adjustments_total, encoder.frame_rate (encoded, per second), encoder.frame_rate_target,
    encoder.keyframe_interval_frames, encoder.frames_encoded_total, encoder.frames_dropped_total and
    encoder.frame_drop_percent (estimated: captured or wanted, whichever is less, and not encoded),
    encoder.latency_ms (work of the cores for one frame), encoder.info{codec,resolution,profile,pipeline} (1).
    Events encoder_stalled and encoder_recovered.
Errors: without a session only the target is emitted; of several sessions (a preview) belacoder's counts. Without the
    encoder's rows in proc/interrupts the frame rate is the kernel's fps_calc, and a stall cannot be detected, because
    fps_calc keeps its last value.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import fmean, pstdev
from typing import NamedTuple

from collectors import belabox, mpp
from collectors.host import Host
from collectors.media import interrupts
from common.changes import Glimpse
from common.events import Event
from common.keys import boolean, duration, key
from common.sample import Sample

ENCODER_ROW = re.compile(r"[0-9a-f]+\.rkvenc-core")  # one interrupt a frame, mpp_rkvenc2.c
CAPTURE_ROW = re.compile(r"rk_hdmirx-dma")  # two a frame: line flag and DMA idle
NOTHING = (
    "this kernel tells nothing of one: /proc/mpp_service is in Rockchip's vendor kernels (5.10, 6.1); "
    "what is sent is in srt.bitrate_bits_per_second"
)
STALL_S = 1.5  # no frame for so long: at 24 frames a second that is 36 of them
LOOK_S = 0.5  # at least, or the rate is coarse
REST_S = 5.0  # between two looks where the kernel tells nothing of an encoder
STABILITY_S = 60.0
DROPS_S = 30.0
EDGE_FRAMES = 2  # captured and not encoded yet: at the edges of a window there are that many more or less


@dataclass(frozen=True)
class Config:
    """Section collectors.encoder."""

    enabled: bool = key(boolean(), "true", "collect it")
    interval_s: float = key(duration(0.1, 86_400), "5s", "time between two collects", name="interval")
    watch_interval_s: float = key(duration(0.1, 60), "1s", "how often it looks for a stall", name="watch_interval")


class Frames(NamedTuple):
    """The counts of one instant."""

    at_s: float
    encoded: int
    captured: int | None


class State:
    """Recent readings, and what has been counted from them."""

    def __init__(self) -> None:
        self.bitrates: deque[tuple[float, int]] = deque()
        self.adjustments = 0
        self.frames: deque[Frames] = deque()
        self.dropped = 0.0
        self.moved_s = 0.0
        self.owner = ""
        self.looked: Frames | None = None
        self.watched: int | None = None
        self.is_stalled = False
        self.rest_s: float | None = None


def collect(host: Host, _config: Config, state: State) -> Iterator[Sample]:
    """Yield the encoder's settings and its measured output."""
    yield from _target(host)
    session = mpp.encoding(host, belabox.ENCODERS)
    if not host.exists(mpp.SESSIONS):
        host.note("hardware encoder", NOTHING)
    _follow_owner(session, state)
    if session is None:
        return
    yield from _bitrate(session, host.now_s, state)
    yield from _frames(host, session, state)
    for metric, column in (("frame_rate_target", "fps_out"), ("keyframe_interval_frames", "gop_size")):
        value = mpp.number(session, column)
        if value is not None:
            yield Sample(f"encoder.{metric}", value)
    resolution = f"{session['width']}x{session['height']}" if {"width", "height"} <= session.keys() else ""
    tags = {"codec": session.get("format", ""), "resolution": resolution, "profile": session.get("profile", "")}
    yield Sample("encoder.info", 1, {**tags, "pipeline": belabox.pipeline_name(host) or ""})


def watch(host: Host, _config: Config, state: State) -> Iterator[Event | Sample | Glimpse]:
    """Yield an event when an open session stops producing frames and when it recovers; and the current bitrate."""
    state.rest_s = None if host.exists(mpp.SESSIONS) else REST_S
    session = mpp.encoding(host, belabox.ENCODERS)
    is_new = _follow_owner(session, state)
    bitrate = mpp.number(session, "bitrate") if session is not None else None
    if bitrate is not None and is_new:  # from its first second on it is known what is low
        yield Sample("encoder.bitrate_bits_per_second", bitrate)
        yield from _target(host)
    elif bitrate is not None:
        yield Glimpse("encoder.bitrate_bits_per_second", bitrate)
    now = _counts(host) if session is not None else None
    if now is not None and state.looked is not None and now.at_s - state.looked.at_s >= LOOK_S:
        yield Glimpse("encoder.frame_rate", _rate(state.looked, now))
    state.looked = now
    if now is None or now.encoded != state.watched:
        state.watched, state.moved_s = None if now is None else now.encoded, host.now_s
        if state.is_stalled:
            state.is_stalled = False
            yield Event(
                "encoder_recovered", "the encoder was closed" if now is None else "the encoder gives frames again"
            )
    elif not state.is_stalled and host.now_s - state.moved_s >= STALL_S:
        state.is_stalled = True
        yield Sample("encoder.frame_rate", 0.0)
        yield Event("encoder_stalled", f"no frame from the encoder for {host.now_s - state.moved_s:.1f} s")


def stability(bitrates: list[int]) -> float | None:
    """Return how steady a bitrate is: 100 less its standard deviation in percent of its mean, not below 0."""
    mean = fmean(bitrates) if len(bitrates) > 1 else 0.0
    return round(max(0.0, 100 - 100 * pstdev(bitrates) / mean), 2) if mean else None


def missing(before: Frames, now: Frames, target_fps: float | None) -> tuple[float, float] | None:
    """Return how many frames should have been encoded and how many of them were not.

    A pipeline may lower the frame rate on purpose, so that of what was captured no more than the
    target is missed.
    """
    elapsed_s = now.at_s - before.at_s
    wanted = []
    if before.captured is not None and now.captured is not None:
        wanted.append((now.captured - before.captured) / 2)
    if target_fps:
        wanted.append(target_fps * elapsed_s)
    if elapsed_s <= 0 or not wanted or now.encoded < before.encoded or min(wanted) <= 0:
        return None
    return min(wanted), max(0.0, min(wanted) - (now.encoded - before.encoded))


def _bitrate(session: mpp.Session, now_s: float, state: State) -> Iterator[Sample]:
    bitrate = mpp.number(session, "bitrate")
    if bitrate is None:
        return
    if state.bitrates and state.bitrates[-1][1] != bitrate:
        state.adjustments += 1
    state.bitrates.append((now_s, bitrate))
    while now_s - state.bitrates[0][0] > STABILITY_S:
        state.bitrates.popleft()
    yield Sample("encoder.bitrate_bits_per_second", bitrate)
    yield Sample("encoder.bitrate_adjustments_total", state.adjustments)
    steadiness = stability([value for _, value in state.bitrates])
    if steadiness is not None:
        yield Sample("encoder.bitrate_stability_percent", steadiness)


def _frames(host: Host, session: mpp.Session, state: State) -> Iterator[Sample]:
    now = _counts(host)
    if now is None:
        calculated = mpp.decimal(session, "fps_calc")
        if calculated is not None:
            yield Sample("encoder.frame_rate", calculated)
        return
    yield Sample("encoder.frames_encoded_total", now.encoded)
    if state.frames:
        last = state.frames[-1]
        if now.at_s > last.at_s and now.encoded >= last.encoded:
            rate = _rate(last, now)
            yield Sample("encoder.frame_rate", rate)
            yield from _latency(host, rate)
        yield from _drops(now, mpp.number(session, "fps_out"), state)
    state.frames.append(now)


def _target(host: Host) -> Iterator[Sample]:
    target = belabox.max_bitrate(host)
    if target is not None:
        yield Sample("encoder.bitrate_target_bits_per_second", target)


def _follow_owner(session: mpp.Session | None, state: State) -> bool:
    """Count from the start with each process that encodes, and tell whether it is another one.

    Between two of them nobody wants frames.
    """
    owner = "" if session is None else f"{session.get('pid', '')} {session.get('session', '')}"
    if owner == state.owner:
        return False
    state.owner, state.looked = owner, None
    state.bitrates.clear()
    state.frames.clear()
    return True


def _rate(before: Frames, now: Frames) -> float:
    """Return the frames per second between two instants."""
    return round((now.encoded - before.encoded) / (now.at_s - before.at_s), 2)


def _counts(host: Host) -> Frames | None:
    """Return the counts of this instant, None where the kernel counts no frames."""
    encoded, captured = interrupts.counts(host, ENCODER_ROW, CAPTURE_ROW)
    return None if encoded is None else Frames(host.now_s, encoded, captured)


def _latency(host: Host, rate: float) -> Iterator[Sample]:
    """Yield the time the cores work for one frame; two cores share a stream by whole frames."""
    shares = [row.utilization for unit, row in mpp.loads(host).items() if ENCODER_ROW.fullmatch(unit)]
    if shares and rate > 0:
        yield Sample("encoder.latency_ms", round(sum(shares) / 100 / rate * 1000, 2))


def _drops(now: Frames, target_fps: float | None, state: State) -> Iterator[Sample]:
    while len(state.frames) > 1 and now.at_s - state.frames[0].at_s > DROPS_S:
        state.frames.popleft()
    step = missing(state.frames[-1], now, target_fps)
    window = missing(state.frames[0], now, target_fps)
    if step is None or window is None:
        return
    state.dropped += step[1]
    yield Sample("encoder.frames_dropped_total", int(state.dropped))
    yield Sample("encoder.frame_drop_percent", round(100 * max(0.0, window[1] - EDGE_FRAMES) / window[0], 2))
