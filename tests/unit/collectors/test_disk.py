"""Disks and file systems: units, filters and configuration."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from collectors.host import Host
from collectors.system import disk, filesystems
from collectors.system.filesystems import Mount
from tests.unit.collectors import recorded, trees

DISKS = recorded.FIXTURES / "broken" / "disks"


def line(name: str, *, written: int, read: int = 800) -> str:
    """Return a line of /proc/diskstats."""
    return f" 259 0 {name} 10 0 {read} 5 20 0 {written} 6 0 7 11\n"


def test_sectors_are_512_bytes_by_default() -> None:
    """A 4096-byte drive's sectors are 512 bytes in the kernel's counters."""
    values = trees.Collector(disk, Host(DISKS / "0")).at(0)
    assert 9120448000 * 512 == values["disk.read_bytes_total", "nvme0n1"]
    assert 4096 == values["disk.logical_block_size_bytes", "nvme0n1"]


def test_sectors_of_the_device_on_demand() -> None:
    """With sector_unit logical_block_size, bytes and rate count in the device's own block size."""
    collector = trees.Collector(disk, Host(DISKS / "0"), sector_unit="logical_block_size")
    first = collector.at(0)
    assert 9120448000 * 4096 == first["disk.read_bytes_total", "nvme0n1"]
    assert 204800 * 512 == first["disk.read_bytes_total", "sda"]
    collector.host = Host(DISKS / "1")
    assert 64_000 * 4096 / 10 == collector.at(10)["disk.write_bytes_per_second", "nvme0n1"]


@pytest.mark.parametrize("content", [None, "", "none\n", "0\n", "-512\n"])
def test_unreadable_block_size(content: str | None, tmp_path: Path) -> None:
    """Without a block size 512 is used, and no block size is said."""
    files = {"proc/diskstats": line("sda", written=100)}
    if content is not None:
        files["sys/class/block/sda/queue/logical_block_size"] = content
    values = trees.Collector(disk, trees.write(tmp_path, files), sector_unit="logical_block_size").at(0)
    assert 100 * 512 == values["disk.write_bytes_total", "sda"]
    assert ("disk.logical_block_size_bytes", "sda") not in values


def test_block_size_is_asked_once(tmp_path: Path) -> None:
    """A block size that is known is kept while the device is the same, so that no counter changes its unit."""
    path = "sys/class/block/sda/queue/logical_block_size"
    host = trees.write(tmp_path, {"proc/diskstats": line("sda", written=100), path: "4096\n"})
    collector = trees.Collector(disk, host)
    collector.at(0)
    (tmp_path / path).unlink()
    assert 4096 == collector.at(10)["disk.logical_block_size_bytes", "sda"]
    assert {path} & host.absent == set()


def test_name_with_a_slash() -> None:
    """cciss/c0d0 is cciss!c0d0 in sysfs, and itself in the label."""
    values = trees.Collector(disk, Host(DISKS / "0"), allowed_devices=re.compile("cciss/.*")).at(0)
    assert {"cciss/c0d0"} == {label for _, label in values}
    assert 512 == values["disk.logical_block_size_bytes", "cciss/c0d0"]


def test_partitions_are_never_devices() -> None:
    """A pattern that matches a partition does not make it a device: sysfs tells."""
    values = trees.Collector(disk, Host(DISKS / "0"), allowed_devices=re.compile(".*")).at(0)
    assert {"sda", "sdb", "sdt", "sdc", "sdd", "cciss/c0d0", "nvme0n1"} == {label for _, label in values}


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        *((name, True) for name in ("sda", "sdaa", "nvme0n1", "nvme10n12", "mmcblk0")),
        *(
            (name, False)
            for name in ("mmcblk0boot0", "mmcblk0boot1", "loop0", "ram0", "zram0", "dm-0", "sr0", "mtdblock0")
        ),
    ],
)
def test_default_devices(name: str, *, wanted: bool, tmp_path: Path) -> None:
    """By default the drives are counted, not what is in them, made of them or made of RAM."""
    host = trees.write(tmp_path, {"proc/diskstats": line(name, written=1)})
    assert wanted == any(label == name for _, label in trees.Collector(disk, host).at(0))


