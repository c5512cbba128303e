"""An urgent sample on its way into the database."""

from __future__ import annotations

import time

from common import clock
from common.publisher import Publisher
from common.sample import Sample


def publish(publisher: Publisher, sample: Sample) -> float:
    """Publish a sample, wait for its ack; return how long that took, in seconds."""
    began_s = time.perf_counter()
    publisher.publish([sample], clock.wall_ms(), urgent=True)
    while publisher.unacked_samples:
        publisher.socket.poll(1000)
        publisher.receive()
    return time.perf_counter() - began_s
