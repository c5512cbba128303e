"""The Grafana dashboards as rows of panels: all devices, one device, its stream, its delivery.

A new panel is a new row here; `make docs` writes the JSON.
"""

from __future__ import annotations

from common import thresholds
from common.thresholds import Alerts
from deploy.grafana.panels import Dashboard, Panel, Query

D = '{device_id="$device"}'


def one(metric: str, legend: str = "", labels: str = "") -> Query:
    """Return the query of a gauge of the chosen device."""
    more = f",{labels}" if labels else ""
    return Query(f'{metric}{{device_id="$device"{more}}}', legend or metric)


def rate(metric: str, legend: str, factor: str = "") -> Query:
    """Return the query of a counter's rate."""
    return Query(f'rate({metric}{{device_id="$device"}}[5m]){factor}', legend)


# The first panels of every dashboard of a device: what its page says, and the state of its stream.
VERDICTS = (
    Panel(
        "Verdicts: 0 nothing is wrong, 1 degraded, 2 error",
        (one("verdict_level", "{{verdict}}"),),
        kind="stat",
        steps=(1, 2),
    ),
    Panel("Stream: 1 starting, 2 live, 3 ending, 4 ended", (one("stream_state", "state"),), kind="stat"),
)


def steps(alert: str) -> tuple[float, float]:
    """Return the values at which a number with an alert threshold turns yellow and red."""
    row, alerts = thresholds.BY_ALERT[alert], Alerts()
    return thresholds.amber(row, alerts), thresholds.limit(row, alerts)


FLEET = Dashboard(
    "fleet",
    "all devices",
    (
        Panel("Streams: 0 nothing is wrong, 1 degraded, 2 error", (Query('verdict_level{verdict="stream"}', "{{device_id}}"),), kind="stat", steps=(1, 2)),
        Panel("Recorders: 0 nothing is wrong, 1 degraded, 2 error", (Query('verdict_level{verdict="recorder"}', "{{device_id}}"),), kind="stat", steps=(1, 2)),
        Panel("Devices heard of in the last 5 minutes", (Query("count(count by (device_id) (process_up))"),), kind="stat", width=6),
        Panel("Devices that stream", (Query("sum(srt_connected)"),), kind="stat", width=6),
        Panel("Processes that are down", (Query("count(process_up == 0) or vector(0)"),), kind="stat", width=6, steps=(1, 5)),
        Panel("Samples lost, last day", (Query("sum(increase(storage_lost_samples_total[1d])) or vector(0)"),), kind="stat", width=6, steps=(1, 1)),
        Panel("Health of each stream", (Query("stream_health_score", "{{device_id}}"),), "percent"),
        Panel("Bitrate", (Query("srt_bitrate_bits_per_second", "{{device_id}}"),), "bps"),
        Panel("Packet loss", (Query("srt_packet_loss_percent", "{{device_id}}"),), "percent", steps=steps("packet_loss")),
        Panel("Hottest zone", (Query("cpu_temperature_celsius", "{{device_id}}"),), "celsius", steps=steps("overheating")),
        Panel("Waiting on the device", (Query("storage_metrics_pending_upload", "{{device_id}}"),)),
        Panel("Sent by this agent", (Query("rate(uploader_bytes_sent_total[5m])", "{{device_id}}"),), "Bps"),
        Panel("Events a minute", (Query("sum by (device_id, severity) (increase(events_total[1m]))", "{{device_id}} {{severity}}"),)),
        Panel("Clock against the server", (Query("time_skew_ms", "{{device_id}}"),), "ms"),
    ),
    by_device=False,
)  # fmt: skip

DEVICE = Dashboard(
    "device",
    "one device",
    (
        *VERDICTS,
        Panel("Processor", (one("cpu_usage_percent", "{{core}}", 'core="all"'), one("cpu_iowait_percent", "waiting for disks")), "percent"),
        Panel("Heat", (one("cpu_temperature_celsius", "hottest"), one("thermal_zone_temp_celsius", "{{zone}}")), "celsius", steps=steps("overheating")),
        Panel("Frequency", (one("cpu_frequency_hertz", "{{policy}}"),), "hertz"),
        Panel("Memory", (one("memory_used_bytes", "used"), one("memory_available_bytes", "available")), "bytes"),
        Panel("File systems", (one("filesystem_used_percent", "{{mountpoint}}"),), "percent", steps=(thresholds.DISK_PERCENT.amber,)),
        Panel("Disks", (rate("disk_write_bytes_total", "{{device}} written"), rate("disk_read_bytes_total", "{{device}} read")), "Bps"),
        Panel("Network", (one("network_tx_bits_per_second", "{{interface}} out"), one("network_rx_bits_per_second", "{{interface}} in")), "bps"),
        Panel("Modem signal", (one("modem_signal_percent", "{{modem}}"),), "percent"),
        Panel("Modem RSRP and SNR", (one("modem_rsrp_dbm", "{{modem}} RSRP"), one("modem_snr_db", "{{modem}} SNR"))),
        Panel("Modems", (one("modem_info", "{{modem}} {{model}} {{carrier}}"),), kind="table"),
        Panel("Load", (one("system_load1", "1 min"), one("system_load5", "5 min"), one("system_load15", "15 min"))),
        Panel("Video units", (one("vpu_usage_percent", "{{unit}}"), one("npu_usage_percent", "NPU {{core}}"), one("gpu_usage_percent", "GPU")), "percent"),
    ),
)  # fmt: skip

