"""Metrics of the machine: CPU, memory, disks, network, temperatures."""

from __future__ import annotations

from common.catalog.row import COUNTER, GAUGE, INFO, row

_CPU = (
    row("cpu.usage_percent", GAUGE, "percent", "core", "Time not idle; core is a number or all."),
    row("cpu.iowait_percent", GAUGE, "percent", "", "Time idle with I/O outstanding, all cores."),
    row("cpu.steal_percent", GAUGE, "percent", "", "Time taken by a hypervisor, all cores."),
    row("cpu.frequency_hertz", GAUGE, "hertz", "policy", "Current clock of a cluster."),
    row("cpu.frequency_limit_hertz", GAUGE, "hertz", "policy", "Highest clock a cluster may use now."),
    row("cpu.throttled", GAUGE, "", "reason", "1 while heat holds a clock down; reason: cooling or frequency."),
    row("system.load1", GAUGE, "", "", "Runnable and blocked tasks, mean of 1 minute."),
    row("system.load5", GAUGE, "", "", "Runnable and blocked tasks, mean of 5 minutes."),
    row("system.load15", GAUGE, "", "", "Runnable and blocked tasks, mean of 15 minutes."),
    row("system.uptime_seconds", GAUGE, "seconds", "", "Time since boot."),
    row("system.info", INFO, "", "board kernel os image", "What machine it is and what BELABOX image it runs; 1."),
    *(
        row(f"pressure.{resource}_{share}_percent", GAUGE, "percent", "", f"Time {who} waited for {what}, 10 s mean.")
        for resource, what in (("cpu", "CPU"), ("memory", "memory"), ("io", "I/O"))
        for share, who in (("some", "some task"), ("full", "every task"))
    ),
    *(
        row(
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
    row("memory.total_bytes", GAUGE, "bytes", "", "RAM the kernel manages."),
    row("memory.available_bytes", GAUGE, "bytes", "", "RAM a new program can get without swapping."),
    row("memory.used_bytes", GAUGE, "bytes", "", "Total minus available."),
    row("memory.used_percent", GAUGE, "percent", "", "Used share of the total."),
    row("memory.swap_total_bytes", GAUGE, "bytes", "", "Swap space."),
    row("memory.swap_used_bytes", GAUGE, "bytes", "", "Swap space in use."),
    row("memory.swap_used_percent", GAUGE, "percent", "", "Used share of swap; absent without swap."),
    row("memory.oom_kills_total", COUNTER, "", "", "Processes killed for lack of memory since boot."),
)

_DISK = (
    row("disk.read_ops_total", COUNTER, "", "device", "Reads completed."),
    row("disk.write_ops_total", COUNTER, "", "device", "Writes completed."),
    row("disk.read_bytes_total", COUNTER, "bytes", "device", "Bytes read."),
    row("disk.write_bytes_total", COUNTER, "bytes", "device", "Bytes written."),
    row("disk.io_time_ms_total", COUNTER, "milliseconds", "device", "Time with at least one request in flight."),
    row("disk.weighted_io_time_ms_total", COUNTER, "milliseconds", "device", "Time times requests in flight."),
    row("disk.write_bytes_per_second", GAUGE, "bytes/second", "device", "Write rate since the last reading."),
    row("disk.logical_block_size_bytes", GAUGE, "bytes", "device", "Smallest unit the device addresses."),
    row("filesystem.size_bytes", GAUGE, "bytes", "mountpoint", "Size of a file system."),
    row("filesystem.free_bytes", GAUGE, "bytes", "mountpoint", "Space left for an unprivileged user."),
    row("filesystem.used_percent", GAUGE, "percent", "mountpoint", "Used share, as df shows it."),
)

_NETWORK = (
    *(
        row(f"network.{way}_{what}_total", COUNTER, unit, "interface", f"{subject} {verb}.")
        for way, verb in (("rx", "received"), ("tx", "sent"))
        for what, unit, subject in (
            ("bytes", "bytes", "Bytes"),
            ("packets", "", "Packets"),
            ("errors", "", "Packets with errors"),
            ("dropped", "", "Packets dropped before they were"),
        )
    ),
    row("network.rx_bits_per_second", GAUGE, "bits/second", "interface", "Receive rate since the last reading."),
    row("network.tx_bits_per_second", GAUGE, "bits/second", "interface", "Send rate since the last reading."),
    row("network.total_rx_bits_per_second", GAUGE, "bits/second", "", "Receive rate of all interfaces."),
    row("network.total_tx_bits_per_second", GAUGE, "bits/second", "", "Send rate of all interfaces."),
    row("network.udp_datagrams_total", COUNTER, "", "direction", "UDP datagrams of all sockets; direction: in, out."),
    row(
        "network.udp_errors_total",
        COUNTER,
        "",
        "kind",
        "UDP datagrams lost on this device; kind: no_port, in, receive_buffer, send_buffer.",
    ),
    row("network.link_up", GAUGE, "", "interface", "1 while the interface can carry packets."),
    row("network.interfaces_dropped_total", COUNTER, "", "", "Interfaces left out because of max_interfaces."),
)

_THERMAL = (
    row("cpu.temperature", GAUGE, "celsius", "", "The hottest zone.", export="cpu_temperature_celsius"),
    row("thermal.zone_temp", GAUGE, "celsius", "zone", "A thermal zone.", export="thermal_zone_temp_celsius"),
    row("thermal.unreadable", GAUGE, "", "zone", "1 while a zone exists but gives no value."),
    row("thermal.cooling_state", GAUGE, "", "device", "Step of a cooling device, 0 is not limiting."),
    row("fan.duty_percent", GAUGE, "percent", "fan", "Share of full drive the fan gets."),
    row("fan.rpm", GAUGE, "revolutions/minute", "fan", "Fan speed, where the fan reports it."),
    row(
        "hwmon.temperature",
        GAUGE,
        "celsius",
        "chip sensor",
        "A temperature sensor outside the thermal zones (case, drive, modem).",
        export="hwmon_temperature_celsius",
    ),
)

SYSTEM = (*_CPU, *_MEMORY, *_DISK, *_NETWORK, *_THERMAL)
