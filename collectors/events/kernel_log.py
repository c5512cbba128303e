"""Follow the kernel's log; used by the events collector.

Reads: dev/kmsg, from its end on; a plain file in its place, as a recorded tree has, from its start.
Source: Documentation/ABI/testing/dev-kmsg.
Errors: if this user may not read it (kernel.dmesg_restrict=1 and no CAP_SYSLOG), it counts as absent. Records that were
    overwritten before they were read are counted. Lines that other programs wrote into it are skipped.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from collectors.host import Host

PATH = "dev/kmsg"
RECORD_BYTES = 8192  # a smaller buffer is an EINVAL for the longest record
MAX_READS = 1000  # of one look, so that a flood does not keep the others waiting

_RECORD = re.compile(r"(\d{1,6}),(\d{1,20}),\d{1,20},[^;]*;(.*)")


class KernelLog:
    """The log, open between two looks.

    Attributes:
        missed: records overwritten before they were read.
    """

    def __init__(self) -> None:
        self.missed = 0
        self._path: Path | None = None
        self._descriptor: int | None = None
        self._is_device = False
        self._next: int | None = None
        self._rest = ""

    @property
    def is_open(self) -> bool:
        """Return whether the log is followed."""
        return self._descriptor is not None

    @property
    def waitable(self) -> int | None:
        """Return the descriptor that is readable when there is a new record; a plain file always is, so it is none."""
        return self._descriptor if self._is_device else None

    def lines(self, host: Host) -> Iterator[str]:
        """Yield the kernel's messages since the last call, without level and time."""
        if not self._open(host):
            return
        for text in self._read():
            *lines, self._rest = (self._rest + text).split("\n")
            yield from filter(None, map(self._message, lines))

    def close(self) -> None:
        """Close the log."""
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor, self._next, self._rest = None, None, ""

    def _open(self, host: Host) -> bool:
        path = host.root / PATH
        if path != self._path:
            self.close()
        if self._descriptor is None:
            try:
                self._descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
                self._is_device = not stat.S_ISREG(os.fstat(self._descriptor).st_mode)
                if self._is_device:
                    os.lseek(self._descriptor, 0, os.SEEK_END)
            except OSError as error:
                host.absent.add(PATH if isinstance(error, FileNotFoundError) else f"{PATH} ({error.strerror})")
                self.close()
            self._path = path
        return self._descriptor is not None

    def _read(self) -> Iterator[str]:
        assert self._descriptor is not None  # noqa: S101 - the caller has opened it
        for _ in range(MAX_READS):
            try:
                content = os.read(self._descriptor, RECORD_BYTES)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno == errno.EPIPE:  # overwritten; the next read gives the oldest that is left
                    continue
                self.close()
                return
            if not content:
                return
            yield content.decode("utf-8", "replace")

    def _message(self, line: str) -> str | None:
        """Return the message of a record's first line; None for its continuations and for other programs' words."""
        match = _RECORD.match(line)
        if match is None:
            return None
        sequence = int(match[2])
        if self._next is not None and sequence > self._next:
            self.missed += sequence - self._next
        self._next = sequence + 1
        return match[3] if int(match[1]) >> 3 == 0 else None
