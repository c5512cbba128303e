"""What is old goes behind what is fresh, and slowly. Pure: times are arguments.

Old is what an outage, a held lane or an audit left behind; it may fill a share of the uplink and no more, and
no request with it takes so long that a fresh P1 would miss its deadline.
"""

from __future__ import annotations

from common.remote import Remote
from shipper.pace.schedule import Pace

# A lane fires once an interval, so a sample waits for one and its commit; a second one lets a slow lane be.
FRESH_INTERVALS = 2
FRESH_UPLOAD_INTERVALS = 2  # a retry or two is no outage
# Of lane P1's interval, for one request: what is urgent waits for its end.
REQUEST_SHARE = 0.25
KEPT = 0.8  # of what was measured, with each upload: about the last five count, large ones more


def fresh_s(remote: Remote, priority: int, commit_interval_s: float, least_interval_s: float = 0.0) -> float:
    """Return up to which age, in seconds, a sample of a priority is fresh.

    Args:
        remote: section remote.
        priority: of the lane.
        commit_interval_s: how long the buffer may keep a sample before it is asked for.
        least_interval_s: what the lane's interval is stretched to.
    """
    interval_s = max(remote.priority.interval_s(priority), least_interval_s)
    return max(FRESH_INTERVALS * interval_s, FRESH_UPLOAD_INTERVALS * remote.upload_interval_s) + commit_interval_s


class Uplink:
    """How fast uploads go: bytes over time, of bodies that the server took.

    The sum of both is kept, not of their quotient: a small body says how far away the server is, only a
    large one how wide the way.
    """

    def __init__(self) -> None:
        self._bytes = self._duration_s = 0.0

    def measured(self, body_bytes: int, duration_s: float) -> None:
        """Take an upload into account."""
        self._bytes = KEPT * self._bytes + body_bytes
        self._duration_s = KEPT * self._duration_s + max(duration_s, 1e-6)

    @property
    def bytes_per_s(self) -> float | None:
        """What was measured; None before the first upload."""
        return self._bytes / self._duration_s if self._duration_s else None


class Backfill:
    """When the next request with old samples may go, and how large.

    Args:
        remote: section remote.
        uplink: as measured by all uploads.

    Attributes:
        enabled: old samples go at all.
        until_s: not before; monotonic.
        pace: samples in a request, as far as the bytes allow.
    """

    def __init__(self, remote: Remote, uplink: Uplink) -> None:
        self._settings = remote.backfill
        self._uplink = uplink
        self._least = remote.chunk_size
        self._request_s = REQUEST_SHARE * max(remote.priority.high_s, 1.0)
        self._sample_bytes = 0.0
        self.enabled = remote.backfill.enabled
        self.until_s = 0.0
        self.pace = Pace(remote.chunk_size, remote.chunk_bytes)

    def most(self) -> int:
        """Return how many samples the next request may hold; few while nothing is known of the uplink."""
        bytes_per_s = self._uplink.bytes_per_s
        if bytes_per_s is None or not self._sample_bytes:
            return min(self._least, self.pace.samples)
        fitting = int(bytes_per_s * self._request_s / self._sample_bytes)
        return min(self.pace.samples, max(fitting, self._least))

    def accepted(self, samples: int, body_bytes: int) -> None:
        """A request was taken as a whole: the next one may be larger."""
        self._sample_bytes = body_bytes / samples
        self.pace.succeeded(samples, body_bytes)

    def sent(self, began_s: float, body_bytes: int) -> None:
        """Have the next request wait: a token bucket as deep as one request, for bytes and for requests."""
        wait_s = 1 / self._settings.requests_per_s
        bytes_per_s = self._uplink.bytes_per_s
        if bytes_per_s:
            wait_s = max(wait_s, body_bytes / (bytes_per_s * self._settings.bandwidth_percent / 100))
        self.until_s = began_s + wait_s
