"""Notice another device that sends under this one's `device.id`: a copied card, or a configuration that was copied.

Emits `device.instance{instance_id}`, another id on each machine and boot. Asks the server for the newest sample of it
under another id: one that is newer than this boot, and moves on from one question to the next, is another device's. An
earlier boot of this one ends before it.
"""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

from common import clock
from common.events import Event
from shipper.questions import Questions
from shipper.report import Report

METRIC = "device.instance"
EVERY_S = 240.0  # less than an audit window: each is compared with the answer known
MARGIN_MS = 120_000  # the server's clock, or that of the boot before, may be off by as much


def instance_id(database: Path) -> str:
    """Return an id of this machine, boot and database: eight hexadecimal digits."""
    text = f"{clock.boot_id()} {os.uname().nodename} {database.absolute()}"
    return hashlib.sha256(text.encode()).hexdigest()[:8]


class DuplicateWatch:
    """The question whether there is another device of this id.

    Args:
        device_id: of this device.
        database: of this device.
        server: answers.
        report: takes what people hear.

    Attributes:
        found: there is one, as of the last answer.
    """

    def __init__(self, device_id: str, database: Path, server: Questions, report: Report) -> None:
        self._device_id, self._server, self._report = device_id, server, report
        self._instance_id = instance_id(database)
        self._next_s = 0.0
        self._newest_ms: int | None = None  # of another instance, as of the last answer
        self.found = False
        report.instruments.gauge(METRIC, 1, instance_id=self._instance_id)

    def look(self) -> None:
        """Ask the server for other instances, if that is due.

        Raises:
            UnreachableError, TransportError: the server does not answer.
            Interrupted: the process was asked to end.
        """
        if time.monotonic() < self._next_s:
            return
        newest_ms = self._server.newest_of_others(self._device_id, METRIC, self._instance_id)
        self._next_s = time.monotonic() + EVERY_S
        moves_on = self._newest_ms is not None and newest_ms > self._newest_ms
        self._newest_ms = newest_ms
        booted_ms = clock.wall_ms() - clock.boottime_ms()
        self._judge(found=moves_on and newest_ms > booted_ms + MARGIN_MS)

    def _judge(self, *, found: bool) -> None:
        if found == self.found:
            return
        self.found = found
        text = f"another device sends under the id {self._device_id}: the samples of both are mixed at the server"
        self._report.status.duplicate_id = text if found else None
        alone = f"no other device sends under the id {self._device_id} any more"
        self._report.event(Event("device_duplicated", text) if found else Event("device_alone", alone))
