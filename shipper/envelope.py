"""Encode samples as the body of the PRD's remote contract: one JSON object with a list of metrics. Pure.

`{"session_id", "device_id", "timestamp", "metrics": [{"name", "value", "tags", "timestamp"}]}`, names as the documents
have them (dotted), times in RFC 3339 with milliseconds. The answer says `received` and `checkpoint`.
"""

from __future__ import annotations

import json

from common import clock
from shipper.lease import Lease

PATH = "/metrics"  # after a base URL such as https://host/api/v1


def upload_url(remote_url: str) -> str:
    """Return the URL of uploads: `/metrics` below the configured one, unless it is that already."""
    base, question, query = remote_url.partition("?")
    base = base.rstrip("/")
    return (base if base.endswith(PATH) else base + PATH) + question + query


def body(lease: Lease, start: int, stop: int) -> bytes:
    """Return samples [start, stop), in the order of the lease."""
    parts = list(lease.parts(start, stop))
    metrics = [
        {"name": series.name, "value": value, "tags": dict(series.tags), "timestamp": clock.rfc3339(timestamp_ms)}
        for series, first, last in parts
        for timestamp_ms, value in zip(series.timestamps[first:last], series.values[first:last], strict=True)
    ]
    document = {
        "session_id": lease.session_id,
        "device_id": parts[0][0].device_id if parts else "",
        "timestamp": metrics[-1]["timestamp"] if metrics else clock.rfc3339(clock.wall_ms()),
        "metrics": metrics,
    }
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
