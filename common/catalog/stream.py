"""Metrics of the stream: connection, links, encoder, audio, HDMI input."""

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

SRT = (
    row("srt.connected", GAUGE, "", "", "1 while the receiver acknowledges.", HIGH),
    row("srt.rtt_ms", GAUGE, "milliseconds", "", "Round trip, as the receiver measures it.", HIGH),
    row("srt.jitter_ms", GAUGE, "milliseconds", "", "Variance of the round trip; only from packet headers.", HIGH),
    row("srt.latency_ms", GAUGE, "milliseconds", "", "Latency in force, or else the one asked for.", HIGH),
    row("srt.latency_negotiated", GAUGE, "", "", "1: srt.latency_ms is in force; 0: it is asked for.", HIGH),
    row("srt.uptime_seconds", GAUGE, "seconds", "", "Age of the encoder's process: of this connection.", HIGH),
    row("srt.reconnects_total", COUNTER, "", "", "Times the encoder was started again within 15 s.", HIGH),
    row("srt.bitrate_cuts_total", COUNTER, "", "", "Times the bitrate was lowered: events bitrate_cut.", HIGH),
    row("srt.packets_sent_total", COUNTER, "", "", "Data packets sent, repetitions included.", HIGH),
    row("srt.packets_received_total", COUNTER, "", "", "Data packets the receiver has acknowledged.", HIGH),
    row(
        "srt.packets_lost_total",
        COUNTER,
        "",
        "",
        "Losses reported by the receiver, as SRT counts them.",
        HIGH,
    ),
    row("srt.packets_retransmitted_total", COUNTER, "", "", "Data packets sent again.", HIGH),
    row("srt.packets_dropped_total", COUNTER, "", "", "Data packets given up as too late.", HIGH),
    row(
        "srt.packet_loss_percent",
        GAUGE,
        "percent",
        "",
        "Share that no link delivered, of what was sent in 3 s; without bonded links: that was reported lost.",
        HIGH,
    ),
    row(
        "srt.reported_loss_percent",
        GAUGE,
        "percent",
        "",
        "Share that the receiver reported lost, late ones included, per collect.",
        HIGH,
    ),
    row("srt.retransmit_percent", GAUGE, "percent", "", "Sent again, of what was sent.", HIGH),
    row("srt.bitrate_bits_per_second", GAUGE, "bits/s", "", "What the encoder really sends.", HIGH),
    row(
        "srt.send_buffer_bytes",
        GAUGE,
        "bytes",
        "",
        "Sent and not acknowledged, to 16 packets; only from packet headers.",
        HIGH,
    ),
    row(
        "srt.receive_buffer_bytes",
        GAUGE,
        "bytes",
        "",
        "Waiting in the receiver's buffer; only from packet headers.",
        HIGH,
    ),
    row(
        "srt.buffer_utilization_percent",
        GAUGE,
        "percent",
        "",
        "Share of the receiver's buffer in use; only from packet headers.",
        HIGH,
    ),
    row("srt.link_capacity_bits_per_second", GAUGE, "bits/s", "", "The receiver's estimate of an unbonded path.", HIGH),
    row("srt.tap_missed_packets_total", COUNTER, "", "", "Packets that the tap itself missed.", HIGH),
)

