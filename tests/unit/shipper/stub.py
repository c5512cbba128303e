"""A buffer in memory that speaks section drain of the protocol, and servers that misbehave below HTTP."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import zmq

from common import wire
from shipper import buffer_connection
from shipper.lease import Lease, LeasedSeries
from tests.patience import Patience

# An hour ahead: what is older than a minute or two goes another way, and a test run lasts longer than that.
NOW_MS = time.time_ns() // 1_000_000 + 3_600_000


class Row(NamedTuple):
    """One pending sample."""

    name: str
    timestamp_ms: int
    value: Any
    tags: Mapping[str, str]
    priority: int = 2


def rows(count: int, name: str = "oracle.number", *, priority: int = 2, first: int = 0) -> list[Row]:
    """Return samples numbered by their value, each a series of its own so that the order of the body is theirs."""
    return [Row(name, NOW_MS + n, n, {"slot": str(n)}, priority) for n in range(first, first + count)]


def lease_of(samples: Iterable[Row], number: int = 1, asked: int = 2500) -> Lease:
    """Return a lease of samples, grouped as the buffer groups them."""
    by_series: dict[tuple[str, tuple[tuple[str, str], ...]], list[Row]] = {}
    for row in samples:
        by_series.setdefault((row.name, tuple(row.tags.items())), []).append(row)
    series = [
        LeasedSeries(name, "box", tags, [row.timestamp_ms for row in found], [row.value for row in found])
        for (name, tags), found in by_series.items()
    ]
    return Lease(number, 2, series, asked)


class StubBuffer:
    """Pending samples, and what was said of them.

    Attributes:
        pending: in order.
        done, rejected: values by batch: what the server has, and what it will not take with the reason.
        released: numbers of leases given back.
        hellos: how often a shipper said hello.
        refuse: operation -> error word, answered instead of doing it.
        mute: operations that get no reply.
        events: rows of events, and `events_sent` the id up to which they were sent.
    """

    def __init__(self, samples: Iterable[Row] = ()) -> None:
        self.pending = list(samples)
        self.done: list[tuple[list[Any], str, int]] = []
        self.rejected: list[tuple[list[Any], str]] = []
        self.released: list[int] = []
        self.asked: list[str] = []
        self.hellos = 0
        self.refuse: dict[str, str] = {}
        self.mute: set[str] = set()
        self.events: list[list[Any]] = []
        self.events_sent = self.events_verified = self.events_missing = 0
        self.events_starts: list[int] = []
        self._leases: dict[int, list[Row]] = {}
        self._number = 100

    @property
    def uploaded(self) -> list[Any]:
        """The values of all samples that are done, in order."""
        return [value for values, _, _ in self.done for value in values]

    def forget_leases(self) -> None:
        """Be as a buffer that was started anew."""
        for leased in self._leases.values():
            self.pending += leased
        self._leases.clear()

    def ask(self, operation: str, **fields: Any) -> dict[str, Any]:
        """Stand in for `BufferConnection.ask`."""
        return buffer_connection._checked(self.answer({"v": 1, "id": 1, "op": operation, **fields}))

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the reply to a request."""
        operation = request["op"]
        self.asked.append(operation)
        reply = {"v": wire.VERSION, "id": request["id"]}
        if operation in self.refuse:
            return {**reply, "error": self.refuse[operation], "detail": "as told"}
        if operation in {"done", "reject", "release"} and request["lease"] not in self._leases:
            return {**reply, "error": "unknown_lease", "detail": str(request["lease"])}
        handler: Callable[[dict[str, Any]], dict[str, Any]] | None = getattr(self, f"_{operation}", None)
        if handler is None:
            return {**reply, "error": "bad_request", "detail": f"no operation {operation!r}"}
        return {**reply, **handler(request)}

    def _hello(self, _request: dict[str, Any]) -> dict[str, Any]:
        self.hellos += 1
        self.forget_leases()
        return {"pending": [0, 0, 0, 0]}

    def _lease(self, request: dict[str, Any]) -> dict[str, Any]:
        since_ms, before_ms = request["since_ms"] or 0, request["before_ms"] or wire.LATEST_MS
        fitting = (row for row in self.pending if row.priority == request["priority"])
        taken = [row for row in fitting if since_ms <= row.timestamp_ms < before_ms][: request["max_samples"]]
        if not taken:
            return {"lease": 0, "groups": []}
        gone = set(map(id, taken))
        self.pending = [row for row in self.pending if id(row) not in gone]
        self._number += 1
        lease = lease_of(taken)
        self._leases[self._number] = taken
        groups = [[s.name, s.device_id, dict(s.tags), s.timestamps, s.values] for s in lease.series]
        return {"lease": self._number, "groups": groups}

    def _done(self, request: dict[str, Any]) -> dict[str, Any]:
        values = self._account(request)
        self.done.append((values, request["batch_id"], request["chunk_index"]))
        return {"marked": len(values)}

    def _reject(self, request: dict[str, Any]) -> dict[str, Any]:
        values = self._account(request)
        self.rejected.append((values, request["reason"]))
        return {"marked": len(values)}

    def _release(self, request: dict[str, Any]) -> dict[str, Any]:
        self.released.append(request["lease"])
        self.pending = self._leases.pop(request["lease"]) + self.pending
        return {}

    def _stats(self, request: dict[str, Any]) -> dict[str, Any]:
        times = [[row.timestamp_ms for row in self.pending if row.priority == priority] for priority in range(4)]
        now_ms = max(NOW_MS + 100_000, time.time_ns() // 1_000_000)  # whatever a test numbered is over by then
        limits_ms = [now_ms - 1000 * interval_s for interval_s in request["intervals_s"]]
        return {
            "pending": [len(column) for column in times],
            "due": [sum(ms < limit for ms in column) for column, limit in zip(times, limits_ms, strict=True)],
            "oldest_ms": [min(column, default=None) for column in times],
        }

    def _audit(self, _request: dict[str, Any]) -> dict[str, Any]:
        """Nothing is old enough to be compared."""
        return {
            "start_ms": None, "width_ms": 60_000, "uploaded_ms": None, "series": [],
            "verified_until_ms": None, "unverified_samples": 0,
        }  # fmt: skip

    def _recheck(self, _request: dict[str, Any]) -> dict[str, Any]:
        """Nothing is to be counted again."""
        return {"start_ms": None}

    def _accepted(self, _request: dict[str, Any]) -> dict[str, Any]:
        """Nothing was accepted before any start of the server."""
        return {"is_known": False, "groups": []}

    def _events(self, _request: dict[str, Any]) -> dict[str, Any]:
        return {"device_id": "box", "events": [row for row in self.events if row[0] > self.events_sent][:2]}

    def _events_audit(self, _request: dict[str, Any]) -> dict[str, Any]:
        """Give all that was sent, until somebody has counted it."""
        sent = [row for row in self.events if self.events_verified < row[0] <= self.events_sent]
        if not sent:
            return {"upto": 0}
        times_ms = [row[1] for row in sent]
        return {
            "upto": sent[-1][0], "device_id": "box", "start_ms": min(times_ms), "end_ms": max(times_ms),
            "events": len(sent),
        }  # fmt: skip

    def _events_verdict(self, request: dict[str, Any]) -> dict[str, Any]:
        self.events_missing += request["missing"]
        if request["missing"]:
            self.events_sent = self.events_verified
        else:
            self.events_verified = request["upto"]
        return {}

    def _events_restarted(self, request: dict[str, Any]) -> dict[str, Any]:
        self.events_starts.append(request["started_s"])
        return {}

    def _events_sent(self, request: dict[str, Any]) -> dict[str, Any]:
        self.events_sent = request["upto"]
        return {}

    def _too_old(self, _request: dict[str, Any]) -> dict[str, Any]:
        """Nothing is."""
        return {"quarantined": 0}

    def _restarted(self, _request: dict[str, Any]) -> dict[str, Any]:
        return {"requeued": 0}

    def _account(self, request: dict[str, Any]) -> list[Any]:
        """Take what is accounted for off the lease; `upto` counts from the lease's begin."""
        leased = self._leases[request["lease"]]
        gone = getattr(self, f"_gone_{request['lease']}", 0)
        taken, rest = leased[: request["upto"] - gone], leased[request["upto"] - gone :]
        assert taken, "upto has to move on"
        setattr(self, f"_gone_{request['lease']}", request["upto"])
        self._leases[request["lease"]] = rest
        if not rest:
            del self._leases[request["lease"]]
        return [row.value for row in taken]


class BoundBuffer:
    """A stub buffer on its real sockets, in a thread."""

    def __init__(self, run_dir: Path, stub: StubBuffer) -> None:
        self.stub = stub
        self._run_dir = run_dir
        self._end = threading.Event()
        self._due = threading.Event()
        self._bound = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> BoundBuffer:
        self._thread.start()
        assert self._bound.wait(5)
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join(5)

    def push(self, row: Row) -> None:
        """Commit a sample of P0 and say so on the feed."""
        self.stub.pending.append(row)
        self._due.set()

    def _serve(self) -> None:
        context = zmq.Context()
        router, feed = context.socket(zmq.ROUTER), context.socket(zmq.PUB)
        router.bind(f"ipc://{self._run_dir / 'drain.ipc'}")
        feed.bind(f"ipc://{self._run_dir / 'feed.ipc'}")
        self._bound.set()
        while not self._end.is_set():
            if self._due.is_set():
                self._due.clear()
                feed.send_multipart([wire.DUE_TOPIC, b""])
            if router.poll(5):
                peer, frame = router.recv_multipart()
                request = wire.unpack(frame)
                if request["op"] not in self.stub.mute:
                    router.send_multipart([peer, wire.pack(self.stub.answer(request))])
        router.close(linger=0)
        feed.close(linger=0)
        context.term()


@contextmanager
def tcp_server(serve: Callable[[socket.socket], None]) -> Iterator[str]:
    """Yield the URL of a server that does with each connection, one after another, what a test says."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.02)
    end = threading.Event()

    def run() -> None:
        while not end.is_set():
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            with connection:
                connection.settimeout(30)
                try:
                    serve(connection)
                except OSError:
                    pass  # the client had enough of it
        listener.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/api/v1/import"
    finally:
        end.set()
        thread.join(10)


def wait_for(what: str, probe: Callable[[], object], timeout_s: float = 10.0) -> None:
    """Return once a probe is true; fail when it does not become so in time."""
    patience = Patience(timeout_s)
    while not probe():
        assert not patience.is_over(), f"waited {timeout_s:g} s for {what}"
        time.sleep(0.005)
