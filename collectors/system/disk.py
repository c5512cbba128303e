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

from collectors.host import Host, unsigned
from collectors.system import filesystems
from common.keys import boolean, choice, duration, key, listing, regex
from common.sample import Sample

SECTOR = 512
WHOLE_DEVICES = r"(?:sd|vd|xvd|hd)[a-z]+|nvme\d+n\d+|mmcblk\d+"
# Metric and its column; all kernels since 2.6 have these 14, later ones append (iostats.rst).
WRITTEN = "disk.write_bytes_total"
COLUMNS = {
    "disk.read_ops_total": 3,
    "disk.read_bytes_total": 5,
    "disk.write_ops_total": 7,
    WRITTEN: 9,
    "disk.io_time_ms_total": 12,
    "disk.weighted_io_time_ms_total": 13,
}
NAME_COLUMN, LEAST_COLUMNS = 2, 14
IN_SECTORS = frozenset({"disk.read_bytes_total", WRITTEN})
# 64 bits on 64-bit kernels. The two times have 32 everywhere and wrap; they are exported as they are.
FALL_TOGETHER = ("disk.read_ops_total", "disk.read_bytes_total", "disk.write_ops_total", WRITTEN)

Row = dict[str, int]


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


class BlockDevice(NamedTuple):
    """What is remembered of a device: which one it is, its block size, and its row at the last collect."""

    diskseq: str | None
    block_size: int | None
    row: Row


class State:
    """The last collect's devices, and when it was."""

    def __init__(self) -> None:
        self.devices: Mapping[str, BlockDevice] = {}
        self.at_s = 0.0


def collect(host: Host, config: Config, state: State) -> Iterator[Sample]:
    """Yield the counters of whole devices and the space of file systems."""
    rows = host.parse("proc/diskstats", parse_diskstats)
    if rows is not None:
        before = state.devices
        state.devices = {
            name: _identify(host, name, row, before.get(name))
            for name, row in rows.items()
            if _is_wanted(host, name, config)
        }
        elapsed_s, state.at_s = host.now_s - state.at_s, host.now_s
        for name, device in state.devices.items():
            yield from _samples(name, device, before.get(name), config, elapsed_s)
    yield from filesystems.collect(host, config.mountpoints)


def parse_diskstats(lines: Iterable[str]) -> dict[str, Row]:
    """Return the numbers of our columns by device, partitions included."""
    devices = {}
    for line in lines:
        columns = line.split()
        if len(columns) >= LEAST_COLUMNS:
            numbers = {metric: unsigned(columns[at]) for metric, at in COLUMNS.items()}
            devices[columns[NAME_COLUMN]] = {metric: number for metric, number in numbers.items() if number is not None}
    return devices


def sectors_per_second(before: Row, now: Row, elapsed_s: float) -> float | None:
    """Return how fast sectors were written, or None where the two readings are not of one count.

    What makes one counter begin anew makes them all; the one in question may have passed its old value.
    """
    if elapsed_s <= 0 or any(now.get(metric, 0) < before.get(metric, 0) for metric in FALL_TOGETHER):
        return None
    if WRITTEN not in before or WRITTEN not in now:
        return None
    return (now[WRITTEN] - before[WRITTEN]) / elapsed_s


def _is_wanted(host: Host, name: str, config: Config) -> bool:
    allowed = config.allowed_devices or re.compile(WHOLE_DEVICES)
    return bool(allowed.fullmatch(name)) and not host.exists(f"{_sysfs(name)}/partition")


def _sysfs(name: str) -> str:
    """Return a device's directory; sysfs writes / in a name as ! (cciss/c0d0)."""
    return f"sys/class/block/{name.replace('/', '!')}"


def _identify(host: Host, name: str, row: Row, before: BlockDevice | None) -> BlockDevice:
    """Return what is to be remembered; a block size that is known is not asked again."""
    path = f"{_sysfs(name)}/diskseq"
    diskseq = host.text(path) if host.exists(path) else None  # not before Linux 5.14
    if before is not None and before.diskseq == diskseq and before.block_size is not None:
        return before._replace(row=row)
    block_size = host.integer(f"{_sysfs(name)}/queue/logical_block_size")
    return BlockDevice(diskseq, block_size if block_size is not None and block_size > 0 else None, row)


def _samples(
    name: str, now: BlockDevice, before: BlockDevice | None, config: Config, elapsed_s: float
) -> Iterator[Sample]:
    tags = {"device": name}
    sector = now.block_size or SECTOR if config.sector_unit == "logical_block_size" else SECTOR
    for metric, number in now.row.items():
        yield Sample(metric, number * sector if metric in IN_SECTORS else number, tags)
    if before is not None and before.diskseq == now.diskseq:
        rate = sectors_per_second(before.row, now.row, elapsed_s)
        if rate is not None:
            yield Sample("disk.write_bytes_per_second", round(rate * sector), tags)
    if now.block_size is not None:
        yield Sample("disk.logical_block_size_bytes", now.block_size, tags)
