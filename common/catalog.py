"""Every metric by name: what it is, in which unit, how urgent, and what it is called on export.

One table, no heuristics: the metric reference in docs/ is generated from it and the exported name is
looked up in it. A name that is not here (a user's own collector) is exported with its invalid
characters replaced, as a gauge of normal priority.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from common.sample import NORMAL

GAUGE, COUNTER, HISTOGRAM, INFO = "gauge", "counter", "histogram", "info"

# A histogram is stored and exported as these three families of samples.
HISTOGRAM_SUFFIXES = ("_bucket", "_sum", "_count")

_UNSAFE = re.compile(r"[^a-zA-Z0-9_:]")


@dataclass(frozen=True)
class Metric:
    """One row of the catalogue.

    Attributes:
        name: dotted, as stored.
        kind: gauge, counter, histogram or info.
        unit: base unit of the value, "" for a plain number.
        labels: label names besides device_id.
        help: one sentence, what it tells.
        priority: 0 at once, 1 high, 2 normal, 3 low.
        export: name at the server, PromQL-safe.
    """

    name: str
    kind: str
    unit: str
    labels: tuple[str, ...]
    help: str
    priority: int = NORMAL
    export: str = ""


def export_name(name: str) -> str:
    """Return the PromQL-safe form of a dotted name: ``[a-zA-Z_:][a-zA-Z0-9_:]*``."""
    safe = _UNSAFE.sub("_", name)
    return f"_{safe}" if safe[:1].isdigit() else safe


def _row(name: str, kind: str, unit: str, labels: str, text: str, priority: int = NORMAL, export: str = "") -> Metric:
    return Metric(name, kind, unit, tuple(labels.split()), text, priority, export or export_name(name))


_CPU = (
    _row("cpu.usage_percent", GAUGE, "percent", "core", "Time not idle; core is a number or all."),
    _row("cpu.iowait_percent", GAUGE, "percent", "", "Time idle with I/O outstanding, all cores."),
    _row("cpu.steal_percent", GAUGE, "percent", "", "Time taken by a hypervisor, all cores."),
    _row("cpu.frequency_hertz", GAUGE, "hertz", "policy", "Current clock of a cluster."),
    _row("cpu.frequency_limit_hertz", GAUGE, "hertz", "policy", "Highest clock a cluster may use now."),
    _row("cpu.throttled", GAUGE, "", "reason", "1 while heat holds a clock down; reason: cooling or frequency."),
    _row("system.load1", GAUGE, "", "", "Runnable and blocked tasks, mean of 1 minute."),
    _row("system.load5", GAUGE, "", "", "Runnable and blocked tasks, mean of 5 minutes."),
    _row("system.load15", GAUGE, "", "", "Runnable and blocked tasks, mean of 15 minutes."),
    _row("system.uptime_seconds", GAUGE, "seconds", "", "Time since boot."),
    *(
        _row(f"pressure.{resource}_{share}_percent", GAUGE, "percent", "", f"Time {who} waited for {what}, 10 s mean.")
        for resource, what in (("cpu", "CPU"), ("memory", "memory"), ("io", "I/O"))
        for share, who in (("some", "some task"), ("full", "every task"))
    ),
    *(
        _row(
            f"pressure.{resource}_{share}_stalled_seconds_total",
            COUNTER,
            "seconds",
            "",
            f"Time {who} waited for {what} since boot.",
        )
        for resource, what in (("cpu", "CPU"), ("memory", "memory"), ("io", "I/O"))
        for share, who in (("some", "some task"), ("full", "every task"))
    ),
)

_MEMORY = (
    _row("memory.total_bytes", GAUGE, "bytes", "", "RAM the kernel manages."),
    _row("memory.available_bytes", GAUGE, "bytes", "", "RAM a new program can get without swapping."),
    _row("memory.used_bytes", GAUGE, "bytes", "", "Total minus available."),
    _row("memory.used_percent", GAUGE, "percent", "", "Used share of the total."),
    _row("memory.swap_total_bytes", GAUGE, "bytes", "", "Swap space."),
    _row("memory.swap_used_bytes", GAUGE, "bytes", "", "Swap space in use."),
    _row("memory.swap_used_percent", GAUGE, "percent", "", "Used share of swap; absent without swap."),
    _row("memory.oom_kills_total", COUNTER, "", "", "Processes killed for lack of memory since boot."),
)

_DISK = (
    _row("disk.read_ops_total", COUNTER, "", "device", "Reads completed."),
    _row("disk.write_ops_total", COUNTER, "", "device", "Writes completed."),
    _row("disk.read_bytes_total", COUNTER, "bytes", "device", "Bytes read."),
    _row("disk.write_bytes_total", COUNTER, "bytes", "device", "Bytes written."),
    _row("disk.io_time_ms_total", COUNTER, "milliseconds", "device", "Time with at least one request in flight."),
    _row("disk.weighted_io_time_ms_total", COUNTER, "milliseconds", "device", "Time times requests in flight."),
    _row("disk.write_bytes_per_second", GAUGE, "bytes/second", "device", "Write rate since the last reading."),
    _row("disk.logical_block_size_bytes", GAUGE, "bytes", "device", "Smallest unit the device addresses."),
    _row("filesystem.size_bytes", GAUGE, "bytes", "mountpoint", "Size of a file system."),
    _row("filesystem.free_bytes", GAUGE, "bytes", "mountpoint", "Space left for an unprivileged user."),
    _row("filesystem.used_percent", GAUGE, "percent", "mountpoint", "Used share, as df shows it."),
)

_NETWORK = (
    *(
        _row(f"network.{way}_{what}_total", COUNTER, unit, "interface", f"{subject} {verb}.")
        for way, verb in (("rx", "received"), ("tx", "sent"))
        for what, unit, subject in (
            ("bytes", "bytes", "Bytes"),
            ("packets", "", "Packets"),
            ("errors", "", "Packets with errors"),
            ("dropped", "", "Packets dropped before they were"),
        )
    ),
    _row("network.rx_bits_per_second", GAUGE, "bits/second", "interface", "Receive rate since the last reading."),
    _row("network.tx_bits_per_second", GAUGE, "bits/second", "interface", "Send rate since the last reading."),
    _row("network.total_rx_bits_per_second", GAUGE, "bits/second", "", "Receive rate of all interfaces."),
    _row("network.total_tx_bits_per_second", GAUGE, "bits/second", "", "Send rate of all interfaces."),
    _row("network.link_up", GAUGE, "", "interface", "1 while the interface can carry packets."),
    _row("network.interfaces_dropped_total", COUNTER, "", "", "Interfaces left out because of max_interfaces."),
)

_THERMAL = (
    _row("cpu.temperature", GAUGE, "celsius", "", "The hottest zone.", export="cpu_temperature_celsius"),
    _row("thermal.zone_temp", GAUGE, "celsius", "zone", "A thermal zone.", export="thermal_zone_temp_celsius"),
    _row("thermal.unreadable", GAUGE, "", "zone", "1 while a zone exists but gives no value."),
    _row("thermal.cooling_state", GAUGE, "", "device", "Step of a cooling device, 0 is not limiting."),
    _row("fan.duty_percent", GAUGE, "percent", "fan", "Share of full drive the fan gets."),
    _row("fan.rpm", GAUGE, "revolutions/minute", "fan", "Fan speed, where the fan reports it."),
    _row(
        "hwmon.temperature",
        GAUGE,
        "celsius",
        "chip sensor",
        "A temperature sensor outside the thermal zones (case, drive, modem).",
        export="hwmon_temperature_celsius",
    ),
)

_SELF = (
    _row("collector.metrics_collected_total", COUNTER, "", "collector", "Samples collected."),
    _row("collector.metrics_failed_total", COUNTER, "", "collector", "Items that could not be read."),
    _row("collector.collects_skipped_total", COUNTER, "", "collector", "Deadlines missed because a collect overran."),
    _row("collector.collection_duration_seconds", HISTOGRAM, "seconds", "collector", "Duration of one collect."),
    _row("publisher.unacked_samples", GAUGE, "", "producer", "Samples waiting for the buffer's ack."),
    _row(
        "publisher.dropped_samples_total",
        COUNTER,
        "",
        "producer priority reason",
        "Samples lost before the buffer, by reason.",
    ),
    _row("storage.samples_committed_total", COUNTER, "", "", "Samples written to the database."),
    _row("storage.duplicates_total", COUNTER, "", "", "Redelivered samples that were already there."),
    _row("storage.refused_samples_total", COUNTER, "", "reason", "Samples or messages that were not valid."),
    _row("storage.moved_samples_total", COUNTER, "", "reason", "Samples dated anew: rebased or clamped."),
    _row("storage.clock_steps_total", COUNTER, "", "", "Steps of the wall clock by more than 2 s."),
    _row("storage.commits_total", COUNTER, "", "", "Transactions committed."),
    _row("storage.commit_duration_seconds", HISTOGRAM, "seconds", "", "Duration of one commit."),
    _row("storage.database_size_bytes", GAUGE, "bytes", "", "Size of the database file."),
    _row("storage.wal_size_bytes", GAUGE, "bytes", "", "Size of the write-ahead log."),
    _row("storage.wal_checkpoint_duration_ms", GAUGE, "milliseconds", "", "Duration of the last checkpoint."),
    _row("storage.wal_bytes_reclaimed", GAUGE, "bytes", "", "What the last checkpoint freed."),
    _row("storage.metrics_pending_upload", GAUGE, "", "", "Samples stored and not yet uploaded."),
    _row("storage.quarantined_total", COUNTER, "", "", "Samples the server refuses; kept, not uploaded."),
    _row("storage.used_bytes", GAUGE, "bytes", "", "What storage.max_size limits: pages in use, and the archive."),
    _row("storage.archive_size_bytes", GAUGE, "bytes", "", "Size of the files in the archive."),
    _row("storage.archives_written_total", COUNTER, "", "", "Spans written to the archive."),
    _row("storage.aggregated_samples_total", COUNTER, "", "", "Samples that became part of an aggregate."),
    _row("storage.expired_rows_total", COUNTER, "", "table", "Rows deleted because their time was over."),
    _row(
        "storage.shed_total",
        COUNTER,
        "",
        "tier",
        "Rows and archive files deleted early to stay within storage.max_size; tier: archive, aggregates, uploaded.",
    ),
    _row(
        "storage.lost_samples_total",
        COUNTER,
        "",
        "reason priority",
        "Samples no server has, given up to stay within storage.max_size; reason: thinned or size_cap.",
    ),
    _row("storage.upkeep_slice_seconds", HISTOGRAM, "seconds", "task", "What ingest may have waited for upkeep."),
    _row("storage.upkeep_failures_total", COUNTER, "", "task", "Slices of upkeep that failed and are tried again."),
    _row(
        "storage.requeued_samples_total", COUNTER, "", "", "Uploaded samples that were sent again: not at the server."
    ),
    _row("storage.audit_failures_total", COUNTER, "", "", "Spans that the server lost again and again."),
    _row("storage.sync_duration_seconds", HISTOGRAM, "seconds", "", "Duration of one sync of the write-ahead log."),
    _row("storage.corruptions_total", COUNTER, "", "kind", "Files moved aside: database, log (a copy), foreign."),
    _row("storage.salvaged_samples_total", COUNTER, "", "", "Samples put back from damaged files."),
    _row("storage.unsalvaged_samples_total", COUNTER, "", "", "Samples lost in damaged files, estimated."),
    _row("storage.reserve_used_total", COUNTER, "", "", "Times the reserve was given up for critical samples."),
    _row("storage.flash_bytes_written_total", COUNTER, "bytes", "", "Bytes this process made the kernel write."),
    _row("uploader.metrics_uploaded_total", COUNTER, "", "", "Samples the server accepted."),
    _row("uploader.upload_failures_total", COUNTER, "", "reason", "Uploads that failed, by reason."),
    _row("uploader.upload_duration_seconds", HISTOGRAM, "seconds", "", "Duration of one upload."),
    _row("uploader.partial_success_total", COUNTER, "", "", "Uploads of which the server took only a part."),
    _row("uploader.bytes_sent_total", COUNTER, "bytes", "", "Body bytes sent, retries included."),
    _row("uploader.mode_changes_total", COUNTER, "", "mode", "Changes to a mode: realtime, degraded, offline."),
    _row(
        "uploader.budget_used_bytes", GAUGE, "bytes", "period", "Carried by the uploader's connections, day or month."
    ),
    _row("uploader.budget_limit_bytes", GAUGE, "bytes", "period", "Data budget; absent without one."),
    _row("uploader.rejected_samples_total", COUNTER, "", "", "Samples the server refused for good."),
    _row(
        "uploader.verified_until", GAUGE, "seconds", "", "Unix time up to which all uploaded samples were found there."
    ),
    _row("uploader.unverified_samples", GAUGE, "", "", "Uploaded samples not yet found at the server."),
    _row("uploader.lane_age_seconds", GAUGE, "seconds", "priority", "Age of the oldest sample waiting in a lane."),
    _row("time.skew_ms", GAUGE, "milliseconds", "", "Local clock minus the server's; positive: local is ahead."),
    _row("process.resident_bytes", GAUGE, "bytes", "program", "Resident memory."),
    _row("process.cpu_seconds_total", COUNTER, "seconds", "program", "CPU time used."),
    _row("process.restarts_total", COUNTER, "", "program", "Starts seen beyond the first."),
    _row("process.up", GAUGE, "", "program", "1 while the process sends heartbeats."),
    _row("healthd.refused_heartbeats_total", COUNTER, "", "reason", "Messages dropped that were no heartbeats."),
    _row("belabox_metrics.info", INFO, "", "version", "Always 1; the version that runs."),
)

METRICS: dict[str, Metric] = {metric.name: metric for metric in (*_CPU, *_MEMORY, *_DISK, *_NETWORK, *_THERMAL, *_SELF)}


@lru_cache(maxsize=4096)
def find(name: str) -> Metric:
    """Return the row of a stored name; for a histogram's family, the histogram's with that suffix."""
    known = METRICS.get(name)
    if known is not None:
        return known
    for suffix in HISTOGRAM_SUFFIXES:
        base = METRICS.get(name.removesuffix(suffix))
        if base is not None and base.kind == HISTOGRAM and name.endswith(suffix):
            return Metric(name, COUNTER, base.unit, base.labels, base.help, base.priority, base.export + suffix)
    return _row(name, GAUGE, "", "", "Not in the catalogue.")
