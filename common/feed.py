"""Subscribe to the batches that the buffer commits.

Reads `feed.ipc`, yields batches. A reader that is too slow loses some of them; the database has them all.
A message that cannot be decoded is skipped: the buffer checks what it sends, so another version sent it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import zmq

from common import wire
from common.sample import Batch

BATCHES_PER_TURN = 200  # then the reader's other work gets its turn


def subscribe(run_dir: Path, topic: bytes) -> zmq.Socket[bytes]:
    """Return a subscription to a topic of the feed, whose socket may come later."""
    socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.SUB)
    socket.setsockopt(zmq.RECONNECT_IVL, 100)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, 1000)
    socket.subscribe(topic)
    socket.connect(f"ipc://{run_dir / 'feed.ipc'}")
    return socket


class Feed:
    """A subscription to the feed.

    Args:
        run_dir: where `feed.ipc` is; it may come later.

    Attributes:
        socket: for the run loop's poller; read `batches` when it is readable.
    """

    def __init__(self, run_dir: Path) -> None:
        self.socket = subscribe(run_dir, wire.COMMITTED_TOPIC)

    def batches(self) -> Iterator[Batch]:
        """Yield the batches that have arrived, at most one turn's worth."""
        for _ in range(BATCHES_PER_TURN):
            try:
                frames = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            try:
                batch, _ = wire.decode_batch(frames[-1])
            except wire.WireError:
                continue
            yield batch

    def close(self) -> None:
        """Close the socket."""
        self.socket.close(linger=0)
