"""What the stream gives: encoder, sound, picture."""

from __future__ import annotations

from common.catalog.row import COUNTER, GAUGE, INFO, row
from common.sample import HIGH

ENCODER = (
    row("encoder.bitrate_bits_per_second", GAUGE, "bits/s", "", "Bitrate the encoder is set to now.", HIGH),
    row("encoder.bitrate_target_bits_per_second", GAUGE, "bits/s", "", "Bitrate it may not exceed.", HIGH),
    row("encoder.bitrate_stability_percent", GAUGE, "percent", "", "100 is steady, over the last minute.", HIGH),
    row("encoder.bitrate_adjustments_total", COUNTER, "", "", "Times the set bitrate was found changed.", HIGH),
    row("encoder.frame_rate", GAUGE, "frames/s", "", "Frames encoded.", HIGH),
    row("encoder.frame_rate_target", GAUGE, "frames/s", "", "Frames the pipeline asks for.", HIGH),
    row("encoder.keyframe_interval_frames", GAUGE, "frames", "", "From one key frame to the next.", HIGH),
    row("encoder.frames_encoded_total", COUNTER, "", "", "Interrupts of the encoder: one a frame, since boot.", HIGH),
    row(
        "encoder.frames_dropped_total",
        COUNTER,
        "",
        "",
        "Estimate: captured or asked for, whichever is less, and not encoded.",
        HIGH,
    ),
    row("encoder.frame_drop_percent", GAUGE, "percent", "", "The same, over the last 30 s.", HIGH),
    row("encoder.latency_ms", GAUGE, "milliseconds", "", "Work of the encoder's cores for one frame.", HIGH),
    row("encoder.info", INFO, "", "codec resolution profile pipeline", "What is being encoded; 1.", HIGH),
)

AUDIO = (
    row("audio.running", GAUGE, "", "card", "1 while somebody captures from it."),
    row("audio.sample_rate_hertz", GAUGE, "hertz", "card", "Samples that really arrived."),
    row("audio.channels", GAUGE, "", "card", "Channels captured."),
    row("audio.overruns_total", COUNTER, "", "card", "Times the capture was found in overrun."),
    row("audio.bitrate_bits_per_second", GAUGE, "bits/s", "", "Bitrate of the audio encoder, as configured."),
    row("audio.sync_offset_ms", GAUGE, "milliseconds", "", "Delay of sound against picture, as configured."),
    row("audio.info", INFO, "", "codec source", "What belaUI has set; 1."),
)

HDMI = (
    row("hdmi.connected", GAUGE, "", "input", "1 while a source is there; a USB grabber counts as one."),
    row("hdmi.locked", GAUGE, "", "", "1 while the receiver is locked to clock and all channels."),
    row("hdmi.frame_rate", GAUGE, "frames/s", "", "Frames captured."),
    row("hdmi.interruptions_total", COUNTER, "", "", "Times the source was lost."),
    row("hdmi.errors_total", COUNTER, "", "channel", "Errors as the receiver counts them."),
    row("hdmi.info", INFO, "", "resolution color_format", "What the source sends; 1."),
)

STREAM = (*ENCODER, *AUDIO, *HDMI)
