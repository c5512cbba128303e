"""Log to systemd's journal, with the process as identifier: `journalctl -t belabox-metrics-buffer`.

All lines are in the log files. A journal in memory gets all of them too; a journal on disk (/var/log/journal) gets
only warnings and errors, so that lines are not written to flash twice.

Emits: one datagram for each line, if systemd runs this process (JOURNAL_STREAM).
Source: https://systemd.io/JOURNAL_NATIVE_PROTOCOL
Fails: a line that the journal does not accept is in the log file only.
"""

from __future__ import annotations

import logging
import os
import socket
from contextlib import suppress
from pathlib import Path

SOCKET = Path("/run/systemd/journal/socket")
ON_DISK = Path("/var/log/journal")
PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}


class JournalHandler(logging.Handler):
    """Write records to the journal."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING if ON_DISK.is_dir() else logging.NOTSET)

    def emit(self, record: logging.LogRecord) -> None:
        """Send a line without blocking; if the journal is busy or gone, drop it."""
        text = self.format(record).replace("\n", " | ")
        fields = {
            "MESSAGE": text,
            "PRIORITY": PRIORITIES.get(record.levelno, 6),
            "SYSLOG_IDENTIFIER": f"belabox-metrics-{record.name}",
        }
        datagram = "".join(f"{name}={value}\n" for name, value in fields.items())
        # A socket for each line: one opened before the fork is closed in the child, and its descriptor number reused.
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
            journal.setblocking(False)
            journal.sendto(datagram.encode(), str(SOCKET))


def handlers() -> list[logging.Handler]:
    """Return the journal's handler where systemd runs this process, else none."""
    return [JournalHandler()] if "JOURNAL_STREAM" in os.environ and SOCKET.exists() else []
