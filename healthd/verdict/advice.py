"""The table of all reasons of a verdict: what each means, and what to do about it, in the reader's words.

The page, the terminal and /health show these; docs/health.md has them as a table, generated. Every reason needs an
entry here: `of` raises KeyError without one, and a test checks every reason in the code.
"""

from __future__ import annotations

from typing import NamedTuple


class Advice(NamedTuple):
    """One rule.

    Attributes:
        when: in which case it is given, for the documents.
        meaning: what it means for the stream or the recording.
        todo: what to do.
    """

    when: str
    meaning: str
    todo: str


STREAM = {
    "not_connected": Advice(
        "live, and nothing is acknowledged for 3 s",
        "No packet arrives at the receiver: viewers see the last picture, or none.",
        "Look at the links. If one carries data, the receiver or its address is at fault.",
    ),
    "not_answered": Advice(
        "starting for 15 s",
        "belacoder runs and the receiver has not answered yet.",
        "Check the receiver's address, port and stream id, and that one link is up.",
    ),
    "ending": Advice(
        "belacoder is gone and srtla_send still runs",
        "Nothing is encoded; belaUI starts belacoder again within seconds.",
        "Wait 15 s. If it does not come back, stop and start the stream.",
    ),
    "crashed": Advice(
        "the stream ended because belacoder was not started again",
        "The stream is over, and nobody stopped it.",
        "Start it again. The events before the end say why belacoder ended.",
    ),
    "cut_off": Advice(
        "the stream ended while the receiver did not answer",
        "The connection was lost for too long, and belacoder was not started again.",
        "Start it again where there is signal.",
    ),
    "no_picture": Advice(
        "live, and no HDMI input has a source",
        "Viewers see no new picture.",
        "Check cable, camera, and the camera's battery.",
    ),
    "not_locked": Advice(
        "live, and the HDMI input cannot decode the signal",
        "Viewers see no new picture.",
        "Set the camera to a format that the input takes, 1080p at 60 Hz at most; try another cable.",
    ),
    "no_frames": Advice(
        "live, and the encoder produces no frames",
        "Viewers see a frozen picture.",
        "Stop and start the stream; if that does not help, restart the device.",
    ),
    "no_sound": Advice(
        "live, and a sound card that is being captured delivers no data",
        "Viewers hear nothing.",
        "Check the audio source in belaUI and the camera's sound output.",
    ),
    "link_down": Advice(
        "live, and a bonded link does not answer",
        "The other links carry the stream.",
        "Move, or plug that modem in again.",
    ),
    "no_link": Advice(
        "live, and no bonded link answers",
        "Nothing can be sent.",
        "Move to where there is signal, or plug the modems in again.",
    ),
    "health": Advice(
        "the health score is below 70, or 40",
        "Viewers see a worse picture than configured, or none.",
        "The other reasons say which part it is.",
    ),
    "packet_loss": Advice(
        "see the alert in docs/derived.md",
        "Packets are lost and sent again; if that takes longer than the SRT latency, the picture breaks.",
        "Find the link that loses, and unplug it if the others can carry the stream.",
    ),
    "high_round_trip": Advice(
        "see the alert in docs/derived.md",
        "Packets wait in a modem's queue; the encoder lowers its bitrate.",
        "Find the slow link. Move, or unplug it; or lower the bitrate.",
    ),
    "frames_dropped": Advice(
        "see the alert in docs/derived.md",
        "The encoder drops frames: the picture stutters.",
        "Let the device cool down, or choose a lower resolution or frame rate.",
    ),
    "buffer_full": Advice(
        "see the alert in docs/derived.md",
        "The receiver's buffer is nearly full, because it waits for missing packets.",
        "Find the link that loses; raise the SRT latency in belaUI.",
    ),
    "low_bitrate": Advice(
        "see the alert in docs/derived.md",
        "The network carries less than the configured bitrate: the picture is coarse.",
        "Move to better signal, or add a link. Its event says why it was lowered.",
    ),
    "overheating": Advice(
        "see the alert in docs/derived.md",
        "The board slows down and drops frames; if it gets hotter, it switches itself off.",
        "Give it more air and shade; check its fan.",
    ),
    "processor_busy": Advice(
        "see the alert in docs/derived.md",
        "Little is left for the encoder and the network.",
        "Stop other programs on the device; `top` lists them.",
    ),
    "low_memory": Advice(
        "see the alert in docs/derived.md",
        "When no memory is left, the kernel kills a process; it may be the encoder.",
        "Stop other programs on the device.",
    ),
    "battery": Advice("the battery is below 20 %", "The device runs out of power.", "Change or charge the battery."),
}

# Instead, where one link is far above all others: the metric that tells, and what to do about that link.
OF_ONE_LINK = {
    "high_round_trip": ("srtla.link_rtt_ms", "{name} is slow: {value:.0f} ms. Move, or unplug it."),
    "packet_loss": ("srtla.link_loss_percent", "{name} loses {value:.1f} % of its packets. Move, or unplug it."),
}

