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
    # the stream
    "stream_started": Kind(INFO, "The encoder runs: a session begins."),
    "stream_restarted": Kind(WARNING, "The encoder died and was started again, within the same session."),
    "stream_ended": Kind(INFO, "It was stopped: the session is over."),
    "stream_failed": Kind(ERROR, "The encoder is gone while the sender still runs."),
    "bitrate_cut": Kind(WARNING, "The encoder's bitrate was lowered, and which rule of its controller fits."),
    "alert_raised": Kind(CRITICAL, "A number was beyond its line for the hold time."),
    "alert_cleared": Kind(INFO, "It is back, or not known any more.", clears="alert_raised"),
    # the connection
    "srt_lost": Kind(CRITICAL, "The receiver has acknowledged nothing for 3 s while the encoder runs."),
    "srt_connected": Kind(INFO, "It acknowledges.", clears="srt_lost"),
    "srtla_link_down": Kind(ERROR, "A bonded link does not answer any more."),
    "srtla_link_up": Kind(INFO, "It answers again.", clears="srtla_link_down"),
    "srt_source_silent": Kind(WARNING, "A sender or file that told of the stream says nothing any more."),
    "srt_source_back": Kind(INFO, "It speaks again.", clears="srt_source_silent"),
    # the picture and the sound
    "hdmi_lost": Kind(ERROR, "The HDMI input has no source any more: cable, camera, or its battery."),
    "hdmi_restored": Kind(INFO, "It has one again.", clears="hdmi_lost"),
    "encoder_stalled": Kind(CRITICAL, "The encoder has an open session and gives no frames."),
    "encoder_recovered": Kind(INFO, "It gives frames again, or was closed.", clears="encoder_stalled"),
    "audio_stalled": Kind(ERROR, "A sound card that is captured from delivers nothing."),
    "audio_recovered": Kind(INFO, "It delivers again, or was closed.", clears="audio_stalled"),
    # the pipeline
    "process_died": Kind(WARNING, "A process ended without a goodbye; supervisord starts it again."),
    "process_hung": Kind(ERROR, "A process lived and was silent; it was ended to be started anew."),
    "process_fatal": Kind(ERROR, "supervisord has given up a process; it is tried again with growing waits."),
    "process_back": Kind(INFO, "It runs again.", clears="process_died"),
    "collector_failed": Kind(WARNING, "A collector could read nothing of what it is there for."),
    "collector_recovered": Kind(INFO, "It reads again.", clears="collector_failed"),
}
