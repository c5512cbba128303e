"""How much and how soon: everything that was learned of one server and the way to it. Pure: times are arguments.

Puts together the backoff, the mode, the sizes of chunks and the limits of backfill, so that whatever is
learned from an answer is learned by all of them.
"""

from __future__ import annotations

from collections.abc import Callable

from common.remote import Remote
from shipper.http.courier import Exchange
from shipper.http.outcome import NotWelcome, TryLater
from shipper.pace.backfill import Backfill, Uplink
from shipper.pace.backoff import Backoff
from shipper.pace.mode import Change, Mode
from shipper.pace.schedule import MAX_CHUNK_SAMPLES, Pace


class Tempo:
    """What is known of the server; made anew for another one.

    Args:
        remote: section remote.
        now_s: monotonic.
        random: returns a number from 0 to 1.

    Attributes:
        backoff, mode, backfill: in force.
    """

    def __init__(self, remote: Remote, now_s: float, random: Callable[[], float]) -> None:
        self._batch_size = remote.batch_size
        self._uplink = Uplink()
        self._pace = Pace(remote.chunk_size, remote.chunk_bytes)
        self.backoff = Backoff(remote.retry, random)
        self.mode = Mode(remote.mode, remote.upload_interval_s, now_s)
        self.backfill = Backfill(remote, self._uplink)

    def chunk(self, *, old: bool) -> int:
        """Return how many samples the next request may hold."""
        if old:
            return self.backfill.most()
        return max(self._pace.samples, self._batch_size) if self.mode.sends_large else self._pace.samples

    def lease(self, *, old: bool) -> int:
        """Return how many samples to lease at once."""
        pace = self.backfill.pace if old else self._pace
        return max(min(self._batch_size, MAX_CHUNK_SAMPLES), pace.samples)

    def taken(self, exchange: Exchange, now_s: float, *, old: bool, whole: bool, more: bool) -> Change | None:
        """Learn from a body that the server took.

        Args:
            exchange: how it went.
            now_s: monotonic.
            old: it was backfill.
            whole: all of it was taken.
            more: samples are waiting behind it.

        Returns:
            The change of mode that it brings.
        """
        self.backoff.succeeded()
        self._uplink.measured(exchange.bytes_sent, exchange.duration_s)
        if whole and old:
            self.backfill.accepted(exchange.samples, exchange.bytes_sent)
        elif whole and more:
            self._pace.succeeded(exchange.samples, exchange.bytes_sent)
        return self.mode.succeeded(now_s, exchange.duration_s, exchange.bytes_sent)

    def too_large(self, samples: int) -> None:
        """Remember that the server refused a body of so many samples for its size."""
        self._pace.too_large(samples)
        self.backfill.pace.too_large(samples)

    def failed(self, outcome: TryLater | NotWelcome, now_s: float) -> tuple[float, Change | None]:
        """Begin with little next time; return how long to wait, in seconds, and the change of mode."""
        self._pace.failed()
        self.backfill.pace.failed()
        if isinstance(outcome, TryLater):
            wait_s = self.backoff.failed(now_s, outcome.retry_after_s)
        else:
            wait_s = self.backoff.refused(now_s)
        return wait_s, self.mode.failed(now_s, outcome.reason)
