"""The alerts: which number crosses which line for how long; a part of the derived collector.

An alert is raised when its number has been beyond the line for as long as the hold time, and cleared when it has
been on the good side of the line and its margin for as long: one event for each, however it wavers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from collectors.derived.heard import Heard
from common.events import Event
from common.keys import duration, key, number
from common.sample import Sample

MARGIN = 0.1  # of the line: what has to be given back before an alert is over


@dataclass(frozen=True)
class Lines:
    """Section collectors.derived.alerts; 0 switches one off."""

    packet_loss_percent: float = key(number(0, 100), "5", "packet loss above it")
    rtt_ms: float = key(number(0, 60_000), "500", "round trip above it")
    frame_drop_percent: float = key(number(0, 100), "1", "frames dropped above it")
    buffer_percent: float = key(number(0, 100), "90", "use of the send buffer above it")
    bitrate_percent: float = key(number(0, 100), "50", "bitrate below this share of its target")
    cpu_celsius: float = key(number(0, 200), "85", "temperature above it")
    cpu_percent: float = key(number(0, 100), "90", "use of the processor above it")
    memory_megabytes: float = key(number(0, 1_000_000), "100", "available memory below it")
    hold_s: float = key(duration(0, 3600), "10s", "how long before it is said", name="hold")
    cpu_hold_s: float = key(duration(0, 3600), "30s", "the same for cpu_percent", name="cpu_hold")


class Alert(NamedTuple):
    """What is looked at.

    Attributes:
        name: label of `alert.active`.
        key: of `Lines`.
        unit: of the number, for people.
        above: it is bad above the line, else below it.
    """

    name: str
    key: str
    unit: str
    above: bool = True


ALERTS = {
    "srt.packet_loss_percent": Alert("packet_loss", "packet_loss_percent", "%"),
    "srt.rtt_ms": Alert("high_round_trip", "rtt_ms", "ms"),
    "encoder.frame_drop_percent": Alert("frames_dropped", "frame_drop_percent", "%"),
    "srt.buffer_utilization_percent": Alert("buffer_full", "buffer_percent", "%"),
    "bitrate": Alert("low_bitrate", "bitrate_percent", "% of the target", above=False),
    "cpu.temperature": Alert("overheating", "cpu_celsius", "°C"),
    "cpu.usage_percent": Alert("processor_busy", "cpu_percent", "%"),
    "memory": Alert("low_memory", "memory_megabytes", "MB", above=False),
}
INPUTS = (
    *(name for name in ALERTS if "." in name),
    *("encoder.bitrate_bits_per_second", "encoder.bitrate_target_bits_per_second", "memory.available_bytes"),
)


class Alerts:
    """Every alert's state."""

    def __init__(self) -> None:
        self._active: dict[str, bool] = {}
        self._changing_s: dict[str, float] = {}

    def look(self, heard: Heard, lines: Lines, now_s: float) -> Iterator[Sample | Event]:
        """Yield each alert's state, and an event for each that changes; nothing of one without its number."""
        for source, alert in ALERTS.items():
            line, value = getattr(lines, alert.key), _value(source, heard, now_s)
            if not line or value is None:
                yield from self._forget(alert, "off" if not line else "its number is not known any more")
                continue
            hold_s = lines.cpu_hold_s if alert.key == "cpu_percent" else lines.hold_s
            yield from self._judge(alert, line, value, hold_s, now_s)
            yield Sample("alert.active", int(self._active.get(alert.name, False)), {"alert": alert.name})

    def _judge(self, alert: Alert, line: float, value: float, hold_s: float, now_s: float) -> Iterator[Event]:
        active = self._active.get(alert.name, False)
        if not _wants_change(alert, line, value, active=active):
            self._changing_s.pop(alert.name, None)
            return
        since_s = self._changing_s.setdefault(alert.name, now_s)
        if now_s - since_s < hold_s:
            return
        del self._changing_s[alert.name]
        self._active[alert.name] = not active
        words, side = alert.name.replace("_", " "), "above" if alert.above else "below"
        if active:
            yield Event("alert_cleared", f"{words}: {value:.4g} {alert.unit} again", alert.name)
        else:
            text = f"{words}: {value:.4g} {alert.unit}, {side} {line:g} for {now_s - since_s:.0f} s"
            yield Event("alert_raised", text, alert.name)

    def _forget(self, alert: Alert, why: str) -> Iterator[Event]:
        self._changing_s.pop(alert.name, None)
        if self._active.pop(alert.name, False):
            yield Event("alert_cleared", f"{alert.name.replace('_', ' ')}: {why}", alert.name)


def _wants_change(alert: Alert, line: float, value: float, *, active: bool) -> bool:
    """Tell whether a number is on the other side: for an active alert beyond the margin."""
    if alert.above:
        return value <= line * (1 - MARGIN) if active else value > line
    return value >= line * (1 + MARGIN) if active else value < line


def _value(source: str, heard: Heard, now_s: float) -> float | None:
    if source == "bitrate":
        rate = heard.value("encoder.bitrate_bits_per_second", now_s)
        target = heard.value("encoder.bitrate_target_bits_per_second", now_s)
        return 100 * rate / target if rate is not None and target else None
    if source == "memory":
        available = heard.value("memory.available_bytes", now_s)
        return None if available is None else available / 1e6
    tags = {"core": "all"} if source == "cpu.usage_percent" else {}
    return heard.value(source, now_s, **tags)
