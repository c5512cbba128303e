"""Lease pending samples to the shipper, and record the result of their upload.

Answers requests of `common/PROTOCOL.md`, section drain. A lease is kept in memory only: when the shipper registers
again (`hello`), releases it, or this process ends, samples without a result are pending as before.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import zmq

from buffer.delivery.audit import AuditOperations
from buffer.delivery.recheck import Recheck
from buffer.delivery.server_starts import ServerStarts
from buffer.delivery.too_old import TooOld
from buffer.delivery.unsent_events import UnsentEvents
from buffer.delivery.upload_marks import UploadMarks
from buffer.storage import errors
from buffer.storage.pending import PendingSample, UploadMark
from buffer.storage.series import canonical_tags, series_key
from buffer.storage.store import Store
from common import bound, clock, wire
from common.sample import PRIORITIES
from common.service import Service
from common.status import BufferStatus

MAX_LEASE = 200_000  # samples; about 20 MB in both processes
UNQUARANTINE_ROWS = 50_000  # looked at in one step: 50 ms
FINISH_S = 1.0  # an answer of the server takes no longer, as a rule
MOST_CHUNKS = 1 << 31
REQUESTS_PER_TURN = 16  # then ingest gets its turn
WITH_MARKS_WAITING = {"lease", "done", "release", "stats"}  # all others see what the server accepted as uploaded


class RequestRefusedError(Exception):
    """A request that cannot be carried out; nothing was changed.

    Attributes:
        word: the reply's `error`.
    """

    def __init__(self, word: str, detail: str) -> None:
        super().__init__(detail)
        self.word = word


@dataclass
class OpenLease:
    """Samples on their way to the server.

    Attributes:
        priority: of all of them.
        rows: in the order of the body.
        done: how many are accounted for.
    """

    priority: int
    rows: list[PendingSample]
    done: int = 0


class Drain:
    """The buffer's end of `drain.ipc`.

    Args:
        service: whose loop, counters and log these are.
        store: has the samples.
        marks: takes what the server accepted.
        status: says what the server lost or does not keep.
    """

    def __init__(self, service: Service, store: Store, marks: UploadMarks, status: BufferStatus) -> None:
        self._service = service
        self._store = store
        self._marks = marks
        self._leases: dict[int, OpenLease] = {}
        self._closing = False
        self._numbers = count(time.time_ns() // 1_000_000)  # so that a lease of an earlier buffer is unknown
        recheck = Recheck(service, store, status)
        self._operations: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "hello": self._hello,
            "lease": self._lease,
            "done": self._done,
            "reject": self._reject,
            "release": self._release,
            "stats": self._stats,
            "unquarantine": self._unquarantine,
            **recheck.operations(),
            **AuditOperations(service, store, recheck, status).operations(),
            **ServerStarts(service, store, recheck).operations(),
            **UnsentEvents(service, store).operations(),
            **TooOld(service, store).operations(),
        }
        service.instruments.count("storage.quarantined_total", 0)  # a rate needs to have seen it at 0
        self._socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.ROUTER_MANDATORY, 1)  # a reply that nobody takes is an error
        self._socket.bind(f"ipc://{service.run_dir / 'drain.ipc'}")
        service.loop.on_readable(self._socket, self.receive)

    def bind_again(self) -> list[str]:
        """Bind the socket again if its file was deleted; return the name of that file."""
        return ["drain.ipc"] if bound.bind_again(self._socket, self._service.run_dir / "drain.ipc") else []

    def receive(self) -> None:
        """Answer the requests that have arrived."""
        for _ in range(REQUESTS_PER_TURN):
            try:
                frames = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            try:
                request = _request(frames)
            except wire.WireError as error:
                self._service.instruments.count("storage.refused_samples_total", reason=error.reason)
                self._service.log.throttled_warning("drain", "ignored a drain request", detail=str(error))
                continue
            reply = {"v": wire.VERSION, "id": request["id"], **self.answer(request)}
            try:
                self._socket.send_multipart([frames[0], wire.pack(reply)], zmq.NOBLOCK)
            except zmq.ZMQError:  # the client is gone; its lease would last until the next hello
                self._leases.pop(reply.get("lease", 0), None)

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Carry out one request and return its reply."""
        operation = self._operations.get(str(request.get("op")))
        if operation is None:
            return {"error": "bad_request", "detail": f"there are {', '.join(self._operations)}"}
        try:
            if request["op"] not in WITH_MARKS_WAITING:
                self._marks.write()
            return operation(request)
        except RequestRefusedError as error:
            return {"error": error.word, "detail": str(error)}
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            return {"error": "bad_request", "detail": f"{type(error).__name__}: {error}"}
        except errors.Error as error:
            self._store.notice(error)
            self._service.failed(error)
            return {"error": "storage", "detail": str(error)}

    def close(self) -> None:
        """Take the marks of chunks that are under way, then close the socket; unaccounted samples are pending.

        What was accepted without a mark would be sent again, and under other times if the clock is set meanwhile.
        """
        self._closing = True
        deadline_s = time.monotonic() + FINISH_S
        while self._leases and (left_s := deadline_s - time.monotonic()) > 0:
            if self._socket.poll(max(1, int(1000 * left_s))):
                self.receive()
        self._socket.close(linger=100)

    def _hello(self, request: dict[str, Any]) -> dict[str, Any]:
        self._leases.clear()
        marked = sum(self._mark_accepted(*chunk) for chunk in request.get("accepted", ()))
        return {"pending": list(self._store.pending.counts), "marked": marked}

    def _mark_accepted(self, priority: int, batch_id: str, chunk_index: int, groups: Sequence[Any]) -> int:
        """Mark the pending samples of a chunk that the server accepted while the buffer was down.

        Comes before any lease: a clock that was set meanwhile would have these samples rebased, and sent again.
        """
        rows: list[PendingSample] = []
        for name, device_id, tags, timestamps in groups:
            key = series_key(name, device_id, canonical_tags(tags), is_text=False)
            for timestamp_ms in timestamps:
                rows += self._store.pending.at(key, timestamp_ms, priority)
        return self._store.pending.mark_uploaded(priority, rows, batch_id, chunk_index) if rows else 0

    def _lease(self, request: dict[str, Any]) -> dict[str, Any]:
        if self._closing:
            raise RequestRefusedError("closing", "the buffer ends")
        priority, limit = int(request["priority"]), int(request["max_samples"])
        before_ms, since_ms = request.get("before_ms"), request.get("since_ms")
        if priority not in PRIORITIES or not 0 < limit <= MAX_LEASE:
            raise RequestRefusedError("bad_request", f"priority {priority}, max_samples {limit}")
        taken = {row.id for lease in self._leases.values() for row in lease.rows}
        taken |= {row.id for _, row in self._marks.rows}
        while moved := self._store.clocks.rebase(taken):
            self._service.instruments.count("storage.moved_samples_total", moved, reason="rebased")
        horizon_ms = wire.LATEST_MS if before_ms is None else int(before_ms)
        found = self._store.pending.rows(priority, horizon_ms, limit + len(taken), int(since_ms or 0))
        by_series: dict[int, list[PendingSample]] = {}
        for row in [row for row in found if row.id not in taken][:limit]:
            by_series.setdefault(row.series_id, []).append(row)
        if not by_series:
            return {"lease": 0, "groups": [], "session_id": None}
        number, rows = next(self._numbers), [row for rows in by_series.values() for row in rows]
        self._leases[number] = OpenLease(priority, rows)
        times = [row.timestamp_ms for row in rows]
        session_id = self._store.sessions.of(min(times), max(times))
        return {
            "lease": number, "groups": [self._group(rows) for rows in by_series.values()], "session_id": session_id,
        }  # fmt: skip

    def _group(self, rows: list[PendingSample]) -> list[Any]:
        series = self._store.series.by_id(rows[0].series_id)
        times, values = [row.timestamp_ms for row in rows], [row.value for row in rows]
        return [series.name, series.device_id, series.tags, times, values]

    def _done(self, request: dict[str, Any]) -> dict[str, Any]:
        lease, rows = self._next_rows(request)
        batch_id, chunk_index = str(request["batch_id"]), int(request["chunk_index"])
        if not 0 <= chunk_index < MOST_CHUNKS:
            raise RequestRefusedError("bad_request", f"chunk_index {chunk_index}")
        self._marks.add(UploadMark(lease.priority, rows, batch_id, chunk_index, clock.wall_ms()))
        self._account(request["lease"], lease, len(rows))
        return {"marked": len(rows)}

    def _reject(self, request: dict[str, Any]) -> dict[str, Any]:
        lease, rows = self._next_rows(request)
        reason = str(request["reason"])
        marked = self._store.pending.mark_quarantined(lease.priority, rows)
        self._service.instruments.count("storage.quarantined_total", marked)
        for row in rows[:3]:
            series = self._store.series.by_id(row.series_id)
            self._service.log.warning(
                "quarantined", metric=series.name, tags=dict(series.tags), timestamp_ms=row.timestamp_ms,
                value=row.value, reason=reason,
            )  # fmt: skip
        self._account(request["lease"], lease, len(rows))
        return {"marked": marked}

    def _unquarantine(self, request: dict[str, Any]) -> dict[str, Any]:
        """Make quarantined samples among the next rows pending again; return the id to continue from."""
        start, metric = int(request["after_id"]), request.get("metric")
        stop = start + UNQUARANTINE_ROWS
        released = self._store.pending.unquarantine(range(start, stop), None if metric is None else str(metric))
        if released:
            self._service.log.info("released from quarantine", count=released, metric=metric)
        return {"released": released, "after_id": stop if stop <= self._store.samples.greatest_id() else None}

    def _release(self, request: dict[str, Any]) -> dict[str, Any]:
        lease = self._leases.pop(request["lease"], None)
        if lease is None:
            raise RequestRefusedError("unknown_lease", str(request["lease"]))
        first, last = request.get("doubtful", (0, 0))
        self._store.pending.keep_times(lease.rows[int(first) : int(last)])
        return {}

    def _stats(self, request: dict[str, Any]) -> dict[str, Any]:
        now_ms = clock.wall_ms()
        intervals_ms = [int(1000 * float(seconds)) for seconds in request["intervals_s"]]
        if len(intervals_ms) != len(PRIORITIES):
            raise RequestRefusedError("bad_request", "intervals_s needs four numbers")
        pending, waiting = self._store.pending, list(self._marks.rows)
        counts = [pending.counts[p] - sum(priority == p for priority, _ in waiting) for p in PRIORITIES]
        due = []
        for p, interval_ms in zip(PRIORITIES, intervals_ms, strict=True):
            since_ms = now_ms - interval_ms
            marked = sum(priority == p and row.timestamp_ms < since_ms for priority, row in waiting)
            due.append(pending.counts[p] - pending.not_due(p, since_ms) - marked)
        return {
            "pending": counts,
            "due": due,
            "oldest_ms": [self._oldest_ms(p) if counts[p] else None for p in PRIORITIES],
        }

    def _oldest_ms(self, priority: int) -> int | None:
        """Return the timestamp of the oldest sample of a priority that the server does not have."""
        marked = {row.id for own, row in self._marks.rows if own == priority}
        if not marked:
            return self._store.pending.oldest_ms(priority)
        rows = self._store.pending.slice(priority, (0, -1), wire.LATEST_MS, len(marked) + 1)
        return next((timestamp_ms for timestamp_ms, row_id, _ in rows if row_id not in marked), None)

    def _next_rows(self, request: dict[str, Any]) -> tuple[OpenLease, list[PendingSample]]:
        lease = self._leases.get(request["lease"])
        if lease is None:
            raise RequestRefusedError("unknown_lease", str(request["lease"]))
        upto = int(request["upto"])
        if not lease.done < upto <= len(lease.rows):
            raise RequestRefusedError("bad_request", f"upto {upto}, done {lease.done} of {len(lease.rows)}")
        return lease, lease.rows[lease.done : upto]

    def _account(self, number: int, lease: OpenLease, rows: int) -> None:
        lease.done += rows
        if self._closing or lease.done == len(lease.rows):
            del self._leases[number]


def _request(frames: Sequence[bytes]) -> dict[str, Any]:
    if len(frames) != 2:
        raise wire.WireError("frames", f"{len(frames)} frames")
    request = wire.unpack(frames[1])
    if not isinstance(request.get("id"), (int, str)):
        raise wire.WireError("shape", "the id is an integer or text")
    return request
