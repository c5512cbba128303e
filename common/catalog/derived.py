"""Metrics calculated on the device from others, events, and sessions."""

from __future__ import annotations

from common.catalog.row import COUNTER, EVENT, GAUGE, INFO, row
from common.sample import CRITICAL, HIGH, LOW

DERIVED = (
    row("stream.state", GAUGE, "", "", "The stream is 0 idle, 1 starting, 2 live, 3 ending, 4 ended.", HIGH),
    row("stream.health_score", GAUGE, "", "", "How well the stream does, 0 to 100.", HIGH),
    row("stream.latency_estimate_ms", GAUGE, "milliseconds", "", "Age of a picture at the receiver's output.", HIGH),
    row("stream.reliability_percent", GAUGE, "percent", "", "Share of the time with connection and frames.", HIGH),
    row("network.stability_index", GAUGE, "", "", "How steady the connection was in a minute, 0 to 100.", HIGH),
    row("encoder.efficiency", GAUGE, "", "", "Share of what is sent that is the encoder's, 0 to 1.", HIGH),
    row("alert.active", GAUGE, "", "alert", "1 while a number is beyond its threshold.", HIGH),
    row("session.info", INFO, "", "session_id", "The stream that runs; 1."),
    row("session.duration_seconds", GAUGE, "seconds", "", "Since it began."),
    row("session.data_bytes", GAUGE, "bytes", "interface ip", "Data of this stream over a link, both ways.", LOW),
    row("session.last_duration_seconds", GAUGE, "seconds", "", "Length of the last stream; once, at its end.", LOW),
    row("session.last_completed", GAUGE, "", "", "1 if the last stream was stopped, 0 if it failed.", LOW),
    row("session.last_restarts", GAUGE, "", "", "Encoders that followed the first one of the last stream.", LOW),
    row("session.last_bitrate_bits_per_second", GAUGE, "bits/s", "", "Mean of the last stream while live.", LOW),
    row("session.last_rtt_ms", GAUGE, "milliseconds", "", "Mean of the last stream while live.", LOW),
    row("session.last_packet_loss_percent", GAUGE, "percent", "", "Mean of the last stream while live.", LOW),
    row("session.last_frame_drop_percent", GAUGE, "percent", "", "Mean of the last stream while live.", LOW),
    row("session.last_health_score", GAUGE, "", "", "Mean of the last stream while live.", LOW),
    row("session.last_data_bytes", GAUGE, "bytes", "interface", "Data of the last stream over a link, both ways.", LOW),
    row("event", EVENT, "", "kind severity source subject", "What happened, in words; a row of `events`.", CRITICAL),
    row("events_total", COUNTER, "", "kind severity source", "Events of a kind, since the database began.", CRITICAL),
    row("session", EVENT, "", "", "A stream that began, goes on or ended, as JSON; a row of `sessions`.", CRITICAL),
)