STREAM = Dashboard(
    "stream",
    "why the stream broke",
    (
        *VERDICTS,
        Panel("Bitrate", (one("encoder_bitrate_target_bits_per_second", "target"), one("encoder_bitrate_bits_per_second", "encoder"), one("srt_bitrate_bits_per_second", "sent")), "bps"),
        Panel("Round trip", (one("srt_rtt_ms", "stream"), one("srtla_link_rtt_ms", "{{interface}} {{ip}}")), "ms", steps=steps("high_round_trip")),
        Panel("Loss and repetition", (one("srt_packet_loss_percent", "lost"), one("srt_retransmit_percent", "sent again")), "percent", steps=steps("packet_loss")),
        Panel("Carried by each link", (one("srtla_link_bits_per_second", "{{interface}} {{ip}}"),), "bps"),
        Panel("Links", (one("srtla_link_up", "{{interface}} {{ip}}"), one("srtla_active_links", "up"))),
        Panel("Waiting in the kernel", (one("srtla_link_queue_bytes", "{{interface}} {{ip}}"),), "bytes"),
        Panel("Frames", (one("encoder_frame_rate", "encoded"), one("hdmi_frame_rate", "captured"), one("encoder_frame_rate_target", "asked for"))),
        Panel("Frames dropped, and what one costs", (one("encoder_frame_drop_percent", "dropped %"), one("encoder_latency_ms", "encoder ms"))),
        Panel("Picture and sound", (one("hdmi_connected", "HDMI {{input}}"), one("audio_running", "sound {{card}}"))),
        Panel("Sample rate of the sound", (one("audio_sample_rate_hertz", "{{card}}"),), "hertz"),
        Panel("Scores", (one("stream_health_score", "health"), one("network_stability_index", "network"), one("stream_reliability_percent", "reliability")), "percent"),
        Panel("Alerts", (one("alert_active", "{{alert}}"),)),
    ),
    marks='changes(events_total{device_id="$device",severity=~"warning|error|critical"}[10s]) > 0',
)  # fmt: skip

DELIVERY = Dashboard(
    "delivery",
    "delivery",
    (
        *VERDICTS,
        Panel("Processes", (one("process_up", "{{program}}"),), width=12),
        Panel("Waiting, by age of the oldest", (one("uploader_lane_age_seconds", "priority {{priority}}"),), "s"),
        Panel("Waiting", (one("storage_metrics_pending_upload", "samples"),)),
        Panel("Uploaded", (rate("uploader_metrics_uploaded_total", "samples/s"),)),
        Panel("Bytes a sample", (Query(f"rate(uploader_bytes_sent_total{D}[10m]) / rate(uploader_metrics_uploaded_total{D}[10m])", "sent"),), "bytes"),
        Panel("Verified until", (Query(f"time() - uploader_verified_until{D}", "age"),), "s"),
        Panel("Found missing, put aside, lost", (rate("storage_requeued_samples_total", "sent again"), rate("storage_quarantined_total", "refused"), Query(f"rate(storage_lost_samples_total{D}[5m]) or 0 * rate(storage_requeued_samples_total{D}[5m])", "lost {{reason}}"))),
        Panel("Data budget", (one("uploader_budget_used_bytes", "used, {{period}}"),), "bytes"),
        Panel("Database", (one("storage_database_size_bytes", "database"), one("storage_wal_size_bytes", "log")), "bytes"),
        Panel("Written to flash", (rate("storage_flash_bytes_written_total", "bytes/s"),), "Bps"),
        Panel("Memory of each process", (one("process_pss_bytes", "{{program}}"),), "bytes"),
        Panel("Processor of each process", (rate("process_cpu_seconds_total", "{{program}}", " * 100"),), "percent"),
    ),
)  # fmt: skip

DASHBOARDS = (FLEET, DEVICE, STREAM, DELIVERY)
