"""The client of the buffer: take leases, report the results of uploads.

Implements the operations of section drain of `common/PROTOCOL.md`; how they get there: `buffer_connection.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from common import wire
from common.sample import PRIORITIES
from shipper import lease
from shipper.buffer_connection import BufferAwayError
from shipper.lease import Lease

Ask: TypeAlias = "Callable[..., dict[str, Any]]"


class Stats(NamedTuple):
    """The backlog, each by priority: samples pending, those past their lane's interval, the oldest's time."""

    pending: list[int]
    due: list[int]
    oldest_ms: list[int | None]


class StoredEvent(NamedTuple):
    """What happened, in words; `session_id` is None outside of a stream."""

    id: int
    timestamp_ms: int
    kind: str
    severity: str
    source: str
    text: str
    session_id: str | None


class Missing(NamedTuple):
    """A series of which the server has too little in an audit window.

    Attributes:
        series_id: the buffer's number of it.
        there: how many samples the server has.
        times_ms: of those that it lacks, None where that was not looked up.
    """

    series_id: int
    there: int
    times_ms: list[int] | None = None


class ServerStart(NamedTuple):
    """When the server was started, by its own clock and by the local one; and how long before it may have forgotten."""

    started_s: int
    started_ms: int
    grace_s: float

    @classmethod
    def said(cls, started_s: int, skew_ms: float | None, grace_s: float) -> ServerStart:
        """Return the start that a server tells of itself; `skew_ms`: by how much the local clock is ahead, if known."""
        return cls(started_s, 1000 * started_s + round(skew_ms or 0), grace_s)


class Chunk(NamedTuple):
    """Samples that the server accepted while the buffer was away.

    Attributes:
        priority: of all of them.
        batch_id, chunk_index: as for `done`.
        groups: name, device, tags and timestamps of each series.
    """

    priority: int
    batch_id: str
    chunk_index: int
    groups: list[tuple[str, str, dict[str, str], list[int]]]


class BufferClient:
    """The operations of the drain, typed.

    Args:
        ask: sends an operation with its fields and returns the reply, as `BufferConnection.ask` does.

    Each raises what `ask` raises; a reply of another shape is a `BufferAwayError` too.
    """

    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    def hello(self, accepted: Sequence[Chunk] = ()) -> int:
        """Void all older leases, report their chunks that the server accepted; return how many samples that marked."""
        reply = self._ask("hello", accepted=list(accepted))
        return int(reply.get("marked", 0))

    def lease(
        self, priority: int, max_samples: int, *, since_ms: int | None = None, before_ms: int | None = None
    ) -> Lease | None:
        """Lease pending samples of a priority between two times, None when there are none."""
        reply = self._ask("lease", priority=priority, max_samples=max_samples, before_ms=before_ms, since_ms=since_ms)
        try:
            return lease.from_reply(reply, priority, max_samples)
        except wire.WireError as error:
            raise BufferAwayError(str(error)) from error

    def done(self, number: int, upto: int, batch_id: str, chunk_index: int) -> None:
        """Report that the server has a lease's samples up to, not including, `upto`."""
        self._ask("done", lease=number, upto=upto, batch_id=batch_id, chunk_index=chunk_index)

    def reject(self, number: int, upto: int, reason: str) -> None:
        """Report that the server will never take them; the buffer moves them to quarantine."""
        self._ask("reject", lease=number, upto=upto, reason=reason)

    def release(self, number: int, doubtful: tuple[int, int] = (0, 0)) -> None:
        """Release the unreported samples of a lease; doubtful ones keep the times they were sent with."""
        self._ask("release", lease=number, doubtful=list(doubtful))

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
        """Return the oldest closed audit window that is not verified, and how far all is; see the protocol."""
        reply = self._ask("audit", after_ms=0, grace_s=grace_s)
        if not reply.keys() >= {"start_ms", "verified_until_ms", "unverified_samples"}:
            raise BufferAwayError(f"audit: a reply with {', '.join(reply)}")
        return reply

    def stored(self, start_ms: int, series_ids: Sequence[int]) -> dict[int, list[int]]:
        """Return the times of the uploaded samples of some series in an audit window."""
        reply = self._ask("stored", start_ms=start_ms, series=list(series_ids))
        return {int(number): list(times_ms) for number, times_ms in reply.get("times_ms", ())}

    def verdict(
        self,
        window: Mapping[str, Any],
        missing: Sequence[Missing],
        whole: Sequence[int] = (),
        *,
        has_device: bool = True,
    ) -> None:
        """Report the series of an audit window of which the server has too little, and those that are whole again.

        Args:
            window: as `audit` gave it.
            missing: series of which the server has less than required.
            whole: series of which it has all, although less was required.
            has_device: it has samples of this device at all.
        """
        self._ask(
            "verdict",
            start_ms=window["start_ms"],
            uploaded_ms=window["uploaded_ms"],
            missing=[list(one) for one in missing],
            whole=list(whole),
            has_device=has_device,
        )

    def recheck(self) -> dict[str, Any]:
        """Return the next span of which the server has to have all that was verified; see the protocol."""
        reply = self._ask("recheck")
        if "start_ms" not in reply:
            raise BufferAwayError(f"recheck: a reply with {', '.join(reply)}")
        return reply

    def rechecked(self, start_ms: int, width_ms: int, there: int, short: int) -> None:
        """Report how many samples of a span the server has, and how many too few."""
        self._ask("rechecked", start_ms=start_ms, width_ms=width_ms, there=there, short=short)

    def accepted(self, start: ServerStart) -> dict[str, Any]:
        """Return the samples that the server accepted in the last seconds before a start; see the protocol."""
        return self._ask("accepted", **start._asdict())

    def restarted(self, start: ServerStart, missing: Sequence[tuple[int, list[int]]] | None) -> None:
        """Report a start, and the series and times of the samples it lost; None where that is not known."""
        self._ask("restarted", **start._asdict(), missing=missing)

    def too_old(self, retention_s: float) -> None:
        """Report how long the server keeps samples: it would drop older ones, so they are not to be sent."""
        self._ask("too_old", retention_s=retention_s)

    def events(self) -> tuple[str, list[StoredEvent]]:
        """Return the device's id, and the oldest events that the server for logs does not have."""
        reply = self._ask("events")
        try:
            return str(reply["device_id"]), [StoredEvent(*row) for row in reply["events"]]
        except (KeyError, TypeError) as error:
            raise BufferAwayError(f"events: {type(error).__name__} {error}") from error

    def events_sent(self, upto: int) -> None:
        """Report that the log server has all events up to an id."""
        self._ask("events_sent", upto=upto)

    def events_audit(self, grace_s: float) -> dict[str, Any]:
        """Return how many acknowledged events are to be counted at the log server, and between which times."""
        reply = self._ask("events_audit", grace_s=grace_s)
        if "upto" not in reply:
            raise BufferAwayError(f"events_audit: a reply with {', '.join(reply)}")
        return reply

    def events_verdict(self, upto: int, missing: int) -> None:
        """Report how many events are missing at the log server."""
        self._ask("events_verdict", upto=upto, missing=missing)

    def events_restarted(self, start: ServerStart) -> None:
        """Report when the log server was started."""
        self._ask("events_restarted", **start._asdict())
