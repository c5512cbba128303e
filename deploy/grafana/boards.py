"""The Grafana dashboards as rows of panels: all devices, one device, its stream, its delivery.

A new panel is a new row here; `make docs` writes the JSON.
"""

from __future__ import annotations

from common import thresholds
from common.thresholds import Alerts
from deploy.grafana.panels import Dashboard, Panel, Query

D = '{device_id="$device"}'
WORST = "topk(50, max by (device_id) (verdict_level))"
ROW_TO_DEVICE = "/d/belabox-device?var-device=${__data.fields.device_id}&${__url_time_range}"
LINE_TO_DEVICE = "/d/belabox-device?var-device=${__field.labels.device_id}&${__url_time_range}"
TO_STREAM = "/d/belabox-stream?var-device=$device&from=${__data.fields.begins.numeric}&to=${__data.fields.ends.numeric}"


def one(metric: str, legend: str = "", labels: str = "") -> Query:
    """Return the query of a gauge of the chosen device."""
    more = f",{labels}" if labels else ""
    return Query(f'{metric}{{device_id="$device"{more}}}', legend or metric)


def rate(metric: str, legend: str, factor: str = "") -> Query:
    """Return the query of a counter's rate."""
    return Query(f'rate({metric}{{device_id="$device"}}[5m]){factor}', legend)


def worst(metric: str, legend: str) -> Query:
    """Return the query of a gauge of the fifty devices with the worst verdict: a fleet may have ten thousand."""
    return Query(f"max by (device_id) ({metric}) and on (device_id) {WORST}", legend)


# The first panels of every dashboard of a device: what its page says, and the state of its stream.
VERDICTS = (
    Panel(
        "Verdicts: 0 nothing is wrong, 1 degraded, 2 error",
        "What the device's own page says of its stream and of its recorder. Not 0: look at the page, or at the panels below.",
        (one("verdict_level", "{{verdict}}"),),
        kind="stat",
        steps=(1, 2),
    ),
    Panel(
        "Stream: 1 starting, 2 live, 3 ending, 4 ended",
        "0 is no stream. One that stays at 1 gets no answer from the receiver: check its address and the stream id.",
        (one("stream_state", "state"),),
        kind="stat",
    ),
)


def steps(alert: str) -> tuple[float, float]:
    """Return the values at which a number with an alert threshold turns yellow and red."""
    row, alerts = thresholds.BY_ALERT[alert], Alerts()
    return thresholds.amber(row, alerts), thresholds.limit(row, alerts)


FLEET = Dashboard(
    "fleet",
    "all devices",
    (
        Panel("Devices heard of in the last 5 minutes", "Fewer than yesterday: a device is switched off, or cannot reach the server.", (Query("count(count by (device_id) (process_up))"),), kind="stat", width=6),
        Panel("Devices that stream", "Those whose receiver answers.", (Query("sum(srt_connected)"),), kind="stat", width=6),
        Panel("Devices in error", "Look at them first: they are on top of the table.", (Query("count(max by (device_id) (verdict_level) == 2) or vector(0)"),), kind="stat", width=6, steps=(1, 1)),
        Panel("Samples lost, last day", "More than 0: the event on the device says why.", (Query("sum(increase(storage_lost_samples_total[1d])) or vector(0)"),), kind="stat", width=6, steps=(1, 1)),
        Panel("The fifty worst devices: 1 degraded, 2 error", "A tap on a row opens the device. Stream: 2 is live.", (worst('verdict_level{verdict="stream"}', "stream's verdict"), worst('verdict_level{verdict="recorder"}', "recorder's verdict"), worst("stream_state", "stream"), worst("storage_metrics_pending_upload", "waiting")), kind="table", steps=(1, 2), link=ROW_TO_DEVICE),
        Panel("Alerts that fire at the server", "By vmalert's rules, each with its runbook in docs/runbooks.md; a row of 0 without a name: none does.", (Query('count by (alertname, device_id) (ALERTS{alertstate="firing"}) or vector(0)', "firing"),), kind="table", link=ROW_TO_DEVICE),
        Panel("Streams with the worst health", "Of 100; the ten lowest of this time.", (Query("bottomk_min(10, stream_health_score)", "{{device_id}}"),), "percent", link=LINE_TO_DEVICE),
        Panel("Most packet loss", "The ten highest of this time.", (Query("topk_max(10, srt_packet_loss_percent)", "{{device_id}}"),), "percent", steps=steps("packet_loss"), link=LINE_TO_DEVICE),
        Panel("Lowest bitrate", "The ten lowest of those that stream.", (Query("bottomk_min(10, srt_bitrate_bits_per_second)", "{{device_id}}"),), "bps", link=LINE_TO_DEVICE),
        Panel("Hottest", "The ten hottest boards. From 85 °C on they slow down.", (Query("topk_max(10, cpu_temperature_celsius)", "{{device_id}}"),), "celsius", steps=steps("overheating"), link=LINE_TO_DEVICE),
        Panel("Most waiting on the device", "Samples not uploaded yet: a bad uplink, or a token that is refused.", (Query("topk_max(10, storage_metrics_pending_upload)", "{{device_id}}"),), link=LINE_TO_DEVICE),
        Panel("Most sent by this agent", "What the recording itself costs of the uplink.", (Query("topk_max(10, rate(uploader_bytes_sent_total[5m]))", "{{device_id}}"),), "Bps", link=LINE_TO_DEVICE),
        Panel("Events a minute", "Of all devices, by severity.", (Query("sum by (severity) (increase(events_total[1m]))", "{{severity}}"),)),
        Panel("Clocks that are most wrong", "More than 2 s: the device's time service does not work.", (Query("topk_max(10, abs(time_skew_ms))", "{{device_id}}"),), "ms", link=LINE_TO_DEVICE),
    ),
    by_device=False,
)  # fmt: skip

