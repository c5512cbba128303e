"""The other ends of the wire, as plain sockets that a test drives: a buffer that acks what it is told to, and ears."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
import zmq

from common import wire
from common.publisher import Publisher
from common.sample import Batch
from common.wire import Ack, Heartbeat
from tests.harness import wait_for
from tests.patience import Patience

TIMEOUT_S = 20.0


class RawBuffer:
    """The buffer's XSUB end of `ingest.ipc` and nothing behind it.

    Args:
        run_dir: where to bind.
        queue: messages it takes in without reading them.

    Attributes:
        payloads: what has been taken, in order.
    """

    def __init__(self, run_dir: Path, queue: int = 1000) -> None:
        self.socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.XSUB)
        self.socket.setsockopt(zmq.RCVHWM, queue)
        self.socket.bind(f"ipc://{run_dir / 'ingest.ipc'}")
        self.socket.send(b"\x01" + wire.SAMPLE_TOPIC)
        self.payloads: list[bytes] = []

    def __enter__(self) -> RawBuffer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def batches(self) -> list[Batch]:
        """What has been taken, decoded."""
        return [wire.decode_batch(payload)[0] for payload in self.payloads]

    @property
    def seqs(self) -> list[int]:
        """The numbers of what has been taken."""
        return [batch.seq for batch in self.batches]

    def take(self) -> int:
        """Read everything that is there; return how much is taken so far."""
        while self.socket.poll(0):
            topic, payload = self.socket.recv_multipart()
            assert topic == wire.SAMPLE_TOPIC
            self.payloads.append(payload)
        return len(self.payloads)

    def ack(self, batches: Iterable[Batch]) -> None:
        """Say that batches are committed."""
        self.say(wire.encode_acks([Ack(batch.producer, batch.epoch, [batch.seq]) for batch in batches]))

    def say(self, frame: bytes) -> None:
        """Send any frame upstream."""
        self.socket.send(frame)

    def close(self) -> None:
        """Go away without a word."""
        self.socket.close(linger=0)


class Ears:
    """Healthd's SUB end of `health.ipc`.

    Attributes:
        heard: every heartbeat so far, in order.
    """

    def __init__(self, run_dir: Path) -> None:
        self.socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.SUB)
        self.socket.subscribe(wire.STATUS_TOPIC)
        self.socket.bind(f"ipc://{run_dir / 'health.ipc'}")
        self.heard: list[Heartbeat] = []

    def __enter__(self) -> Ears:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close(linger=0)

    def wait_for(
        self, what: str, probe: Callable[[Heartbeat], object] = lambda _said: True, timeout_s: float = TIMEOUT_S
    ) -> Heartbeat:
        """Return the first heartbeat from now on for which a probe is true."""
        known = len(self.heard)

        def found() -> Heartbeat | None:
            return next((said for said in self.take()[known:] if probe(said)), None)

        said = wait_for(f"a heartbeat: {what}", found, timeout_s)
        assert said is not None
        return said

    def take(self) -> list[Heartbeat]:
        """Take what has come; return every heartbeat so far."""
        while self.socket.poll(0):
            self.heard.append(wire.decode_heartbeat(self.socket.recv_multipart()[1]))
        return self.heard


def reading(said: Heartbeat, name: str, **tags: str) -> float:
    """Return the sum of a heartbeat's counters or gauges of a name that have these tags."""
    return sum(
        float(row[3])
        for row in said.readings
        if row[1] == name and row[0] != "histogram" and tags.items() <= row[2].items()
    )


def serve(publisher: Publisher, what: str, until: Callable[[], object]) -> None:
    """Do what the run loop does for a publisher until a state is reached."""
    patience = Patience(TIMEOUT_S)
    while not until():
        if patience.is_over():
            pytest.fail(f"waited {TIMEOUT_S:g} s for {what}")
        if publisher.socket.poll(5):
            publisher.receive()
