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
    "stream_interrupted": Kind(ERROR, "The encoder is gone while the sender still runs; belaUI starts it again."),
    "stream_ended": Kind(INFO, "The stream was stopped: the session is over."),
    "stream_failed": Kind(ERROR, "The encoder was not started again within 15 s; the sender still runs."),
    "bitrate_cut": Kind(WARNING, "The encoder's bitrate was lowered: by which rule, and what had happened."),
    "alert_raised": Kind(CRITICAL, "A number has crossed its threshold, for its hold where it has one."),
    "alert_cleared": Kind(INFO, "The number is good again, or not known any more.", clears="alert_raised"),
    # the connection
    "srt_lost": Kind(CRITICAL, "The connection was closed, or the receiver silent for 3 s, while the encoder runs."),
    "srt_connected": Kind(INFO, "The receiver acknowledges what is sent.", clears="srt_lost"),
    "receiver_silent": Kind(WARNING, "The receiver does not give its statistics."),
    "receiver_back": Kind(INFO, "The receiver gives its statistics again.", clears="receiver_silent"),
    "srtla_link_down": Kind(ERROR, "A bonded link does not answer, never did, or its modem is gone."),
    "srtla_link_up": Kind(INFO, "A bonded link answers again.", clears="srtla_link_down"),
    "srtla_link_removed": Kind(INFO, "A link was taken off the list of links by the user.", clears="srtla_link_down"),
    "srtla_link_readdressed": Kind(WARNING, "A link had to register again: its public address had changed."),
    "srt_source_silent": Kind(WARNING, "A sender or file that told of the stream says nothing any more."),
    "srt_source_back": Kind(INFO, "A sender or file tells of the stream again.", clears="srt_source_silent"),
    "srt_negotiated": Kind(INFO, "belacoder says that it is connected, and with which latency."),
    "srt_refused": Kind(ERROR, "belacoder cannot connect, and why."),
    "srt_broken": Kind(ERROR, "belacoder ended because its connection did; belaUI starts it again."),
    "bond_registered": Kind(INFO, "The receiver has accepted srtla_send's bond."),
    "bond_failed": Kind(CRITICAL, "srtla_send has no link that works."),
    "bond_link_failed": Kind(WARNING, "srtla_send says that a link has failed."),
    "bond_link_joined": Kind(INFO, "srtla_send says that a link is part of the bond.", clears="bond_link_failed"),
    "link_down": Kind(ERROR, "A network interface has no carrier any more, or is gone."),
    "link_up": Kind(INFO, "A network interface has a carrier again.", clears="link_down"),
    "link_stuck": Kind(ERROR, "A network interface's driver does not get rid of its packets: a modem that hangs."),
    "modem_plugged": Kind(INFO, "A modem appeared."),
    "modem_unplugged": Kind(ERROR, "A modem is gone: pulled, or its power."),
    "modem_lost": Kind(ERROR, "A modem has no connection any more."),
    "modem_restored": Kind(INFO, "A modem is connected again.", clears="modem_lost"),
    # the picture and the sound
    "hdmi_lost": Kind(ERROR, "The HDMI input has no source any more: cable, camera, or its battery."),
    "hdmi_restored": Kind(INFO, "The HDMI input has a source again.", clears="hdmi_lost"),
    "hdmi_unlocked": Kind(WARNING, "The kernel says that the HDMI input cannot make sense of the signal."),
    "hdmi_format": Kind(INFO, "The HDMI source sends another format."),
    "hdmi_sound_underflow": Kind(WARNING, "The kernel says that the HDMI input's sound has run dry."),
    "pipeline_stalled": Kind(CRITICAL, "belacoder ended because its pipeline stood still; belaUI starts it again."),
    "capture_failed": Kind(ERROR, "A part of belacoder's pipeline failed or ended: picture or sound is gone."),
    "bitrate_fixed": Kind(WARNING, "belacoder cannot follow the network with this pipeline."),
    "encoder_complained": Kind(WARNING, "Rockchip's encoder library logged an error."),
    "encoder_failed": Kind(ERROR, "The kernel says that the video unit timed out, failed or was reset."),
    "encoder_stalled": Kind(CRITICAL, "The encoder has an open session and gives no frames."),
    "encoder_recovered": Kind(INFO, "The encoder gives frames again, or was closed.", clears="encoder_stalled"),
    "audio_stalled": Kind(ERROR, "A sound card that is captured from delivers nothing."),
    "audio_recovered": Kind(INFO, "A sound card delivers again, or was closed.", clears="audio_stalled"),
    # the board
    "usb_disconnected": Kind(WARNING, "A USB device is gone: pulled, its power, or its own restart."),
    "usb_failed": Kind(ERROR, "A USB device does not answer: cable, power or interference."),
    "usb_reset": Kind(WARNING, "The kernel has reset a USB device: it did not answer, or its driver wanted it."),
    "usb_overcurrent": Kind(
        ERROR, "A USB port draws more than it may: it is switched off, with what is plugged in there."
    ),
    "usb_host_died": Kind(
        CRITICAL, "A USB host controller has stopped: modems and grabbers on it are gone until a restart."
    ),
    "undervoltage": Kind(CRITICAL, "The board's supply gives too little: clocks fall, USB devices fail."),
    "storage_failed": Kind(CRITICAL, "A card or drive cannot be read or written."),
    "out_of_memory": Kind(CRITICAL, "The kernel ended a process because no memory was left."),
    "overheated": Kind(CRITICAL, "The kernel shuts the board down because of its temperature."),
    "kernel_fault": Kind(CRITICAL, "The kernel itself has failed or is stuck."),
    "gps_lost": Kind(INFO, "gpsd has no position any more."),
    "gps_found": Kind(INFO, "gpsd has a position again.", clears="gps_lost"),
    "unit_failed": Kind(ERROR, "systemd says that a streaming unit has failed."),
    # the pipeline
    "process_died": Kind(WARNING, "A process died: a bug, a signal, no memory. supervisord restarts it."),
    "process_hung": Kind(
        ERROR,
        "A process sent no heartbeats and used no processor time: it hung. It was killed, supervisord restarts it.",
    ),
    "process_fatal": Kind(ERROR, "supervisord has given up a process; it is tried again with growing waits."),
    "process_back": Kind(INFO, "A process runs again.", clears="process_died"),
    "storage_paused": Kind(CRITICAL, "The database takes no writes: a full disk, or a lost permission or device."),
    "storage_resumed": Kind(INFO, "The database takes writes again.", clears="storage_paused"),
    "database_held": Kind(
        WARNING, "Another process keeps a read transaction open: the write-ahead log grows and cannot be emptied."
    ),
    "database_free": Kind(INFO, "The write-ahead log can be emptied again.", clears="database_held"),
    "database_replaced": Kind(ERROR, "A damaged database was moved aside, a fresh one started."),
    "database_salvaged": Kind(INFO, "What could be read of it was taken over.", clears="database_replaced"),
    "samples_given_up": Kind(ERROR, "The size limit was reached: the least important samples were deleted."),
    "clock_stepped": Kind(WARNING, "The wall clock jumped; what was not uploaded yet got its right time."),
    # the delivery
    "mode_changed": Kind(INFO, "Uploads go on in another mode, and why."),
    "server_away": Kind(WARNING, "No upload has succeeded for a minute, and why."),
    "server_back": Kind(INFO, "Uploads succeed again.", clears="server_away"),
    "budget_reached": Kind(WARNING, "So much of the data budget is used that some priorities wait."),
    "budget_renewed": Kind(INFO, "All priorities are uploaded again.", clears="budget_reached"),
    "samples_refused": Kind(ERROR, "The server refused samples for good; they stay on the device."),
    "samples_missing": Kind(ERROR, "The server did not have what it had accepted, and what was done about it."),
    "events_missing": Kind(
        WARNING, "The log server did not have events that it had acknowledged, and what was done about it."
    ),
    "samples_withheld": Kind(
        WARNING,
        "The server accepts samples and by a rule of its own does not have them: which, and the likely setting.",
    ),
    "server_lost_data": Kind(
        ERROR, "The server has no more what was found there: it came back from a backup, or empty; it is sent again."
    ),
    "server_caught_up": Kind(INFO, "The server has again what the device could still send.", clears="server_lost_data"),
    "clock_skewed": Kind(WARNING, "This clock and the server's differ by more than the configured limit."),
    "clock_agrees": Kind(INFO, "The clocks agree again.", clears="clock_skewed"),
    # the collectors
    "collector_failed": Kind(WARNING, "A source could read nothing of what it is there for."),
    "collector_recovered": Kind(INFO, "A source reads again.", clears="collector_failed"),
}
