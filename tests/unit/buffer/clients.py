"""The buffer's two sides as tests use them: a producer that waits for its acks, and a shipper that asks."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import zmq

from common import wire
from common.instruments import Instruments
from common.log import Log
from common.publisher import Publisher
from common.sample import Sample
from tests.unit.buffer.databases import NOW_MS
from tests.unit.common.peers import serve

TIMEOUT_MS = 20_000

# `python -m buffer` with metrics of every priority in its catalogue: 0 is alarm.0, 1 is alarm.1, …
WITH_ALARMS = """
import runpy, sys
from common import catalog
for priority in range(4):
    name = f"alarm.{priority}"
    catalog.METRICS[name] = catalog.Metric(name, "gauge", "", (), "A test's.", priority, f"alarm_{priority}")
sys.argv = ["buffer"]
runpy.run_module("buffer", run_name="__main__")
"""

# What somebody with `sqlite3` does.
PROMPT = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute(sys.argv[2])
connection.execute("SELECT count(*) FROM samples").fetchall()
print("held", flush=True)
sys.stdin.read()
"""


class Producer:
    """A real publisher."""

    def __init__(self, run_dir: Path, name: str = "p") -> None:
        self.publisher = Publisher(name, run_dir, Instruments(), Log("test"), 1_000_000)

    def __enter__(self) -> Producer:
        return self

    def __exit__(self, *_: object) -> None:
        self.publisher.close()

    def put(self, *samples: Sample, at_ms: int = NOW_MS, urgent: bool = False) -> None:
        """Publish one batch."""
        self.publisher.publish(samples, at_ms, urgent=urgent)

    def numbers(self, numbers: Iterable[int], name: str = "m", at_ms: int = NOW_MS) -> None:
        """Publish one batch for each number, a millisecond apart."""
        for number in numbers:
            self.put(Sample(name, number), at_ms=at_ms + number)

    def settle(self) -> None:
        """Wait until everything published is acked, so that it is in the database."""
        serve(self.publisher, "all acks", lambda: not self.publisher.unacked_samples)


class Shipper:
    """The shipper's DEALER end of `drain.ipc`.

    Args:
        run_dir: where that is.
        serve: has a buffer of this process answer what was sent; nothing for one in a process of its own.
    """

    def __init__(self, run_dir: Path, serve: Callable[[], None] = lambda: None) -> None:
        self._serve = serve
        self.socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.DEALER)
        self.socket.connect(f"ipc://{run_dir / 'drain.ipc'}")
        self._numbers = count(1)

    def __enter__(self) -> Shipper:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close(linger=0)

    def ask(self, op: object, **fields: Any) -> dict[str, Any]:
        """Send a request; return its reply."""
        number = next(self._numbers)
        self.socket.send(wire.pack({"v": wire.VERSION, "id": number, "op": op, **fields}))
        self._serve()
        return self.reply_to(number)

    def reply_to(self, number: object) -> dict[str, Any]:
        """Return the next reply, which has to be to this request."""
        assert self.socket.poll(TIMEOUT_MS), f"no reply to {number}"
        reply = wire.unpack(self.socket.recv())
        assert number == reply["id"]
        return reply

    def lease(self, most: int = 1000, priority: int = 2, before_ms: int | None = None) -> tuple[int, list[Any]]:
        """Lease samples; return the lease's number and its groups."""
        reply = self.ask("lease", priority=priority, max_samples=most, before_ms=before_ms)
        return reply["lease"], reply["groups"]

    def done(self, lease: int, upto: int, batch_id: str = "b", chunk_index: int = 0) -> dict[str, Any]:
        """Say that samples are at the server."""
        return self.ask("done", lease=lease, upto=upto, batch_id=batch_id, chunk_index=chunk_index)

    def pending(self) -> list[int]:
        """Return how many samples of each priority are pending; every lease is void after it."""
        counts: list[int] = self.ask("hello")["pending"]
        return counts


def values(groups: list[Any]) -> list[float]:
    """Return the values of a lease in order of its numbers."""
    return [value for group in groups for value in group[4]]


def accounted(reply: dict[str, Any]) -> dict[str, Any]:
    """Return a reply without what every reply has."""
    return {key: value for key, value in reply.items() if key not in {"v", "id"}}


class RawProducer:
    """An XPUB that sends whatever it is told to, under any topic, and takes note of acks."""

    def __init__(self, run_dir: Path) -> None:
        self.socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.XPUB)
        self.socket.setsockopt(zmq.XPUB_MANUAL, 1)  # the buffer subscribes `sample`; it is sent everything
        self.socket.setsockopt(zmq.XPUB_NODROP, 1)
        self.socket.connect(f"ipc://{run_dir / 'ingest.ipc'}")
        assert self.socket.poll(TIMEOUT_MS), "no subscription"
        assert self.socket.recv() == b"\x01" + wire.SAMPLE_TOPIC
        self.socket.setsockopt(zmq.SUBSCRIBE, b"")
        self._acks: list[wire.Ack] = []

    def __enter__(self) -> RawProducer:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close(linger=1000)

    def send(self, *frames: bytes) -> None:
        """Send one message; wait while the pipe is full."""
        self.socket.send_multipart(frames)

    def acks(self) -> list[wire.Ack]:
        """Return the acks that have come so far."""
        while self.socket.poll(0):
            frame = self.socket.recv()
            if frame.startswith(wire.ACK_PREFIX):
                self._acks += wire.decode_acks(frame)
        return self._acks

    def acked(self) -> set[int]:
        """Return the numbers that have been acked so far."""
        return {seq for ack in self.acks() for seq in ack.seqs}


@contextmanager
def prompt(path: Path, begin: str) -> Iterator[int]:
    """Keep a transaction open in another process; give its pid."""
    command = [sys.executable, "-c", PROMPT, str(path), begin]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert b"held\n" == process.stdout.readline()
        yield process.pid
        process.kill()
