"""Every kind of event: how grave it is, what it means, and which one it ends. docs/events.md is made from it."""

from __future__ import annotations

from typing import NamedTuple

INFO, WARNING, ERROR, CRITICAL = "info", "warning", "error", "critical"


class Kind(NamedTuple):
    """One row.

    Attributes:
        severity: info, warning, error or critical.
        help: one sentence, what it means.
        clears: the kind that this one ends, "" where it ends none.
    """

    severity: str
    help: str
    clears: str = ""


# Each area in the order in which things happen; what begins something stands above what ends it.
KINDS: dict[str, Kind] = {
    # the picture and the sound
    "hdmi_lost": Kind(ERROR, "The HDMI input has no source any more: cable, camera, or its battery."),
    "hdmi_restored": Kind(INFO, "It has one again.", clears="hdmi_lost"),
    "encoder_stalled": Kind(CRITICAL, "The encoder has an open session and gives no frames."),
    "encoder_recovered": Kind(INFO, "It gives frames again, or was closed.", clears="encoder_stalled"),
    "audio_stalled": Kind(ERROR, "A sound card that is captured from delivers nothing."),
    "audio_recovered": Kind(INFO, "It delivers again, or was closed.", clears="audio_stalled"),
    # the pipeline
    "collector_failed": Kind(WARNING, "A collector could read nothing of what it is there for."),
    "collector_recovered": Kind(INFO, "It reads again.", clears="collector_failed"),
}
