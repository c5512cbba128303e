"""How many samples a producer has in memory alone, by priority, in a file that outlives the producer.

While the spool cannot be written (a full disk), the unacked samples of a producer that is killed are lost: its next
process reads here how many these were. The few bytes are taken beforehand, so that a full disk does not matter.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from pathlib import Path

from common.sample import PRIORITIES

RECORD = struct.Struct(f"<{len(PRIORITIES)}Q")
NOTHING = (0,) * len(PRIORITIES)


class UnspooledCount:
    """The count of one producer.

    Args:
        path: of the file; where it cannot be made, nothing is counted.

    Attributes:
        left: what the last process left, by priority.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.left: Sequence[int] = self._read()
        self._written: Sequence[int] | None = None
        self.write(NOTHING)

    def write(self, counts: Sequence[int]) -> None:
        """Write how many samples of each priority are in memory alone now."""
        if counts == self._written:
            return
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.pwrite(descriptor, RECORD.pack(*counts), 0)
            finally:
                os.close(descriptor)
        except OSError:
            return  # its folder is gone: it is made again with the spool
        self._written = counts

    def _read(self) -> Sequence[int]:
        try:
            return RECORD.unpack(self._path.read_bytes())
        except (OSError, struct.error):
            return NOTHING
