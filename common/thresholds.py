"""All thresholds: at which value a number turns amber or red, and when it raises an alert.

Alerts, the page, the terminal, the dashboards, vmalert's rules and docs/derived.md all read this table. An operator
sets thresholds in section `alerts` of the configuration; the amber value is a share of the configured one, so a changed
threshold moves both colours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from common.keys import duration, key, number

OK, DEGRADED, ERROR = "ok", "degraded", "error"
RANKS = {"": 0, OK: 0, DEGRADED: 1, ERROR: 2}
CLEARS_AT = 0.1  # of the threshold: what a number has to give back before its alert is over


@dataclass(frozen=True)
class Alerts:
    """The values beyond which an alert is raised; 0 disables an alert."""

    packet_loss_percent: float = key(number(0, 100), "5", "packet loss above it")
    rtt_ms: float = key(number(0, 60_000), "500", "round trip above it")
    frame_drop_percent: float = key(number(0, 100), "1", "frames dropped above it")
    buffer_percent: float = key(number(0, 100), "90", "use of the receiver's buffer above it")
    bitrate_percent: float = key(number(0, 100), "50", "bitrate below this share of its target, for bitrate_hold")
    cpu_celsius: float = key(number(0, 200), "85", "temperature above it")
    cpu_percent: float = key(number(0, 100), "90", "use of the processor above it, for cpu_hold")
    memory_megabytes: float = key(number(0, 1_000_000), "100", "available memory below it")
    bitrate_hold_s: float = key(
        duration(0, 3600), "10s", "how long the bitrate is low before it is an alert", name="bitrate_hold"
    )
    cpu_hold_s: float = key(
        duration(0, 3600), "30s", "how long the processor is busy before it is an alert", name="cpu_hold"
    )
    clear_hold_s: float = key(
        duration(0, 3600), "10s", "how long a number is good again before its alert is over", name="clear_hold"
    )


class Threshold(NamedTuple):
    """One number that has a threshold.

    Attributes:
        alert: label of `alert.active`; also the id of its tile.
        metric: whose value is compared, see `value_of`.
        key: of `Alerts`.
        unit: of the value, for people.
        amber: the value from which on it is amber, as a share of the configured one.
        above: it is bad above the threshold, else below it.
        hold: key of `Alerts` with its hold, "" where the first reading beyond counts.
        scale: the metric's value times this is in `unit`.
        of: the metric that the value is a share of, "" where it stands alone.
        streams: it exists only while a stream is live.
    """

    alert: str
    metric: str
    key: str
    unit: str
    amber: float
    above: bool = True
    hold: str = ""
    scale: float = 1
    of: str = ""
    streams: bool = True


THRESHOLDS = (
    Threshold("packet_loss", "srt.packet_loss_percent", "packet_loss_percent", "%", 0.4),
    Threshold("high_round_trip", "srt.rtt_ms", "rtt_ms", "ms", 0.5),
    Threshold("frames_dropped", "encoder.frame_drop_percent", "frame_drop_percent", "%", 0.5),
    Threshold("buffer_full", "srt.buffer_utilization_percent", "buffer_percent", "%", 0.8),
    Threshold(
        "low_bitrate",
        "encoder.bitrate_bits_per_second",
        "bitrate_percent",
        "% of the target",
        1.6,
        above=False,
        hold="bitrate_hold_s",
        scale=100,
        of="encoder.bitrate_target_bits_per_second",
    ),
    Threshold("overheating", "cpu.temperature", "cpu_celsius", "°C", 0.94, streams=False),
    Threshold("processor_busy", "cpu.usage_percent", "cpu_percent", "%", 1, hold="cpu_hold_s", streams=False),
    Threshold(
        "low_memory",
        "memory.available_bytes",
        "memory_megabytes",
        "MB",
        2,
        above=False,
        scale=1e-6,
        streams=False,
    ),
)
BY_ALERT = {threshold.alert: threshold for threshold in THRESHOLDS}
METRICS = frozenset(name for row in THRESHOLDS for name in (row.metric, row.of) if name)
CORES_ALL = "all"  # the label of cpu.usage_percent whose value counts


class FixedThreshold(NamedTuple):
    """A number with colours and no alert: amber and red begin at these values; infinity for never."""

    amber: float
    red: float
    above: bool = True


_NEVER = float("inf")

HEALTH_SCORE = FixedThreshold(70, 40, above=False)
FRAME_SHARE = FixedThreshold(0.8, 0.5, above=False)  # of the frames that are wanted
DISK_PERCENT = FixedThreshold(90, _NEVER)
BATTERY_PERCENT = FixedThreshold(20, -_NEVER, above=False)
BUDGET_SHARE = FixedThreshold(0.8, 1)  # of the data budget: from here on the less important samples wait


def value_of(threshold: Threshold, value: float | None, whole: float | None = None) -> float | None:
    """Return what is compared with a threshold, None where an input is missing.

    Args:
        threshold: which one.
        value: of its metric.
        whole: of the metric that it is a share of.
    """
    if value is None or (threshold.of and not whole):
        return None
    return value * threshold.scale / (whole if threshold.of and whole else 1)


def limit(threshold: Threshold, alerts: Alerts) -> float:
    """Return the configured value, 0 where the alert is off."""
    return float(getattr(alerts, threshold.key))


def hold_s(threshold: Threshold, alerts: Alerts) -> float:
    """Return how long a value has to be beyond the threshold."""
    return float(getattr(alerts, threshold.hold)) if threshold.hold else 0.0


def amber(threshold: Threshold, alerts: Alerts) -> float:
    """Return from which value on the number is amber."""
    return limit(threshold, alerts) * threshold.amber


def level(threshold: Threshold, alerts: Alerts, value: float | None, *, held: bool = True) -> str:
    """Return ok, degraded or error for a value of `value_of`; "" where it is not judged.

    Args:
        threshold: which one.
        alerts: the configuration.
        value: None where it is not known.
        held: it has been beyond the threshold for the hold; where it has not, a value beyond is amber.
    """
    at = limit(threshold, alerts)
    if value is None or not at:
        return ""
    if is_beyond(value, at, above=threshold.above):
        return ERROR if held or not threshold.hold else DEGRADED
    return DEGRADED if is_beyond(value, amber(threshold, alerts), above=threshold.above) else OK


def fixed_level(fixed: FixedThreshold, value: float | None) -> str:
    """Return ok, degraded or error for a number without an alert, "" where it is not known."""
    if value is None:
        return ""
    if value >= fixed.red if fixed.above else value < fixed.red:
        return ERROR
    return DEGRADED if (value >= fixed.amber if fixed.above else value < fixed.amber) else OK


def is_beyond(value: float, at: float, *, above: bool) -> bool:
    """Return whether a value is on the bad side of a threshold."""
    return value > at if above else value < at


def is_clear(threshold: Threshold, value: float, at: float) -> bool:
    """Return whether a value has given back enough for its alert to be over."""
    margin = round(CLEARS_AT * at, 9)  # 0.1 times 1.6 is 0.16, not a little more
    return value <= at - margin if threshold.above else value >= at + margin
