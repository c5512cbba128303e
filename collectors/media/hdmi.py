"""The HDMI input: cable, lock, mode, true frame rate and errors.

Reads: dev/hdmirx or the video device of the receiver (one silent control), sys/kernel/debug/hdmirx/status (root),
    proc/interrupts, sys/class/video4linux/video*/name.
Source: rk_hdmirx.c and snps_hdmirx.c, Documentation/userspace-api/media/v4l/ext-ctrls-dv.rst.
Emits: hdmi.connected{input} (0 or 1; cable with power, or a USB grabber that is there), hdmi.locked (0 or 1),
    hdmi.frame_rate (captured, per second), hdmi.interruptions_total (times the signal was lost),
    hdmi.errors_total{channel} (as the receiver counts them), hdmi.info{resolution,color_format} (1).
    Events hdmi_lost and hdmi_restored.
Errors: without root there is no lock, mode or error count. QUERY_DV_TIMINGS is never asked: without a signal
    it writes a kernel log line each time, and belaUI shows those as notifications.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from collectors.host import Host
from collectors.media import interrupts, video4linux
from common.events import Event
from common.keys import boolean, duration, key
from common.sample import Sample

STATUS = "sys/kernel/debug/hdmirx/status"
CAPTURE_ROW = re.compile(r"rk_hdmirx-dma")  # two a frame: line flag and DMA idle
REST_S = 5.0  # between two looks where there is no input

NONE = (
    "this kernel has no HDMI input that can be asked: no /dev/hdmirx, no V4L2 device of rk_hdmirx (vendor kernels) or "
    "snps_hdmirx (mainline, from 6.15 on); USB grabbers are seen"
)

_MODE = re.compile(r"(?:Mode|Timing): (\d+x\d+[pi][\d.]+)")
_COLOR = re.compile(r"Color Format: (\S+)")
_LOCK = re.compile(r"(Clk-Ch|Ch\d):(\w+)")
_ERRORS = re.compile(r"(Ch\d)-Err:(\d{1,18})")


@dataclass(frozen=True)
class Config:
    """Section collectors.hdmi."""

    enabled: bool = key(boolean(), "true", "collect it")
    interval_s: float = key(duration(0.1, 86_400), "5s", "time between two collects", name="interval")
    watch_interval_s: float = key(duration(0.1, 60), "1s", "how often it looks at the cable", name="watch_interval")


@dataclass
class Status:
    """What the receiver's status file says."""

    connected: bool
    locked: bool | None = None
    mode: str = ""
    color: str = ""
    errors: dict[str, int] = field(default_factory=dict)


class State:
    """The last frame count, whether the signal was there, the names that two grabbers had, and how long to rest."""

    def __init__(self) -> None:
        self.rest_s: float | None = None
        self.frames: tuple[float, int] | None = None
        self.had_signal: bool | None = None
        self.interruptions = 0
        self.several: set[str] = set()


def collect(host: Host, _config: Config, state: State) -> Iterator[Sample | Event]:
    """Yield the state of the HDMI inputs."""
    status = host.parse(STATUS, parse_status)
    connected = _connected(host, status)
    if connected is not None:
        yield Sample("hdmi.connected", int(connected), {"input": "hdmirx"})
        yield from _signal(connected, state)
        yield Sample("hdmi.interruptions_total", state.interruptions)
    for name in video4linux.grabbers(host, state.several):
        yield Sample("hdmi.connected", 1, {"input": name})
    yield from _frame_rate(host, state, is_known=connected is not None)
    if connected is None and not host.faults:
        host.note("HDMI input", NONE)
    if status is None:
        return
    if status.locked is not None:
        yield Sample("hdmi.locked", int(status.locked))
    for channel, errors in status.errors.items():
        yield Sample("hdmi.errors_total", errors, {"channel": channel})
    if status.connected and status.mode:
        yield Sample("hdmi.info", 1, {"resolution": status.mode, "color_format": status.color})


def watch(host: Host, _config: Config, state: State) -> Iterator[Event | Sample]:
    """Yield an event and the new state when the signal is lost or comes back."""
    power = video4linux.has_power(host)
    connected = power if power is not None else _connected(host, host.parse(STATUS, parse_status))
    state.rest_s = REST_S if connected is None else None
    if connected is not None:
        for event in _signal(connected, state):
            yield event
            yield Sample("hdmi.connected", int(connected), {"input": "hdmirx"})


def parse_status(lines: Iterable[str]) -> Status | None:
    """Return what the status file says; newer kernels put the timing behind another word and add lines."""
    text = "\n".join(lines)
    if "plugout" in text:
        return Status(connected=False)
    if "plugin" not in text:
        return None
    locks = [state for _, state in _LOCK.findall(text)]
    mode, color = _MODE.search(text), _COLOR.search(text)
    return Status(
        connected=True,
        locked=all(state == "Lock" for state in locks) if locks else None,
        mode=mode[1] if mode else "",
        color=color[1] if color else "",
        errors={channel.lower(): int(count) for channel, count in _ERRORS.findall(text)},
    )


def _connected(host: Host, status: Status | None) -> bool | None:
    """Return whether a source is there, by the cable's power or else by the receiver's word."""
    power = video4linux.has_power(host)
    if power is None and status is not None:
        return status.connected
    return power


def _signal(connected: bool, state: State) -> Iterator[Event]:
    had, state.had_signal = state.had_signal, connected
    if had is True and not connected:
        state.interruptions += 1
        yield Event("hdmi_lost", "no source at the HDMI input")
    elif had is False and connected:
        yield Event("hdmi_restored", "the HDMI input has a source")


def _frame_rate(host: Host, state: State, *, is_known: bool) -> Iterator[Sample]:
    """Yield how many frames were captured; 0 only of an input that is there."""
    count = interrupts.count(host, CAPTURE_ROW)
    before, state.frames = state.frames, None if count is None else (host.now_s, count)
    if before is None or count is None or host.now_s <= before[0] or count < before[1]:
        return
    if count == before[1] and not is_known:
        return
    yield Sample("hdmi.frame_rate", round((count - before[1]) / 2 / (host.now_s - before[0]), 2))
