"""Block devices and the file systems on them.

Reads: proc/diskstats, sys/class/block/*/{partition,diskseq,queue/logical_block_size}, proc/mounts,
    statvfs(2) of mount points.
Source: Documentation/admin-guide/iostats.rst, block/stat.rst: a sector is 512 bytes there, whatever the
    device's blocks are.
Emits: disk.{read,write}_{ops,bytes}_total, disk.io_time_ms_total, disk.weighted_io_time_ms_total (as the
    kernel has them: both times wrap at 2^32 ms), disk.write_bytes_per_second (whole bytes),
    disk.logical_block_size_bytes, all {device}; filesystem.{size,free}_bytes and
    filesystem.used_percent {mountpoint}, as df shows them.
Errors: a first reading, another device under the same name and a counter that fell give no rate. An
    unreadable block size counts as 512 for the bytes and is not emitted. File systems that could hang
    are not asked: see `filesystems.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from collectors import filesystems
from collectors.host import Host, unsigned
from common.keys import boolean, choice, duration, key, listing, regex
from common.sample import Sample

SECTOR = 512
WHOLE_DEVICES = r"sd[a-z]+|nvme\d+n\d+|mmcblk\d+"
# Metric and its column; all kernels since 2.6 have these 14, later ones append (iostats.rst).
COLUMNS = {
    "disk.read_ops_total": 3,
    "disk.read_bytes_total": 5,
    "disk.write_ops_total": 7,
    "disk.write_bytes_total": 9,
    "disk.io_time_ms_total": 12,
    "disk.weighted_io_time_ms_total": 13,
}
NAME_COLUMN, LEAST_COLUMNS = 2, 14
IN_SECTORS = frozenset({"disk.read_bytes_total", "disk.write_bytes_total"})


@dataclass(frozen=True)
class Config:
    """Section collectors.disk."""

    enabled: bool = key(boolean(), "true", "collect it")
    interval_s: float = key(duration(0.1, 86_400), "30s", "time between two collects", name="interval")
    allowed_devices: re.Pattern[str] | None = key(
        regex(optional=True), WHOLE_DEVICES, "devices by their whole name; partitions never; empty: the default"
    )
    sector_unit: str = key(
        choice("kernel", "logical_block_size"), "kernel", "bytes in a counted sector: 512, or the device's block size"
    )
    mountpoints: tuple[re.Pattern[str], ...] = key(
        listing(regex()), "[]", "file systems by their whole mount point; empty: all that are local"
    )


class Device(NamedTuple):
    """What is remembered of a device: which one it is, its block size, and sectors written at the last collect."""

    diskseq: str | None
    block_size: int | None
    written: int | None


class State:
    """The last collect's devices, and when it was."""

    def __init__(self) -> None:
        self.devices: Mapping[str, Device] = {}
        self.at_s = 0.0


def collect(host: Host, config: Config, state: State) -> Iterator[Sample]:
    """Yield the counters of whole devices and the space of file systems."""
    rows = host.parse("proc/diskstats", parse_diskstats)
    if rows is not None:
        devices = {}
        for name in filter(lambda name: _is_wanted(host, config, name), rows):
            before = state.devices.get(name)
            now = _identify(host, name, before, rows[name]["disk.write_bytes_total"])
            sector = now.block_size or SECTOR if config.sector_unit == "logical_block_size" else SECTOR
            yield from _counters(name, rows[name], sector)
            yield from _gauges(name, now, before, sector, host.now_s - state.at_s)
            devices[name] = now
        state.devices, state.at_s = devices, host.now_s
    yield from filesystems.collect(host, config.mountpoints)


def parse_diskstats(lines: Iterable[str]) -> dict[str, dict[str, int | None]]:
    """Return the numbers of our columns by device, partitions included."""
    devices = {}
    for line in lines:
        columns = line.split()
        if len(columns) >= LEAST_COLUMNS:
            devices[columns[NAME_COLUMN]] = {metric: unsigned(columns[at]) for metric, at in COLUMNS.items()}
    return devices


def _is_wanted(host: Host, config: Config, name: str) -> bool:
    allowed = config.allowed_devices or re.compile(WHOLE_DEVICES)
    return bool(allowed.fullmatch(name)) and not host.exists(f"{_sysfs(name)}/partition")


def _sysfs(name: str) -> str:
    """Return a device's directory; sysfs writes / in a name as ! (cciss/c0d0)."""
    return f"sys/class/block/{name.replace('/', '!')}"


def _identify(host: Host, name: str, before: Device | None, written: int | None) -> Device:
    """Return what is to be remembered; the block size is asked once, so that no counter changes its unit."""
    path = f"{_sysfs(name)}/diskseq"
    diskseq = host.text(path) if host.exists(path) else None  # since Linux 5.15
    if before is not None and before.diskseq == diskseq:
        return before._replace(written=written)
    return Device(diskseq, host.integer(f"{_sysfs(name)}/queue/logical_block_size"), written)


def _counters(name: str, row: Mapping[str, int | None], sector: int) -> Iterator[Sample]:
    for metric, number in row.items():
        if number is not None:
            yield Sample(metric, number * sector if metric in IN_SECTORS else number, {"device": name})


def _gauges(name: str, now: Device, before: Device | None, sector: int, elapsed_s: float) -> Iterator[Sample]:
    if now.block_size is not None:
        yield Sample("disk.logical_block_size_bytes", now.block_size, {"device": name})
    if before is None or before.diskseq != now.diskseq or before.written is None or now.written is None:
        return
    if elapsed_s > 0 and now.written >= before.written:
        rate = (now.written - before.written) * sector / elapsed_s
        yield Sample("disk.write_bytes_per_second", round(rate), {"device": name})