RECORDER = {
    "configuration": Advice(
        "a key of the configuration is wrong, or the page's token file",
        "Processes that need what is wrong have not started. This page shows what is wrong, on this device alone.",
        "`belabox-metrics check FILE` names each wrong key. Fix them, then restart belabox-metrics.",
    ),
    "crashes": Advice(
        "a process has ended by a bug twice or more in ten minutes",
        "It was started again each time; what it does stops for a moment, and no sample is lost.",
        "Its log has the traceback: `belabox-metrics logs <process>`. Report it, with `belabox-metrics doctor`.",
    ),
    "gone": Advice(
        "a process is stopped, has ended, was given up, or sends no heartbeats",
        "Its work is not done. Samples wait on the device; without the buffer, collectors keep those of a few minutes.",
        "`supervisorctl status` and its log say why; `supervisorctl start NAME` starts a stopped process.",
    ),
    "failing": Advice(
        "a source cannot read its inputs",
        "Its metrics are missing; all others are recorded.",
        "Its log has the reason. If the device lacks this hardware, switch it off: `collectors.NAME.enabled`.",
    ),
    "hampered": Advice(
        "the buffer or healthd reports an error",
        "It works on as far as it can, and tries again by itself.",
        "Its log has the reason: `belabox-metrics logs <process>`.",
    ),
    "all_failing": Advice(
        "every source fails", "Nothing is recorded.", "Look at the logs; `supervisorctl restart collectors:*`."
    ),
    "late": Advice(
        "no upload for 2 upload intervals although something was due (degraded); for 20, and many samples due (error)",
        "Samples are kept on the device and uploaded when the server answers.",
        "In a dead zone: nothing. Otherwise check the server and the links; tls: the server's certificate, "
        "remote.ca_file, and this clock.",
    ),
    "withheld": Advice(
        "the server accepts the samples of this device but has none of them, also after they were sent again",
        "All samples are on the device, but none can be found at the server.",
        "Let the token write under this device's `device.id` (vmauth: extra_label); the rest happens by itself.",
    ),
    "duplicate": Advice(
        "another device sends under this device's id, for example after a card was copied",
        "At the server the samples of both are one: every graph jumps between them.",
        "Give each device its own `device.id` and token.",
    ),
    "server_lost": Advice(
        "the server was restored from a backup, or is empty, and lacks samples that it had before",
        "Samples that the device still has in full are sent again after fresh ones; the text counts the others.",
        "Check why the server lost it. Older data is in the folder `archive` beside the database.",
    ),
    "pending": Advice(
        "more samples are overdue than `health.degraded_threshold` or `health.error_threshold` allows",
        "The uplink carries less data than is recorded, or was down for a long time.",
        "Wait for a better uplink; raise remote.budget or the intervals.",
    ),
    "refused": Advice(
        "the server answers 400, 401, 403, 404 or 413 to everything, or something else answers in its place",
        "Nothing is delivered until this is fixed; all samples are kept on the device.",
        "401, 403: fix the token in remote.auth.token_file. 400, 404: fix remote.url. 413: allow larger "
        "bodies in the proxy before the server. Portal: log in to its network.",
    ),
    "skew": Advice(
        "the device's clock and the server's differ by more than monitoring.clock_skew_warn_threshold_ms",
        "Timestamps at the server are wrong by as much.",
        "Check NTP here (`timedatectl`) and on the server.",
    ),
    "unspooled": Advice(
        "the run directory is full, or its folder `spool` is gone",
        "Everything is recorded; if a process is killed, samples that are not stored yet are lost, and counted.",
        "Free space in the run directory; a folder that was deleted is made again by itself.",
    ),
    "held": Advice(
        "another process has kept a read transaction open for half a minute",
        "Everything is recorded; the write-ahead log beside the database grows until that process ends.",
        "End that process, or its transaction: usually a `sqlite3` prompt that was left open.",
    ),
    "paused": Advice(
        "the database cannot be written",
        "Collectors keep their samples for a few minutes; where the disk is only full, critical ones are stored still.",
        "Free space on the file system of storage.path, or make it writable.",
    ),
    "silent": Advice(
        "supervisord does not answer",
        "A process that dies is not restarted.",
        "`systemctl restart belabox-metrics`, or stop and start `make run`.",
    ),
    "hung": Advice(
        "healthd's own loop hangs",
        "The values shown are from before it hung.",
        "`supervisorctl restart healthd`; look at the disk that its log is on.",
    ),
    "disk": Advice(
        "a file system is 90 % full",
        "When it is full, recording pauses.",
        "Delete what is not needed, or lower storage.max_size.",
    ),
    "budget": Advice(
        "80 % (degraded) or all (error) of a data quota (`remote.budget`) is used",
        "The less important samples wait for the next period.",
        "Raise remote.budget, or wait.",
    ),
}


def of(rule: str) -> Advice:
    """Return the advice of a rule.

    Raises:
        KeyError: there is no such rule.
    """
    return STREAM[rule] if rule in STREAM else RECORDER[rule]
