"""The shipper's end of `drain.ipc`: leases in, and what became of their samples back.

Speaks section drain of `common/PROTOCOL.md`, over a `Link`: the requests and replies, typed. After a request without
a reply, `hello` voids all leases.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

from common import wire
from common.sample import PRIORITIES
from shipper import lease
from shipper.lease import Lease
from shipper.link import BufferAwayError

Ask: TypeAlias = "Callable[..., dict[str, Any]]"


class Stats(NamedTuple):
    """The backlog, each by priority: samples pending, those past their lane's interval, the oldest's time."""

    pending: list[int]
    due: list[int]
    oldest_ms: list[int | None]


class Event(NamedTuple):
    """What happened, in words; `session_id` is None outside of a stream."""

    id: int
    timestamp_ms: int
    kind: str
    severity: str
    source: str
    text: str
    session_id: str | None


class Chunk(NamedTuple):
    """Samples that the server took while the buffer was not there to be told.

    Attributes:
        priority: of all of them.
        batch_id, chunk_index: as for `done`.
        groups: name, device, tags and timestamps of each series.
    """

    priority: int
    batch_id: str
    chunk_index: int
    groups: list[tuple[str, str, dict[str, str], list[int]]]


class Drain:
    """The operations of the drain, typed.

    Args:
        ask: sends an operation with its fields and returns the reply, as `Link.ask` does.

    Each raises what `ask` raises; a reply of another shape is a `BufferAwayError` too.
    """

    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    def hello(self, accepted: Sequence[Chunk] = ()) -> int:
        """Void every older lease, and say what of them the server took; return how much of that was not marked yet."""
        reply = self._ask("hello", accepted=list(accepted))
        return int(reply.get("marked", 0))

    def lease(
        self, priority: int, max_samples: int, *, since_ms: int | None = None, before_ms: int | None = None
    ) -> Lease | None:
        """Take pending samples of a priority and a span on loan, None when there are none."""
        reply = self._ask("lease", priority=priority, max_samples=max_samples, before_ms=before_ms, since_ms=since_ms)
        try:
            return lease.from_reply(reply, priority, max_samples)
        except wire.WireError as error:
            raise BufferAwayError(str(error)) from error

    def done(self, number: int, upto: int, batch_id: str, chunk_index: int) -> None:
        """Say that the server has a lease's samples up to, not including, `upto`."""
        self._ask("done", lease=number, upto=upto, batch_id=batch_id, chunk_index=chunk_index)

    def reject(self, number: int, upto: int, reason: str) -> None:
        """Say that the server will never take them; the buffer keeps them aside."""
        self._ask("reject", lease=number, upto=upto, reason=reason)

    def release(self, number: int) -> None:
        """Give back what of a lease is not accounted for."""
        self._ask("release", lease=number)

    def stats(self, intervals_s: Sequence[float]) -> Stats:
        """Return the backlog, given each lane's interval."""
        reply = self._ask("stats", intervals_s=list(intervals_s))
        try:
            stats = Stats(list(reply["pending"]), list(reply["due"]), list(reply["oldest_ms"]))
        except (KeyError, TypeError) as error:
            raise BufferAwayError(f"stats: {type(error).__name__} {error}") from error
        if any(len(column) != len(PRIORITIES) for column in stats):
            raise BufferAwayError("stats: not four of each")
        return stats

    def audit(self, grace_s: float) -> dict[str, Any]:
        """Return the oldest closed span that is not verified, and how far all is; see the protocol."""
        reply = self._ask("audit", after_ms=0, grace_s=grace_s)
        if not reply.keys() >= {"start_ms", "verified_until_ms", "unverified_samples"}:
            raise BufferAwayError(f"audit: a reply with {', '.join(reply)}")
        return reply

    def verdict(self, start_ms: int, uploaded_ms: int, missing: Sequence[int]) -> None:
        """Say of which series of a span the server has less than was uploaded."""
        self._ask("verdict", start_ms=start_ms, uploaded_ms=uploaded_ms, missing=list(missing))

    def restarted(self, started_s: int, started_ms: int, grace_s: float) -> None:
        """Say when the server was started, by its own clock and by the local one."""
        self._ask("restarted", started_s=started_s, started_ms=started_ms, grace_s=grace_s)

    def events(self) -> tuple[str, list[Event]]:
        """Return the device's id, and the oldest events that the server for logs does not have."""
        reply = self._ask("events")
        try:
            return str(reply["device_id"]), [Event(*row) for row in reply["events"]]
        except (KeyError, TypeError) as error:
            raise BufferAwayError(f"events: {type(error).__name__} {error}") from error

    def events_sent(self, upto: int) -> None:
        """Say that it has all up to an event."""
        self._ask("events_sent", upto=upto)