def test_empty_pattern_is_the_default(tmp_path: Path) -> None:
    """allowed_devices "" means the default, as MILESTONE-2 has it."""
    host = trees.write(tmp_path, {"proc/diskstats": line("sda", written=1) + line("loop0", written=1)})
    assert {"sda"} == {label for _, label in trees.Collector(disk, host, allowed_devices=None).at(0)}


@pytest.mark.parametrize(
    ("second", "elapsed_s", "expected"),
    [
        (line("sda", written=300), 10, 10240),
        (line("sda", written=100), 10, 0),
        (line("sda", written=99), 10, None),
        (line("sda", written=300, read=799), 10, None),
        (line("sda", written=300), 0, None),
        (line("sdb", written=300), 10, None),
        (line("sda", written=300).replace(" 300 ", " x "), 10, None),
    ],
)
def test_write_rate(second: str, elapsed_s: float, expected: int | None, tmp_path: Path) -> None:
    """A rate needs two readings of one count, and time between them."""
    host = trees.write(tmp_path, {"proc/diskstats": line("sda", written=100)})
    collector = trees.Collector(disk, host)
    assert ("disk.write_bytes_per_second", "sda") not in collector.at(100)
    trees.write(tmp_path, {"proc/diskstats": second})
    assert expected == collector.at(100 + elapsed_s).get(("disk.write_bytes_per_second", "sda"))


def test_another_device_under_the_same_name(tmp_path: Path) -> None:
    """A replaced drive has no rate at first, even if it has written more than the old one."""
    diskseq = "sys/class/block/sda/diskseq"
    host = trees.write(tmp_path, {"proc/diskstats": line("sda", written=100), diskseq: "7\n"})
    collector = trees.Collector(disk, host)
    collector.at(0)
    trees.write(tmp_path, {"proc/diskstats": line("sda", written=300), diskseq: "8\n"})
    assert ("disk.write_bytes_per_second", "sda") not in collector.at(10)
    trees.write(tmp_path, {"proc/diskstats": line("sda", written=400)})
    assert 5120 == collector.at(20)["disk.write_bytes_per_second", "sda"]


def test_number_that_is_none(tmp_path: Path) -> None:
    """A column that is no number costs its metric, not the line."""
    host = trees.write(tmp_path, {"proc/diskstats": line("sda", written=100).replace(" 100 ", " ? ")})
    values = trees.Collector(disk, host).at(0)
    assert ("disk.write_bytes_total", "sda") not in values
    assert 800 * 512 == values["disk.read_bytes_total", "sda"]


def test_no_devices(tmp_path: Path) -> None:
    """A machine without block devices has an empty table, which is no fault."""
    host = trees.write(tmp_path, {"proc/diskstats": ""})
    assert {} == trees.Collector(disk, host).at(0)
    assert {} == host.faults


@pytest.mark.parametrize(
    "kind",
    [
        "nfs",
        "nfs4",
        "cifs",
        "smb3",
        "smbfs",
        "9p",
        "ceph",
        "fuse",
        "fuse.sshfs",
        "fuse.gvfsd-fuse",
        "fuseblk",
        "autofs",
        "afs",
        "virtiofs",
        "squashfs",
        "overlay",
    ],
)
def test_never_asked(kind: str) -> None:
    """What can hang or is full by design is not asked, even if its source looks like a device."""
    assert [] == filesystems.local([Mount("/dev/sda1", "/mnt", kind)])


def test_root_on_the_network() -> None:
    """Below a root that can hang, nothing is asked."""
    assert [] == filesystems.local([Mount("nas:/root", "/", "nfs"), Mount("/dev/sda1", "/data", "ext4")])


def test_beside_a_network_mount() -> None:
    """A path that only begins like a network mount's is asked."""
    mounts = [Mount("nas:/", "/mnt/nas", "nfs"), Mount("/dev/sda1", "/mnt/nas2", "ext4")]
    assert ["/mnt/nas2"] == filesystems.local(mounts)


def test_wanted_mount_points() -> None:
    """Patterns choose mount points by their whole path, also one that is not its device's nearest."""
    mounts = [Mount("/dev/sda1", "/", "ext4"), Mount("/dev/sda1", "/var/log", "ext4"), Mount("/dev/sdb1", "/v", "ext4")]
    assert ["/var/log"] == filesystems.local(mounts, [re.compile("/var/.*"), re.compile("/var")])
