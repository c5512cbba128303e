"""A shipper in this process, whose loop a test turns."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from common.service import Service
from common.status import to_wire
from shipper.service import Shipper
from tests.patience import Patience
from tests.unit.shipper.stub import StubBuffer

Start = Callable[..., "Running"]


@dataclass
class Running:
    """A shipper whose loop a test turns."""

    process: Service
    stage: Shipper
    stub: StubBuffer

    @property
    def status(self) -> dict[str, Any]:
        """What `/health` would show."""
        return to_wire(self.process.status)

    def until(self, what: str, probe: Callable[[], object], timeout_s: float = 10.0) -> None:
        """Turn the loop until a probe is true."""
        patience = Patience(timeout_s)
        while not probe():
            assert not patience.is_over(), f"waited {timeout_s:g} s for {what}: {self.status}"
            self.process.loop.turn()

    def for_a_while(self, seconds: float) -> None:
        """Turn the loop for some time."""
        end_s = time.monotonic() + seconds
        self.process.loop.every(0.01, lambda: None)
        while time.monotonic() < end_s:
            self.process.loop.turn()

    def counter(self, name: str, **tags: str) -> float:
        """Return a counter of the uploader."""
        return self.process.instruments.counter(f"uploader.{name}_total", **tags)

    def log(self, message: str) -> list[dict[str, Any]]:
        """Return the log lines with a message."""
        lines = map(json.loads, (self.process.run_dir / "log").read_text(encoding="utf-8").splitlines())
        return [line for line in lines if line["msg"] == message]

    def events(self) -> list[str]:
        """Return the kinds of the events that were published."""
        lines = map(json.loads, (self.process.run_dir / "log").read_text(encoding="utf-8").splitlines())
        return [line["event"] for line in lines if "event" in line]


def reload(running: Running, environment: Callable[..., None], **keys: str) -> None:
    """Have the process read its configuration again, as SIGHUP does."""
    environment(**keys)
    running.process.loop.every(0.01, lambda: None)
    running.process._heartbeat = running.process.loop.every(60, lambda: None)
    running.process.loop._reload_asked = True
    running.process.loop.turn()
