"""What to do about an event: a sentence for each kind that is more than information. docs/events.md shows it."""

from __future__ import annotations

_LINK = "The other links carry the stream. Move, or plug the modem in again."
_CABLE = "Check the cable, the hub and its power; use another port."
_BELAUI = "belaUI starts it again; if it keeps ending, stop the stream and start it again."

ADVICE: dict[str, str] = {
    "stream_restarted": "Look at the events before it: they say why the encoder ended.",
    "stream_interrupted": "Wait 15 s: belaUI starts it again. If it does not come back, start the stream again.",
    "stream_failed": "Start the stream again. The events before it say why the encoder ended.",
    "bitrate_cut": "Find the slow or lossy link; move to better signal.",
    "alert_raised": "The page says what it means and what to do; docs/health.md has all of them.",
    "srt_lost": "Look at the links. If one carries data, the receiver or its address is at fault.",
    "receiver_silent": "The stream is not affected. Check collectors.receiver.url and the receiver.",
    "srtla_link_down": _LINK,
    "srtla_link_readdressed": "Nothing; if it happens often, the carrier changes addresses: use another link.",
    "srt_source_silent": "Metrics that only it provides are missing. If the links are down too, restart the stream.",
    "srt_refused": "Check the receiver's address, port and stream id in belaUI.",
    "srt_broken": "Look at the links and the receiver; belaUI starts it again.",
    "bond_failed": "Move to where there is signal, or plug the modems in again.",
    "bond_link_failed": _LINK,
    "link_down": _LINK,
    "link_stuck": "Unplug the modem and plug it in again.",
    "modem_unplugged": _CABLE,
    "modem_lost": "Check signal, SIM and its data plan.",
    "hdmi_lost": "Check cable, camera, and the camera's battery.",
    "hdmi_unlocked": "Set the camera to a format that the input takes; try another cable.",
    "hdmi_sound_underflow": "Nothing; if it is heard, check the camera's sound output and the cable.",
    "pipeline_stalled": _BELAUI,
    "capture_failed": _BELAUI,
    "bitrate_fixed": "Choose a pipeline that belacoder can control.",
    "encoder_complained": "Nothing; if frames are dropped, restart the stream.",
    "encoder_failed": "Restart the device if the stream does not recover.",
    "encoder_stalled": "Stop and start the stream; if that does not help, restart the device.",
    "audio_stalled": "Check the audio source in belaUI and the camera's sound output.",
    "usb_disconnected": _CABLE,
    "usb_failed": _CABLE,
    "usb_reset": _CABLE,
    "usb_overcurrent": "Use a hub with its own power.",
    "usb_host_died": "Restart the device.",
    "undervoltage": "Use a stronger supply or a shorter cable.",
    "storage_failed": "Copy the data off it and replace it.",
    "out_of_memory": "Stop other programs on the device; the event names the process that was killed.",
    "overheated": "Give the board more air and shade; check its fan.",
    "kernel_fault": "Restart the device; if it comes back, update its image.",
    "unit_failed": "`systemctl status` of the unit says why.",
    "process_died": "Nothing; its log says why. If it keeps dying, report it.",
    "process_hung": "Nothing; its log says where it hung.",
    "process_fatal": "Its log says why; when that is fixed, `supervisorctl start` it.",
    "storage_paused": "Free space on the file system of storage.path, or make it writable.",
    "database_held": "End that process, or its transaction (a `sqlite3` prompt that was left open).",
    "database_file_lost": "Find out what deletes or replaces the file; its folder is this program's alone.",
    "database_replaced": "Check the card or drive; the old file is beside the new one.",
    "samples_damaged": "Check the storage: `dmesg`, and the card or disk itself.",
    "samples_given_up": "Raise storage.max_size, or fix the uplink.",
    "clock_stepped": "Nothing; samples that were not uploaded yet got their right times.",
    "server_away": "In a dead zone: nothing. Otherwise check the server, the token and the links.",
    "budget_reached": "Raise remote.budget, or wait for the next period.",
    "samples_too_old": "Let the server keep more (-retentionPeriod), if they are needed; then release them.",
    "samples_refused": "The log names them; check the server's limits.",
    "samples_missing": "Nothing if they were sent again; otherwise check the server's disk and retention.",
    "events_missing": "Nothing if they were sent again; otherwise check the log server's disk and retention.",
    "samples_withheld": "Change the setting that is named, at the server or its proxy.",
    "server_lost_data": "Find out why the server lost it; recent data is sent again, older data is in `archive/`.",
    "device_duplicated": "Give each device its own device.id (a copied card has the same), and its own token.",
    "clock_skewed": "Check NTP here (`timedatectl`) and on the server.",
    "collector_failed": "Its log has the reason. If the device lacks this hardware, switch the source off.",
}


def todo(kind: str) -> str:
    """Return what to do about an event of a kind, "" where there is nothing to do."""
    return ADVICE.get(kind, "")