DEVICE = Dashboard(
    "device",
    "one device",
    (
        *VERDICTS,
        Panel("Processor", "All cores. Above 90 % the encoder drops frames: close what else runs there, or lower resolution and frame rate.", (one("cpu_usage_percent", "{{core}}", 'core="all"'), one("cpu_iowait_percent", "waiting for disks")), "percent"),
        Panel("Heat", "From 85 °C on the board slows down. Give it air and shade, and check its fan.", (one("cpu_temperature_celsius", "hottest"), one("thermal_zone_temp_celsius", "{{zone}}")), "celsius", steps=steps("overheating")),
        Panel("Frequency", "A frequency that falls while the load stays is heat or a weak power supply.", (one("cpu_frequency_hertz", "{{policy}}"),), "hertz"),
        Panel("Memory", "Below 100 MB available the kernel ends processes. Look which one grows: Memory of each process, under delivery.", (one("memory_used_bytes", "used"), one("memory_available_bytes", "available")), "bytes"),
        Panel("File systems", "A full one stops the recording; free space, or lower storage.max_size.", (one("filesystem_used_percent", "{{mountpoint}}"),), "percent", steps=(thresholds.DISK_PERCENT.amber,)),
        Panel("Disks", "What is written wears out an SD card. Much more than usual: look which program it is.", (rate("disk_write_bytes_total", "{{device}} written"), rate("disk_read_bytes_total", "{{device}} read")), "Bps"),
        Panel("Network", "Each interface. A modem that carries nothing while others do: see Modem signal.", (one("network_tx_bits_per_second", "{{interface}} out"), one("network_rx_bits_per_second", "{{interface}} in")), "bps"),
        Panel("Modem signal", "Below 30 %: move, or turn the antenna. All links low: the place is bad, not a modem.", (one("modem_signal_percent", "{{modem}}"),), "percent"),
        Panel("Modem RSRP and SNR", "RSRP below -110 dBm or SNR below 0 dB: the cell is far or crowded. Move, or try another carrier.", (one("modem_rsrp_dbm", "{{modem}} RSRP"), one("modem_snr_db", "{{modem}} SNR"))),
        Panel("Modems", "Model and carrier of each modem. One that is missing is not seen by ModemManager: plug it in again.", (one("modem_info", "{{modem}} {{model}} {{carrier}}"),), kind="table"),
        Panel("Load", "Processes that want to run. Above the number of cores: something is in the way of the encoder.", (one("system_load1", "1 min"), one("system_load5", "5 min"), one("system_load15", "15 min"))),
        Panel("Events, in words", "Where `up.sh --profile logs` runs and the device has remote.events.url. A time and its event; docs/events.md says what each means.", (Query('device_id:"$device"'),), kind="logs", width=24),
        Panel("Video units", "The encoder's own hardware. At 100 % it is the limit: lower resolution or frame rate.", (one("vpu_usage_percent", "{{unit}}"), one("npu_usage_percent", "NPU {{core}}"), one("gpu_usage_percent", "GPU")), "percent"),
    ),
)  # fmt: skip

