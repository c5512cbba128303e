"""Choose the number of samples in one request: few at first, more while there is a backlog, few on a bad link. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from common.remote import Remote

GROWTH = 4
MAX_CHUNK_SAMPLES = 25_000  # with their lease about 10 MB of memory; twice as many are no faster and save 5 %
BYTES_MARGIN = 0.8  # of the byte cap: the next samples may not compress as well as the last
KEPT = 0.8  # of what was measured, with each upload: about the last five count, large ones more
SMALL_BYTES = 2048  # at 8 KiB/s, the EDGE of a crowded field, they take a quarter of a second
LATENCY_GROWTH = 1.25  # with each small body that took longer
LEAST_SHARE = 0.1  # of an upload's duration is what its bytes took, however small it is
REQUEST_SHARE = 0.25  # of lane P1's interval, for one request with old samples: what is urgent waits for its end


@dataclass(frozen=True)
class ChunkSize:
    """The size of the next request of a kind.

    Attributes:
        samples: for the next request.
        ceiling: never more; half of what was refused for its size.
        patience: requests at the ceiling that have to be taken before a larger one is tried; doubled by each refusal.
        at_ceiling: how many were.
    """

    samples: int
    ceiling: int = MAX_CHUNK_SAMPLES
    patience: int = 1
    at_ceiling: int = 0

    def grown(self, samples: int, body_bytes: int, chunk_bytes: int) -> ChunkSize:
        """Return the size after a request of so many samples was accepted and more are waiting."""
        at_ceiling, ceiling = self.at_ceiling + (samples >= self.ceiling), self.ceiling
        if at_ceiling >= self.patience:  # a refusal once is not for ever
            at_ceiling, ceiling = 0, min(2 * ceiling, MAX_CHUNK_SAMPLES)
        by_bytes = int(BYTES_MARGIN * chunk_bytes * samples / max(body_bytes, 1))
        # A chunk that the end of a lease or the byte cap kept small says nothing about going faster.
        wanted = self.samples * GROWTH if samples >= self.samples else self.samples
        return replace(self, samples=max(1, min(wanted, by_bytes, ceiling)), ceiling=ceiling, at_ceiling=at_ceiling)

    def reset(self, chunk_size: int) -> ChunkSize:
        """Return the size to begin with again."""
        return replace(self, samples=min(chunk_size, self.ceiling))

    def halved(self, samples: int) -> ChunkSize:
        """Return the size after a body of so many samples was refused as too large."""
        ceiling = max(1, samples // 2)
        return ChunkSize(min(self.samples, ceiling), ceiling, 2 * self.patience)


@dataclass(frozen=True)
class Uplink:
    """How fast uploads go: bytes over time, of bodies that the server took, without its latency.

    The sum of both is kept, not of their quotient: a small body says how far away the server is, only a
    large one how wide the way. A server that takes seconds for each request would else never get a large one.

    Attributes:
        bytes, duration_s: of the last uploads; of the duration what the bytes took.
        sample_bytes: of the last one.
        latency_s: what an upload takes without its bytes: the quickest small one, forgotten slowly; None before one.
    """

    bytes: float = 0.0
    duration_s: float = 0.0
    sample_bytes: float = 0.0
    latency_s: float | None = None

    def measured(self, samples: int, body_bytes: int, duration_s: float) -> Uplink:
        """Return the measurement with one more upload."""
        latency_s = self.latency_s
        if body_bytes <= SMALL_BYTES:
            latency_s = min(duration_s, duration_s if latency_s is None else latency_s * LATENCY_GROWTH)
        took_s = max(duration_s - (latency_s or 0.0), LEAST_SHARE * duration_s, 1e-6)
        return Uplink(
            KEPT * self.bytes + body_bytes,
            KEPT * self.duration_s + took_s,
            body_bytes / samples if samples else self.sample_bytes,
            latency_s,
        )

    @property
    def bytes_per_s(self) -> float:
        """The measured rate; 0 before the first upload."""
        return self.bytes / self.duration_s if self.duration_s else 0.0

    def fitting(self, most: int, remote: Remote) -> int:
        """Return how many old samples may go at once; few while nothing is known."""
        if not self.sample_bytes:
            return min(remote.chunk_size, most)
        request_s = REQUEST_SHARE * max(remote.lanes.high_s, 1.0)
        return min(most, max(int(self.bytes_per_s * request_s / self.sample_bytes), remote.chunk_size))

    def pause_s(self, body_bytes: int, remote: Remote) -> float:
        """Return the time from one request with old samples to the next: their share of requests and of bytes."""
        share = self.bytes_per_s * remote.backfill.bandwidth_percent / 100
        return max(1 / remote.backfill.requests_per_s, body_bytes / share if share else 0.0)