SRTLA = (
    row("srtla.link_up", GAUGE, "", "interface ip", "1 while the receiver answers over the link.", HIGH),
    row(
        "srtla.link_info",
        INFO,
        "",
        "interface ip state reason",
        "state: up, down, unknown, removed, gone; reason: why the sender holds it back; 1.",
        HIGH,
    ),
    row(
        "srtla.link_rtt_ms",
        GAUGE,
        "milliseconds",
        "interface ip",
        "Round trip: median of 2 s, or else the last one of 10 s.",
        HIGH,
    ),
    row(
        "srtla.link_loss_percent",
        GAUGE,
        "percent",
        "interface ip",
        "Share that did not arrive, of what was sent in 3 s; only from packet headers.",
        HIGH,
    ),
    row("srtla.link_packets_sent_total", COUNTER, "", "interface ip", "Data packets sent over the link.", HIGH),
    row(
        "srtla.link_packets_acked_total",
        COUNTER,
        "",
        "interface ip",
        "Data packets that arrived, in tens; only from packet headers.",
        HIGH,
    ),
    row(
        "srtla.link_bytes_total",
        COUNTER,
        "bytes",
        "interface ip direction",
        "The stream's bytes with all headers: data sent, acknowledgements received; only from packet headers.",
        HIGH,
    ),
    row("srtla.link_naks_total", COUNTER, "", "interface ip", "Losses, by the sender's own count.", HIGH),
    row("srtla.link_window_packets", GAUGE, "", "interface ip", "What the sender lets be under way.", HIGH),
    row("srtla.link_in_flight_packets", GAUGE, "", "interface ip", "Under way, by the sender's own count.", HIGH),
    row("srtla.link_weight_percent", GAUGE, "percent", "interface ip", "Share the sender gives the link.", HIGH),
    row("srtla.link_target_bits_per_second", GAUGE, "bits/s", "interface ip", "What the sender thinks it bears.", HIGH),
    row("srtla.link_reported_loss_percent", GAUGE, "percent", "interface ip", "Loss, as the sender sees it.", HIGH),
    row(
        "srtla.link_stall_gate_events_total",
        COUNTER,
        "",
        "interface ip",
        "Times the sender held the link back because nothing came through.",
        HIGH,
    ),
    row("srtla.link_bits_per_second", GAUGE, "bits/s", "interface ip", "What arrived over the link.", HIGH),
    row("srtla.link_queue_bytes", GAUGE, "bytes", "interface ip", "Waiting in the kernel: the modem backs up.", HIGH),
    row("srtla.link_drops_total", COUNTER, "", "interface ip", "Datagrams the sender did not read in time.", HIGH),
    row("srtla.active_links", GAUGE, "", "", "Links that are up.", HIGH),
    row(
        "srtla.bond_efficiency_percent",
        GAUGE,
        "percent",
        "",
        "Arrived of what was sent over all links; only from packet headers.",
        HIGH,
    ),
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

MODEM = (
    row("modem.active_modems", GAUGE, "", "", "Modems that have a connection.", HIGH),
    row("modem.connected", GAUGE, "", "modem", "1 while it has a connection.", HIGH),
    row("modem.roaming", GAUGE, "", "modem", "1 while it is in a network that is not its own.", HIGH),
    row("modem.signal_percent", GAUGE, "percent", "modem", "Signal, as ModemManager sums it up.", HIGH),
    row("modem.rssi_dbm", GAUGE, "dBm", "modem", "Strength of all that is received.", HIGH),
    row("modem.rsrp_dbm", GAUGE, "dBm", "modem", "Strength of the cell's reference signal.", HIGH),
    row("modem.rsrq_db", GAUGE, "dB", "modem", "Quality of the reference signal.", HIGH),
    row("modem.snr_db", GAUGE, "dB", "modem", "Signal against noise.", HIGH),
    row("modem.rx_bytes_total", COUNTER, "bytes", "modem", "Received since the connection began.", HIGH),
    row("modem.tx_bytes_total", COUNTER, "bytes", "modem", "Sent since the connection began.", HIGH),
    row("modem.connection_seconds", GAUGE, "seconds", "modem", "Age of the connection.", HIGH),
    row("modem.data_used_bytes", GAUGE, "bytes", "modem", "Used of the plan, by a router's own count.", HIGH),
    row("modem.battery_percent", GAUGE, "percent", "modem", "Charge of a router's battery.", HIGH),
    row("modem.reconnects_total", COUNTER, "", "modem", "Times it was connected again.", HIGH),
    row("modem.info", INFO, "", "modem interface model carrier technology band", "What it is and where; 1.", HIGH),
)

EVENTS = (
    row("events.lines_total", COUNTER, "", "log", "Lines read, whether they say anything or not."),
    row("events.lines_missed_total", COUNTER, "", "", "Lines of the kernel overwritten before they were read."),
    row("events.bitrate_changes_total", COUNTER, "", "", "Bitrate changes that the encoder library logged."),
)

RECEIVER = (
    row("receiver.connected", GAUGE, "", "", "1 while the receiver has our stream.", HIGH),
    row("receiver.bitrate_bits_per_second", GAUGE, "bits/s", "", "What arrives.", HIGH),
    row("receiver.rtt_ms", GAUGE, "milliseconds", "", "Round trip, as the receiver sees it.", HIGH),
    row("receiver.latency_ms", GAUGE, "milliseconds", "", "Latency in force there.", HIGH),
    row("receiver.buffer_ms", GAUGE, "milliseconds", "", "What its buffer holds.", HIGH),
    row("receiver.link_capacity_bits_per_second", GAUGE, "bits/s", "", "Its estimate of the path.", HIGH),
    row("receiver.uptime_seconds", GAUGE, "seconds", "", "Age of the stream there.", HIGH),
    row("receiver.packets_lost_total", COUNTER, "", "", "Gaps it saw, before repair.", HIGH),
    row("receiver.packets_dropped_total", COUNTER, "", "", "Packets that came too late or never: missing video.", HIGH),
    row("receiver.packets_retransmitted_total", COUNTER, "", "", "Packets that came again.", HIGH),
    row("receiver.packets_late_total", COUNTER, "", "", "Packets that came after they were given up.", HIGH),
    row("receiver.naks_sent_total", COUNTER, "", "", "Loss reports it has sent.", HIGH),
    row("receiver.reorder_hold_ms", GAUGE, "milliseconds", "", "How long it waits before a gap is a loss.", HIGH),
    row("receiver.discontinuities_total", COUNTER, "", "", "Breaks of the picture that every viewer sees.", HIGH),
    row("receiver.viewer_packets_dropped_total", COUNTER, "", "", "Packets too late for some viewer.", HIGH),
    row("receiver.viewer_backlog_ms", GAUGE, "milliseconds", "", "How far the slowest viewer has fallen behind.", HIGH),
    row("receiver.link_bitrate_bits_per_second", GAUGE, "bits/s", "link", "What arrives over a bonded link.", HIGH),
    row("receiver.link_jitter_ms", GAUGE, "milliseconds", "link", "Jitter of a bonded link, as it arrives.", HIGH),
    row("receiver.link_uptime_seconds", GAUGE, "seconds", "link", "Age of a bonded link there.", HIGH),
)

STREAM = (*SRT, *SRTLA, *ENCODER, *AUDIO, *HDMI, *MODEM, *EVENTS, *RECEIVER)