STREAM = Dashboard(
    "stream",
    "why the stream broke",
    (
        *VERDICTS,
        Panel("Bitrate", "Target, what the encoder makes, what is sent. Sent below target: a link is slow; see Round trip and Links.", (one("encoder_bitrate_target_bits_per_second", "target"), one("encoder_bitrate_bits_per_second", "encoder"), one("srt_bitrate_bits_per_second", "sent")), "bps"),
        Panel("Round trip", "Above 500 ms packets queue in a modem. The link that stands out: move, or unplug it.", (one("srt_rtt_ms", "stream"), one("srtla_link_rtt_ms", "{{interface}} {{ip}}")), "ms", steps=steps("high_round_trip")),
        Panel("Loss and repetition", "Above 5 % the picture breaks unless the latency leaves time to repeat. Raise the latency, or lower the bitrate.", (one("srt_packet_loss_percent", "lost"), one("srt_retransmit_percent", "sent again")), "percent", steps=steps("packet_loss")),
        Panel("Carried by each link", "Who carries the stream. One that carries nothing: see Links.", (one("srtla_link_bits_per_second", "{{interface}} {{ip}}"),), "bps"),
        Panel("Links", "1 is up. One at 0 does not answer: its modem, its SIM, or the place.", (one("srtla_link_up", "{{interface}} {{ip}}"), one("srtla_active_links", "up"))),
        Panel("Waiting in the kernel", "Bytes that a link has not sent yet. A queue that grows is a link that is slower than what it is given.", (one("srtla_link_queue_bytes", "{{interface}} {{ip}}"),), "bytes"),
        Panel("Frames", "Captured below asked for: the camera or the cable. Encoded below captured: the encoder is at its limit.", (one("encoder_frame_rate", "encoded"), one("hdmi_frame_rate", "captured"), one("encoder_frame_rate_target", "asked for"))),
        Panel("Frames dropped, and what one costs", "More than 1 % is seen. Look at Heat and Processor of the device.", (one("encoder_frame_drop_percent", "dropped %"), one("encoder_latency_ms", "encoder ms"))),
        Panel("Picture and sound", "1 is there. HDMI at 0: the cable or the camera; sound at 0: the card or its cable.", (one("hdmi_connected", "HDMI {{input}}"), one("audio_running", "sound {{card}}"))),
        Panel("Sample rate of the sound", "It should not change during a stream: one that does is a bad cable or a wrong device.", (one("audio_sample_rate_hertz", "{{card}}"),), "hertz"),
        Panel("Scores", "Health of 100, from bitrate, loss, round trip and frames. A fall shows when to look; the other panels show why.", (one("stream_health_score", "health"), one("network_stability_index", "network"), one("stream_reliability_percent", "reliability")), "percent"),
        Panel("Streams of the last seven days", "A tap on one shows its time in this dashboard.", (Query(f"tfirst_over_time(session_info{D}[7d]) * 1000", "begins"), Query(f"tlast_over_time(session_info{D}[7d]) * 1000", "ends")), "dateTimeAsIso", kind="table", link=TO_STREAM),
        Panel("Alerts", "1 is active, with the device's own thresholds. Each has its runbook in docs/runbooks.md.", (one("alert_active", "{{alert}}"),)),
    ),
    marks='changes(events_total{device_id="$device",severity=~"warning|error|critical"}[10s]) > 0',
)  # fmt: skip

DELIVERY = Dashboard(
    "delivery",
    "delivery",
    (
        *VERDICTS,
        Panel("Processes", "1 runs. One that is down: `sudo belabox-metrics status`, then `belabox-metrics logs` on the device.", (one("process_up", "{{program}}"),), width=12),
        Panel("Waiting, by age of the oldest", "Priority 0 within seconds, 2 within a minute. All that grow: the uplink or the server; see its /health.", (one("uploader_lane_age_seconds", "priority {{priority}}"),), "s"),
        Panel("Waiting", "Samples not uploaded yet. It grows in a tunnel and falls after it; if it only grows, the uplink is too slow.", (one("storage_metrics_pending_upload", "samples"),)),
        Panel("Uploaded", "Samples a second that the server has taken.", (rate("uploader_metrics_uploaded_total", "samples/s"),)),
        Panel("Bytes a sample", "What mobile data is paid for. It falls with a longer remote.upload_interval.", (Query(f"rate(uploader_bytes_sent_total{D}[10m]) / rate(uploader_metrics_uploaded_total{D}[10m])", "sent"),), "bytes"),
        Panel("Verified until", "How old the newest sample is that the server was asked for and had. Hours: the audit cannot query the server.", (Query(f"time() - uploader_verified_until{D}", "age"),), "s"),
        Panel("Found missing, quarantined, lost", "Sent again because the server had lost it; refused by the server; lost, with the reason in an event.", (rate("storage_requeued_samples_total", "sent again"), rate("storage_quarantined_total", "refused"), Query(f"rate(storage_lost_samples_total{D}[5m]) or 0 * rate(storage_requeued_samples_total{D}[5m])", "lost {{reason}}"))),
        Panel("Data budget", "Used of remote.budget. When it is used up, only what is urgent is sent.", (one("uploader_budget_used_bytes", "used, {{period}}"),), "bytes"),
        Panel("Database", "Both files on the device. The log is emptied hourly; one that grows is held open by a reader: see /health.", (one("storage_database_size_bytes", "database"), one("storage_wal_size_bytes", "log")), "bytes"),
        Panel("Written to flash", "300 MB a day at rest is 3.5 kB/s. Much more: a shorter storage.commit_interval than needed.", (rate("storage_flash_bytes_written_total", "bytes/s"),), "Bps"),
        Panel("Memory of each process", "Shared memory is divided among those who share it. One that only grows is a bug: send `belabox-metrics doctor`.", (one("process_pss_bytes", "{{program}}"),), "bytes"),
        Panel("Processor of each process", "A few tenths of a percent each. One at 100 % hangs in a loop: its log says where.", (rate("process_cpu_seconds_total", "{{program}}", " * 100"),), "percent"),
    ),
)  # fmt: skip

DASHBOARDS = (FLEET, DEVICE, STREAM, DELIVERY)
