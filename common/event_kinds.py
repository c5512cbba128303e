"""Every kind of event: its severity, what it means, and which kind it ends. docs/events.md is generated from it."""

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
    "bitrate_cut": Kind(WARNING, "The encoder's bitrate was lowered; the text names the rule and the cause."),
    "alert_raised": Kind(CRITICAL, "A value has crossed its threshold for at least its hold time."),
    "alert_cleared": Kind(INFO, "The value is good again, or no longer known.", clears="alert_raised"),
    # the connection
    "srt_lost": Kind(
        CRITICAL, "The connection was closed, or the receiver did not answer for 3 s, while the encoder runs."
    ),
    "srt_connected": Kind(INFO, "The receiver acknowledges packets.", clears="srt_lost"),
    "receiver_silent": Kind(WARNING, "The receiver's statistics cannot be read."),
    "receiver_back": Kind(INFO, "The receiver's statistics can be read again.", clears="receiver_silent"),
    "srtla_link_down": Kind(ERROR, "A bonded link gets no answer from the receiver, or its modem is gone."),
    "srtla_link_up": Kind(INFO, "A bonded link is answered by the receiver again.", clears="srtla_link_down"),
    "srtla_link_removed": Kind(INFO, "The user removed a link from the bond.", clears="srtla_link_down"),
    "srtla_link_readdressed": Kind(WARNING, "A link had to register again: its public address had changed."),
    "srt_source_silent": Kind(WARNING, "A sender or statistics file stopped delivering data about the stream."),
    "srt_source_back": Kind(
        INFO, "A sender or statistics file delivers data about the stream again.", clears="srt_source_silent"
    ),
    "srt_negotiated": Kind(INFO, "belacoder reports that it is connected, and the negotiated latency."),
    "srt_refused": Kind(ERROR, "belacoder could not connect; the text has the reason."),
    "srt_broken": Kind(ERROR, "belacoder exited because its connection broke; belaUI starts it again."),
    "bond_registered": Kind(INFO, "The receiver has accepted srtla_send's bond."),
    "bond_failed": Kind(CRITICAL, "srtla_send has no working link."),
    "bond_link_failed": Kind(WARNING, "srtla_send reports that a link has failed."),
    "bond_link_joined": Kind(INFO, "srtla_send reports that a link joined the bond.", clears="bond_link_failed"),
    "link_down": Kind(ERROR, "A network interface lost its carrier, or disappeared."),
    "link_up": Kind(INFO, "A network interface has a carrier again.", clears="link_down"),
    "link_stuck": Kind(
        ERROR, "A network interface no longer transmits: its driver's queue is stuck, usually because the modem hangs."
    ),
    "modem_plugged": Kind(INFO, "A modem appeared."),
    "modem_unplugged": Kind(ERROR, "A modem disappeared: it was unplugged or lost power."),
    "modem_lost": Kind(ERROR, "A modem lost its connection."),
    "modem_restored": Kind(INFO, "A modem is connected again.", clears="modem_lost"),
    # the picture and the sound
    "hdmi_lost": Kind(ERROR, "The HDMI input lost its source: the cable, the camera or the camera's battery."),
    "hdmi_restored": Kind(INFO, "The HDMI input has a source again.", clears="hdmi_lost"),
    "hdmi_unlocked": Kind(WARNING, "The kernel reports that the HDMI input cannot decode the signal."),
    "hdmi_format": Kind(INFO, "The HDMI source changed its format."),
    "hdmi_sound_underflow": Kind(WARNING, "The kernel reports that the HDMI input ran out of audio data."),
    "pipeline_stalled": Kind(CRITICAL, "belacoder exited because its pipeline stalled; belaUI starts it again."),
    "capture_failed": Kind(
        ERROR, "An element of belacoder's pipeline failed or ended: there is no picture or no sound."
    ),
    "bitrate_fixed": Kind(WARNING, "belacoder cannot follow the network with this pipeline."),
    "encoder_complained": Kind(WARNING, "Rockchip's encoder library logged an error."),
    "encoder_failed": Kind(ERROR, "The kernel reports that the video unit timed out, failed or was reset."),
    "encoder_stalled": Kind(CRITICAL, "The encoder has an open session but produces no frames."),
    "encoder_recovered": Kind(INFO, "The encoder produces frames again, or was closed.", clears="encoder_stalled"),
    "audio_stalled": Kind(ERROR, "A sound card is being captured but delivers no data."),
    "audio_recovered": Kind(INFO, "A sound card delivers data again, or was closed.", clears="audio_stalled"),
    # the board
    "usb_disconnected": Kind(WARNING, "A USB device disappeared: it was unplugged, lost power or restarted."),
    "usb_failed": Kind(ERROR, "A USB device does not answer: a bad cable, too little power, or interference."),
    "usb_reset": Kind(WARNING, "The kernel reset a USB device: it did not answer, or its driver asked for it."),
    "usb_overcurrent": Kind(
        ERROR, "A USB port draws too much current: the port is switched off, with the devices plugged in there."
    ),
    "usb_host_died": Kind(
        CRITICAL, "A USB host controller stopped: its modems and capture devices are gone until a restart."
    ),
    "undervoltage": Kind(CRITICAL, "The board's supply voltage is too low: clocks are reduced, USB devices fail."),
    "storage_failed": Kind(CRITICAL, "A card or drive cannot be read or written."),
    "out_of_memory": Kind(CRITICAL, "The kernel ended a process because no memory was left."),
    "overheated": Kind(CRITICAL, "The kernel shuts the board down because of its temperature."),
    "kernel_fault": Kind(CRITICAL, "The kernel itself has failed or is stuck."),
    "gps_lost": Kind(INFO, "gpsd lost the position."),
    "gps_found": Kind(INFO, "gpsd has a position again.", clears="gps_lost"),
    "unit_failed": Kind(ERROR, "systemd reports that a streaming unit has failed."),
    # the pipeline
    "process_died": Kind(WARNING, "A process died: a bug, a signal or out of memory. supervisord restarts it."),
    "process_hung": Kind(
        ERROR,
        "A process sent no heartbeats and used no processor time: it hung. It was killed, supervisord restarts it.",
    ),
    "process_fatal": Kind(ERROR, "supervisord gave up restarting a process; healthd tries again at growing intervals."),
    "process_back": Kind(INFO, "A process runs again.", clears="process_died"),
    "storage_paused": Kind(CRITICAL, "The database takes no writes: a full disk, or a lost permission or device."),
    "storage_resumed": Kind(INFO, "The database takes writes again.", clears="storage_paused"),
    "database_held": Kind(
        WARNING, "Another process keeps a read transaction open: the write-ahead log grows and cannot be emptied."
    ),
    "database_free": Kind(INFO, "The write-ahead log can be emptied again.", clears="database_held"),
    "database_file_lost": Kind(
        ERROR, "The database file was deleted or replaced while in use; its content was copied back to its path."
    ),
    "database_replaced": Kind(ERROR, "A damaged database was renamed, and a new one created."),
    "database_salvaged": Kind(
        INFO, "The readable rows of a damaged database were copied into the new one.", clears="database_replaced"
    ),
    "samples_damaged": Kind(ERROR, "Samples in damaged databases could not be read and are lost; the text says which."),
    "samples_given_up": Kind(ERROR, "The size limit was reached: the least important samples were deleted."),
    "clock_stepped": Kind(WARNING, "The wall clock jumped; timestamps of samples not uploaded yet were corrected."),
    # the delivery
    "mode_changed": Kind(INFO, "The upload mode changed; the text has the reason."),
    "server_away": Kind(WARNING, "No upload has succeeded for a minute; the text has the reason."),
    "server_back": Kind(INFO, "Uploads succeed again.", clears="server_away"),
    "budget_reached": Kind(WARNING, "So much of the data quota (`remote.budget`) is used that some priorities wait."),
    "budget_renewed": Kind(INFO, "All priorities are uploaded again.", clears="budget_reached"),
    "samples_refused": Kind(ERROR, "The server refused samples for good; they stay on the device."),
    "samples_too_old": Kind(WARNING, "Samples older than the server keeps any were not sent; they stay on the device."),
    "samples_missing": Kind(
        ERROR, "The server does not have samples that it had accepted; the text says what was done about it."
    ),
    "events_missing": Kind(
        WARNING, "The log server does not have events that it had accepted; the text says what was done about it."
    ),
    "samples_withheld": Kind(
        WARNING,
        "The server accepts samples but one of its settings drops them; the text names the series and the setting.",
    ),
    "server_lost_data": Kind(
        ERROR,
        "The server lost data that it had stored: it was restored from a backup, or is empty. The data is sent again.",
    ),
    "server_caught_up": Kind(
        INFO, "The server has all data again that the device could still send.", clears="server_lost_data"
    ),
    "device_duplicated": Kind(ERROR, "Another device sends under this one's `device.id`: their samples are mixed."),
    "device_alone": Kind(INFO, "No other device sends under this one's `device.id`.", clears="device_duplicated"),
    "clock_skewed": Kind(WARNING, "The device's clock and the server's differ by more than the configured limit."),
    "clock_agrees": Kind(INFO, "The clocks agree again.", clears="clock_skewed"),
    # the collectors
    "collector_failed": Kind(WARNING, "A source could read none of its inputs."),
    "collector_recovered": Kind(INFO, "A source can read its inputs again.", clears="collector_failed"),
}
