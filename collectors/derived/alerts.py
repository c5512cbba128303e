"""The alerts: which number has crossed its threshold; a part of the derived collector.

Each sample is judged by its own time as it comes: an alert is raised by the first one beyond its threshold, or by the
first one after which the number has been beyond for the hold (processor and bitrate). It is over when the number has
given back a tenth of the threshold for `alerts.clear_hold`: one event for each, however it wavers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from common import thresholds
from common.events import Event
from common.sample import Sample
from common.thresholds import THRESHOLDS, Alerts, Threshold

LEAST_S = 12.0  # two intervals of the quickest sources and a commit
FIRST_SPACING_S = 30.0  # until the second sample comes
FORGET_SPACINGS = 3


@dataclass
class AlertState:
    """One alert.

    Attributes:
        active: it is raised.
        heard_s: time of the last sample.
        spacing_s: time between the last two.
        changing_s: time of the first sample on the other side, None while on this one.
    """

    active: bool = False
    heard_s: float = 0.0
    spacing_s: float = FIRST_SPACING_S
    changing_s: float | None = None

    def hear(self, at_s: float) -> None:
        """Note that its number has come."""
        if self.heard_s:
            self.spacing_s = at_s - self.heard_s
        self.heard_s = at_s

    def is_stale(self, now_s: float) -> bool:
        """Tell whether its number should have come long ago."""
        return now_s - self.heard_s > max(LEAST_S, FORGET_SPACINGS * self.spacing_s)


class AlertStates:
    """Every alert's state, by its name; those that are off or have no number are not there.

    Attributes:
        states: of each alert whose number is known.
    """

    def __init__(self) -> None:
        self.states: dict[str, AlertState] = {}
        self._wholes: dict[str, float] = {}

    def take(self, samples: Iterable[Sample], at_s: float, alerts: Alerts) -> Iterator[Event]:
        """Judge the samples of one moment; yield an event for each alert that changes.

        Args:
            samples: of one batch.
            at_s: their time, seconds.
            alerts: the configuration.
        """
        values = {sample.name: float(sample.value) for sample in samples if _counts(sample)}
        self._wholes |= {row.of: values[row.of] for row in THRESHOLDS if row.of in values}
        for threshold in THRESHOLDS:
            value = thresholds.value_of(threshold, values.get(threshold.metric), self._wholes.get(threshold.of))
            if value is not None and thresholds.limit(threshold, alerts):
                yield from self._judge(threshold, value, at_s, alerts)

    def forget(self, now_s: float, alerts: Alerts, *, live: bool) -> Iterator[Event]:
        """End the alerts whose number is not there any more."""
        for threshold in THRESHOLDS:
            state = self.states.get(threshold.alert)
            if state is None:
                continue
            if threshold.streams and not live:
                why = "no stream is live any more"
            elif not thresholds.limit(threshold, alerts):
                why = "the alert was switched off"
            elif state.is_stale(now_s):
                why = "its number is not known any more"
            else:
                continue
            del self.states[threshold.alert]
            if state.active:
                yield Event("alert_cleared", f"{_words(threshold)}: {why}", threshold.alert)

    def _judge(self, threshold: Threshold, value: float, at_s: float, alerts: Alerts) -> Iterator[Event]:
        state = self.states.setdefault(threshold.alert, AlertState())
        state.hear(at_s)
        at = thresholds.limit(threshold, alerts)
        if state.active:
            wants, hold_s = thresholds.is_clear(threshold, value, at), alerts.clear_hold_s
        else:
            wants = thresholds.is_beyond(value, at, above=threshold.above)
            hold_s = thresholds.hold_s(threshold, alerts)
        if not wants:
            state.changing_s = None
            return
        state.changing_s = at_s if state.changing_s is None else state.changing_s
        lasted_s = at_s - state.changing_s
        if lasted_s >= hold_s:
            state.active, state.changing_s = not state.active, None
            yield _event(threshold, value, at, lasted_s, raised=state.active)


def _counts(sample: Sample) -> bool:
    """Tell whether a sample is a number of a threshold; of the CPU's samples, the one of all cores alone."""
    if isinstance(sample.value, str) or sample.name not in thresholds.METRICS:
        return False
    return sample.tags.get("core", thresholds.CORES_ALL) == thresholds.CORES_ALL


def _event(threshold: Threshold, value: float, at: float, lasted_s: float, *, raised: bool) -> Event:
    number = f"{_words(threshold)}: {value:.4g} {threshold.unit}"
    if not raised:
        return Event("alert_cleared", f"{_words(threshold)} is over: {value:.4g} {threshold.unit}", threshold.alert)
    side, held = "above" if threshold.above else "below", f" for {lasted_s:.0f} s" if lasted_s else ""
    return Event("alert_raised", f"{number}, {side} {at:g}{held}", threshold.alert)


def _words(threshold: Threshold) -> str:
    return threshold.alert.replace("_", " ")
