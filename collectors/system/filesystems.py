"""Choose the mounted file systems whose space is read, and read it; used by the disk source.

Each block device is read once, at the mount point nearest to the root; the root is always read: an overlay (a read-only
image, a container) reports the layer that is written to. Skipped are file systems that could block the collect
(statvfs(2) cannot be interrupted while a server or a FUSE process does not answer), mounts below them, because the path
leads through them, and file systems that are always full (read-only images).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from collectors.host import Host
from common.sample import Sample

# fuseblk (NTFS, exFAT through FUSE) is a local disk, yet a process answers for it.
MAY_HANG = re.compile(r"nfs\d*|cifs|smb\w*|9p|virtiofs|ceph|afs|coda|glusterfs|lustre|gfs2|ocfs2|fuse.*|autofs")
ALWAYS_FULL = frozenset({"squashfs", "erofs", "cramfs", "romfs", "iso9660", "overlay"})
ROOT = "/"

# What seq_path() escapes in a mount point (fs/proc_namespace.c, show_vfsmnt).
_ESCAPED = re.compile(r"\\(011|012|040|043|134)")


class Mount(NamedTuple):
    """A line of the mount table."""

    device: str
    mountpoint: str
    kind: str


def collect(host: Host, wanted: Sequence[re.Pattern[str]]) -> Iterator[Sample]:
    """Yield size, free and used space of local file systems."""
    mounts = host.parse("proc/mounts", parse_mounts) or ()
    if any(mount.mountpoint == ROOT and mount.kind == "overlay" for mount in mounts):
        host.notes[ROOT] = "is an overlay: its size and free space are those of the layer that is written to"
    for mountpoint in local(mounts, wanted):
        status = host.file_system(mountpoint)
        if status is not None and status.f_blocks:
            yield from _space(mountpoint, status)


def parse_mounts(lines: Iterable[str]) -> list[Mount] | None:
    """Return the mounts in the order they were made."""
    rows = [line.split(" ") for line in lines]
    return [Mount(row[0], _ESCAPED.sub(_unescape, row[1]), row[2]) for row in rows if len(row) >= 4] or None


def local(mounts: Iterable[Mount], wanted: Sequence[re.Pattern[str]] = ()) -> list[str]:
    """Return the mount points to ask, sorted.

    Args:
        mounts: the table; of several on one mount point the last is the one to be seen.
        wanted: patterns of which one has to match a whole mount point; none: all of them.
    """
    visible = {mount.mountpoint: mount for mount in mounts}
    hanging = tuple(f"{mount.mountpoint.rstrip('/')}/" for mount in visible.values() if MAY_HANG.fullmatch(mount.kind))
    nearest: dict[str, str] = {}
    for mountpoint, mount in visible.items():
        if wanted and not any(pattern.fullmatch(mountpoint) for pattern in wanted):
            continue
        if f"{mountpoint.rstrip('/')}/".startswith(hanging) or MAY_HANG.fullmatch(mount.kind):
            continue
        if mountpoint != ROOT and (not mount.device.startswith("/dev/") or mount.kind in ALWAYS_FULL):
            continue
        if mount.device not in nearest or len(mountpoint) < len(nearest[mount.device]):
            nearest[mount.device] = mountpoint
    return sorted(nearest.values())


def _unescape(match: re.Match[str]) -> str:
    return chr(int(match[1], 8))


def _space(mountpoint: str, status: os.statvfs_result) -> Iterator[Sample]:
    """Yield what df says: blocks reserved for root are neither used nor free."""
    tags = {"mountpoint": mountpoint}
    used = status.f_blocks - status.f_bfree
    yield Sample("filesystem.size_bytes", status.f_blocks * status.f_frsize, tags)
    yield Sample("filesystem.free_bytes", status.f_bavail * status.f_frsize, tags)
    if used + status.f_bavail > 0:
        yield Sample("filesystem.used_percent", round(100 * used / (used + status.f_bavail), 2), tags)
