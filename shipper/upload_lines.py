"""Log uploads: each chunk at level debug, and a summary of each lane's rounds at level info.

A line for each round would be 11,000 a day, and each is a page of flash: the first round of a lane has one, then once
in ten minutes what there was since. What fails has a line for each attempt (`Report.trouble`).
"""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from common.log import Log
from shipper.http.client import Exchange
from shipper.upload import Upload

EVERY_S = 600.0


class UploadLines:
    """The lines of one shipper.

    Args:
        log: takes them.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self._totals: dict[int, Counter[str]] = {}
        self._due_s: dict[int, float] = {}

    def fields(self, upload: Upload, exchange: Exchange, endpoint: str, attempt: int) -> dict[str, Any]:
        """Return the fields of a request's log line."""
        return {
            **_names(upload, endpoint),
            "chunk_index": upload.chunk_index,
            "attempt": attempt,
            "count": exchange.samples,
            "http_status": exchange.status or None,
            "bytes_sent": exchange.bytes_sent,
            "bytes_rcvd": exchange.bytes_rcvd,
            "duration_ms": round(1000 * exchange.duration_s, 1),
        }

    def ended(self, upload: Upload, endpoint: str, now_s: float) -> None:
        """Add a finished round to its lane's totals, and write the lane's line if it is due."""
        priority = upload.lease.priority
        total = self._totals.setdefault(priority, Counter())
        total.update(
            rounds=1, count=upload.accepted, rejected=upload.rejected, chunks=upload.chunk_index,
            bytes_sent=upload.bytes_sent, bytes_rcvd=upload.bytes_rcvd,
        )  # fmt: skip
        if now_s >= self._due_s.get(priority, now_s):
            took_ms = round(1000 * (time.monotonic() - upload.began_s), 1)
            last = {"priority": priority, "duration_ms": took_ms, "http_status": upload.http_status}
            self._log.info("uploaded", **_names(upload, endpoint), **last, **total)
            self._due_s[priority] = now_s + EVERY_S
            del self._totals[priority]


def _names(upload: Upload, endpoint: str) -> dict[str, str]:
    session_id = upload.lease.session_id
    return {"batch_id": upload.batch_id, **({"session_id": session_id} if session_id else {}), "endpoint": endpoint}
