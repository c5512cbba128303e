"""What each reason of a verdict means and what can be done about it, in the words of who reads it.

The page, the terminal and /health show these; docs/health.md has them as a table, generated. A reason that is not
here does not exist: `of` raises for it, and a test walks all that are given.
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
        "Nothing that is sent arrives: viewers see the last picture, or none.",
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
        "live, and the HDMI input cannot make sense of the signal",
        "Viewers see no new picture.",
        "Set the camera to a format that the input takes, 1080p at 60 Hz at most; try another cable.",
    ),
    "no_frames": Advice(
        "live, and the encoder gives no frames",
        "Viewers see a frozen picture.",
        "Stop and start the stream; if that does not help, restart the device.",
    ),
    "no_sound": Advice(
        "live, and a sound card that is captured from gives nothing",
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
        "What viewers see is not what it should be.",
        "The other reasons say which part it is.",
    ),
    "packet_loss": Advice(
        "see the alert in docs/derived.md",
        "Packets are lost and have to be sent again; beyond what the latency allows the picture breaks.",
        "Find the link that loses, and unplug it if the others can carry the stream.",
    ),
    "high_round_trip": Advice(
        "see the alert in docs/derived.md",
        "A modem queues what it is given; the encoder lowers its bitrate.",
        "Find the slow link. Move, or unplug it; or lower the bitrate.",
    ),
    "frames_dropped": Advice(
        "see the alert in docs/derived.md",
        "The encoder leaves out frames: the picture stutters.",
        "Let the device cool, or choose a lower resolution or frame rate.",
    ),
    "buffer_full": Advice(
        "see the alert in docs/derived.md",
        "The receiver waits for packets that are missing, longer than it can hold the others.",
        "Find the link that loses; raise the SRT latency in belaUI.",
    ),
    "low_bitrate": Advice(
        "see the alert in docs/derived.md",
        "The network carries less than what is asked for: the picture is coarse.",
        "Move to better signal, or add a link. The event bitrate_cut names the rule that lowered it.",
    ),
    "overheating": Advice(
        "see the alert in docs/derived.md",
        "The board slows down, drops frames, and switches itself off when it gets hotter.",
        "Give it air and shade; check its fan.",
    ),
    "processor_busy": Advice(
        "see the alert in docs/derived.md",
        "Little is left for the encoder and the network.",
        "End what else runs on the device; `top` names it.",
    ),
    "low_memory": Advice(
        "see the alert in docs/derived.md",
        "The kernel ends a process when there is none left; it may be the encoder.",
        "End what else runs on the device.",
    ),
    "battery": Advice("the battery is below 20 %", "The device runs out of power.", "Change or charge the battery."),
}

# Instead, where one link is far above all others: the metric that tells, and what to do about that link.
OF_ONE_LINK = {
    "high_round_trip": ("srtla.link_rtt_ms", "{name} is slow: {value:.0f} ms. Move, or unplug it."),
    "packet_loss": ("srtla.link_loss_percent", "{name} loses {value:.1f} % of its packets. Move, or unplug it."),
}

RECORDER = {
    "gone": Advice(
        "a process is stopped, has ended, was given up, or sends no heartbeats",
        "What it does is not done. Samples wait on the device; without the buffer collectors hold some minutes.",
        "`supervisorctl status` and its log say why; `supervisorctl start NAME` starts what was stopped.",
    ),
    "failing": Advice(
        "a source reads nothing, or a process reports an error",
        "Its numbers are missing; all others are recorded.",
        "Its log has the reason. What the device does not have can be switched off: `collectors.NAME.enabled`.",
    ),
    "all_failing": Advice(
        "every source fails", "Nothing is recorded.", "Look at the logs; `supervisorctl restart collectors:*`."
    ),
    "late": Advice(
        "no upload for 2 (degraded) or 20 (error) upload intervals although something was due",
        "Samples are kept on the device and go when the server answers.",
        "In a dead zone nothing. Else check the server and the links.",
    ),
    "withheld": Advice(
        "the server accepts the samples of this device and has none of them, sent again or not",
        "Everything is on the device and nothing of it can be found at the server.",
        "Let the token write under this device's `device.id` (vmauth: extra_label); then this goes by itself.",
    ),
    "server_lost": Advice(
        "the server was started from a backup, or empty, and has less than was found there",
        "What the device still has in full is sent again behind fresh data; the rest is said.",
        "Check why the server lost it. Older data is in the folder `archive` beside the database.",
    ),
    "pending": Advice(
        "more than 5,000 (degraded) or 20,000 (error) samples are overdue",
        "The uplink carries less than is recorded, or has been away for long.",
        "Wait for a better uplink; raise remote.budget or the intervals.",
    ),
    "refused": Advice(
        "the server says 401, 403 or 404, or what answers is not the server",
        "Nothing is delivered until somebody changes something; it is all kept on the device.",
        "401, 403: mend the token in remote.auth.token_file. 404: mend remote.url. A portal: log in to its network.",
    ),
    "skew": Advice(
        "this clock and the server's differ by more than monitoring.clock_skew_warn_threshold_ms",
        "Times at the server are wrong by as much.",
        "Check NTP here (`timedatectl`) and on the server.",
    ),
    "unspooled": Advice(
        "the run directory is full, or its folder `spool` is gone",
        "Everything is recorded; a process that is killed loses what the buffer has not stored yet.",
        "Make room in the run directory, or restart the collectors.",
    ),
    "held": Advice(
        "another process has kept a read transaction open for half a minute",
        "Everything is recorded; the write-ahead log beside the database grows until that process ends.",
        "End it, or its transaction: mostly a `sqlite3` prompt that was left open.",
    ),
    "paused": Advice(
        "the database takes no writes",
        "Nothing but critical samples is stored; collectors hold some minutes of theirs.",
        "Free space on the file system of storage.path, or make it writable.",
    ),
    "silent": Advice(
        "supervisord does not answer",
        "What dies is not started again.",
        "`systemctl restart belabox-metrics`, or stop and start `make run`.",
    ),
    "hung": Advice(
        "healthd's own loop hangs",
        "What is shown is as old as it says.",
        "`supervisorctl restart healthd`; look at the disk that its log is on.",
    ),
    "disk": Advice(
        "a file system is 90 % full",
        "When it is full, recording pauses.",
        "Delete what is not needed, or lower storage.max_size.",
    ),
    "budget": Advice(
        "80 % (degraded) or all (error) of a data budget is used",
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
