"""A drain in this process, and a shipper that asks it over its socket."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import zmq

from buffer.delivery.drain import Drain
from buffer.delivery.upload_marks import UploadMarks
from buffer.storage.store import Store
from common import catalog, wire
from common.instruments import Instruments
from common.log import Log
from common.sample import Sample
from common.service import Service
from common.status import BufferStatus
from tests.unit.buffer.clients import TIMEOUT_MS, Shipper
from tests.unit.buffer.databases import NOW_MS, batch


class Buffer:
    """A drain with its store, asked as the shipper asks.

    Attributes:
        socket: its end.
        failures: errors of the database that it passed on.
    """

    def __init__(self, store: Store, run_dir: Path) -> None:
        self.store, self.instruments, self.failures = store, Instruments(), list[BaseException]()
        loop = SimpleNamespace(on_readable=self._take)
        process = SimpleNamespace(
            instruments=self.instruments, log=Log("buffer"), loop=loop, run_dir=run_dir, failed=self.failures.append
        )
        self.marks = UploadMarks(store, run_dir)
        self.drain = Drain(cast("Service", process), store, self.marks, BufferStatus())
        self._seq = 0

    def _take(self, socket: zmq.Socket[bytes], _step: object) -> None:
        self.socket = socket

    def close(self) -> None:
        """Let go of socket and file, whatever is under way."""
        self.socket.close(linger=0)
        self.marks.close()

    def serve(self) -> None:
        """Do a turn of the loop once a request has arrived."""
        assert self.socket.poll(TIMEOUT_MS)
        self.drain.receive()

    def put(self, *samples: Sample, at_ms: int = NOW_MS) -> None:
        """Store a batch."""
        self._seq += 1
        rows = [(sample.name, sample.value, sample.tags) for sample in samples]
        self.store.write([batch(*rows, seq=self._seq, at_ms=at_ms)])

    def numbers(self, numbers: range, at_ms: int = NOW_MS) -> None:
        """Store a sample for each number, a millisecond apart."""
        self.store.write([batch(("m", number), seq=number, at_ms=at_ms + number) for number in numbers])


@pytest.fixture
def buffer(store: Store, run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Buffer]:
    """A drain, and metrics of every priority: alarm.0 is of 0, and so on."""
    for priority in range(4):
        row = catalog.Metric(f"alarm.{priority}", "gauge", "", (), "A test's.", priority, f"alarm_{priority}")
        monkeypatch.setitem(catalog.METRICS, row.name, row)
    catalog.find.cache_clear()
    made = Buffer(store, run_dir)
    yield made
    made.close()
    catalog.find.cache_clear()


@pytest.fixture
def shipper(buffer: Buffer, run_dir: Path) -> Iterator[Shipper]:
    """Its shipper."""
    with Shipper(run_dir, buffer.serve) as one:
        yield one


class Frames:
    """A socket on which messages wait, and nobody takes a reply."""

    def __init__(self, *requests: dict[str, Any]) -> None:
        self.waiting = [[b"nobody", wire.pack({"v": wire.VERSION, **request})] for request in requests]

    def recv_multipart(self, _flags: int) -> list[bytes]:
        """Return the next message."""
        if not self.waiting:
            raise zmq.Again
        return self.waiting.pop(0)

    def send_multipart(self, *_: object) -> None:
        """Fail as a ROUTER does that knows nobody of that name."""
        raise zmq.ZMQError(zmq.EHOSTUNREACH)
