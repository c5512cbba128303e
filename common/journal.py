"""Lines for systemd's journal, under the process as identifier: `journalctl -t belabox-metrics-buffer`.

All lines are in the log files. The journal has them too where it is kept in memory; where it is kept on the disk
(/var/log/journal) it has warnings and errors alone, so that no flash is written twice.

Emits: one datagram a line, where systemd runs this process (JOURNAL_STREAM).
Source: https://systemd.io/JOURNAL_NATIVE_PROTOCOL
Fails: what the journal does not take is in the file.
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
        """Send a line; a journal that is busy or gone holds nobody up."""
        text = self.format(record).replace("\n", " | ")
        fields = {
            "MESSAGE": text,
            "PRIORITY": PRIORITIES.get(record.levelno, 6),
            "SYSLOG_IDENTIFIER": f"belabox-metrics-{record.name}",
        }
        datagram = "".join(f"{name}={value}\n" for name, value in fields.items())
        # A socket for each line: one from before the fork is closed in the child, and its number somebody else's.
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
            journal.setblocking(False)
            journal.sendto(datagram.encode(), str(SOCKET))


def handlers() -> list[logging.Handler]:
    """Return the journal's handler where systemd runs this process, else none."""
    return [JournalHandler()] if "JOURNAL_STREAM" in os.environ and SOCKET.exists() else []
