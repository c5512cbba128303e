"""How many samples of a producer are unacked, by priority, in a file that outlives producer and spool.

What a producer had unacked when it was killed is in its spool, unless that could not be written (a full disk) or was
deleted since: the next process of its name reads here how many there were, and misses what it does not find. The few
bytes are taken beforehand, so that a full disk does not matter.
"""

from __future__ import annotations

import struct
from collections import Counter
from pathlib import Path

from common import mapped_file
from common.sample import PRIORITIES

RECORD = struct.Struct(f"<{len(PRIORITIES)}Q")


class UnackedCount:
    """The count of one producer, by way of a memory map: writing costs no system call.

    Args:
        path: of the file; where it cannot be made, nothing is counted.

    Attributes:
        left: what the last process left, by priority.
    """

    def __init__(self, path: Path) -> None:
        self.left = _read(path)
        self._map = mapped_file.open_or_none(path, _record(self.left))

    def write(self, counts: Counter[int]) -> None:
        """Write how many samples of each priority are unacked now."""
        if self._map is not None:
            self._map[:] = _record(counts)

    def close(self) -> None:
        """Close the file; what stands in it stays."""
        if self._map is not None:
            self._map.close()
            self._map = None


def _read(path: Path) -> Counter[int]:
    try:
        return Counter(dict(zip(PRIORITIES, RECORD.unpack(path.read_bytes()), strict=True)))
    except (OSError, struct.error):
        return Counter()


def _record(counts: Counter[int]) -> bytes:
    return RECORD.pack(*(counts[priority] for priority in PRIORITIES))
