"""What the shipper reports of itself, for all of its parts: log, instruments, `/health` fields, events, its trouble.

Failures go through `Service.failed`, which throttles them and carries the last one in the heartbeat. Trouble
with the buffer and trouble with the server end separately.
"""

from __future__ import annotations

from typing import Any

from common import clock
from common.config import Config
from common.events import Event
from common.service import Service
from common.settings import PRIORITY_NAMES
from common.status import ShipperStatus
from shipper.state import DEGRADED, OFFLINE, REALTIME

BUFFER, SERVER = "buffer", "server"


class Report:
    """The reporting side of a service.

    Attributes:
        log, instruments, status: of the service.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._trouble = ""
        self.log, self.instruments = service.log, service.instruments
        self.status = service.status = ShipperStatus(last_current_ms=clock.wall_ms())
        for name in ("metrics_uploaded", "upload_failures", "partial_success", "bytes_sent", "rejected_samples"):
            self.instruments.count(f"uploader.{name}_total", 0)
        for mode in (REALTIME, DEGRADED, OFFLINE):
            self.instruments.count("uploader.mode_changes_total", 0, mode=mode)

    def event(self, event: Event) -> None:
        """Report an event."""
        self._service.event(event)

    def trouble(self, where: str, error: Exception, **fields: Any) -> None:
        """Carry a failure in the heartbeat until `well` is called for the same place."""
        self._trouble = where
        self._service.failed(error, **fields)

    def well(self, where: str) -> None:
        """Forget the trouble of a place."""
        if self._trouble == where:
            self._trouble = ""
            self._service.worked()

    def show_lanes(self, config: Config) -> None:
        """Show the lanes' intervals in seconds, and which are set by themselves instead of by `upload_interval`."""
        intervals = dict(zip(PRIORITY_NAMES, config.settings.remote.lanes, strict=True))
        own = [name for name in PRIORITY_NAMES if f"remote.priority.{name}" in config.given]
        self.status.lanes = {**intervals, "set": own}
