"""Find the samples that must not wait for the next commit: those that change what the page shows.

A value that crossed a threshold in either direction and a state that changed are committed at once, so that alerts and
the page have them within a second.
"""

from __future__ import annotations

from collections.abc import Iterable

from common import thresholds
from common.sample import Sample
from common.thresholds import THRESHOLDS, Alerts

STATES = frozenset(
    {
        *("verdict.level", "stream.state", "srt.connected", "srtla.link_up"),
        *("hdmi.connected", "hdmi.locked", "network.link_up", "modem.connected"),
    }
)
FLOWS = frozenset({"audio.sample_rate_hertz"})  # news where it stops or begins
_FIXED = {  # and of which number the value is a share
    "stream.health_score": (thresholds.HEALTH_SCORE, ""),
    "encoder.frame_rate": (thresholds.FRAME_SHARE, "encoder.frame_rate_target"),
}
FRAMES_A_SECOND = 24.0  # where it is not known how many are wanted
_OF = {row.metric: row for row in THRESHOLDS}
_WHOLES = frozenset(of for of in (*(row.of for row in THRESHOLDS), *(of for _, of in _FIXED.values())) if of)

_Key = tuple[str, frozenset[tuple[str, str]]]


class Glimpse(Sample):
    """A sample read between two collects of its source; it is published only if it is a change."""

    __slots__ = ()


class Changes:
    """The last published state of each series that the page judges.

    Attributes:
        alerts: the thresholds in force.
    """

    def __init__(self, alerts: Alerts) -> None:
        self.alerts = alerts
        self._last: dict[_Key, object] = {}
        self._wholes: dict[str, float] = {}

    def sift(self, found: Iterable[Sample]) -> tuple[list[Sample], bool]:
        """Return the samples of a source that are to be published, and whether one of them is a change."""
        samples = list(found)
        glimpses = [sample for sample in samples if isinstance(sample, Glimpse)]
        others = [sample for sample in samples if not isinstance(sample, Glimpse)]
        is_news = self.take(glimpses)
        return samples if is_news else others, self.take(others) or is_news

    def take(self, samples: Iterable[Sample]) -> bool:
        """Return whether a sample of a batch is a change; a first value counts as one if it is not ok."""
        found, samples = False, list(samples)
        for sample in samples:
            if sample.name in _WHOLES and not isinstance(sample.value, str):
                self._wholes[sample.name] = sample.value
        for sample in samples:
            state = self._state(sample)
            if state is not None:
                key = sample.name, frozenset(sample.tags.items())
                found = self._last.get(key, thresholds.OK) != state or found
                self._last[key] = state
        return found

    def _state(self, sample: Sample) -> object:
        """Return the level or state that the page shows for a sample, None if it shows none."""
        if isinstance(sample.value, str):
            return None
        if sample.name in STATES:
            return sample.value
        if sample.name in FLOWS:
            return thresholds.OK if sample.value else thresholds.ERROR
        if sample.name in _FIXED:
            fixed, of = _FIXED[sample.name]
            return thresholds.fixed_level(fixed, sample.value / (self._wholes.get(of) or FRAMES_A_SECOND if of else 1))
        row = _OF.get(sample.name)
        if row is None or sample.tags.get("core", thresholds.CORES_ALL) != thresholds.CORES_ALL:
            return None
        value = thresholds.value_of(row, sample.value, self._wholes.get(row.of))
        return thresholds.level(row, self.alerts, value) or None
