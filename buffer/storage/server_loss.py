"""Record in the database what the server has lost, until it has that again."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace

from buffer.storage.progress import Progress
from common import clock

ENTRY = "server_loss"


@dataclass(frozen=True)
class ServerLoss:
    """Verified samples that the server has no more.

    Attributes:
        start_ms, end_ms: of their times.
        samples: how many there are.
        only_averages: of how many more the device has nothing but aggregates.
    """

    start_ms: int
    end_ms: int
    samples: int = 0
    only_averages: int = 0

    def __str__(self) -> str:
        """Return the loss as one sentence."""
        span = f"{clock.rfc3339(self.start_ms)} to {clock.rfc3339(self.end_ms)}"
        gone = (
            f"; of {self.only_averages} more this device has only averages, and the archive beside the database"
            if self.only_averages
            else ""
        )
        return (
            f"the server lost stored samples of {span} (it was restored from a backup, or is empty): "
            f"{self.samples} samples are sent again{gone}"
        )

    def joined(self, other: ServerLoss | None) -> ServerLoss:
        """Return the union of this loss and another."""
        if other is None:
            return self
        return replace(
            self,
            start_ms=min(self.start_ms, other.start_ms),
            end_ms=max(self.end_ms, other.end_ms),
            samples=self.samples + other.samples,
            only_averages=self.only_averages + other.only_averages,
        )


def load(progress: Progress) -> ServerLoss | None:
    """Return the stored loss, None where nothing is lost."""
    text = progress.get_text(ENTRY)
    return None if text is None else ServerLoss(**json.loads(text))


def save(progress: Progress, loss: ServerLoss | None) -> None:
    """Store the loss, or delete it; joins the open transaction."""
    progress.set(ENTRY, None if loss is None else json.dumps(asdict(loss)))
