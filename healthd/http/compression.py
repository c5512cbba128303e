"""Compress answers with gzip if the client accepts it: a viewer over LTE pays for each byte.

Consecutive pictures of the live stream hardly differ, so the compressor of each watcher is kept: they shrink to 5 %.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from functools import lru_cache

from healthd.http.connection import Reply, Request

LEAST_BYTES = 512  # less is one packet in any case
GZIP_BITS = 16  # of zlib's wbits: with gzip's head and check
WINDOW_BITS, MEMORY_LEVEL = 14, 5  # 16 KiB of memory of what was sent: two pictures; 80 KiB for a watcher


def applied(answer: Reply, request: Request) -> Reply:
    """Return an answer, compressed if the client accepts gzip."""
    if "gzip" not in request.headers.get("accept-encoding", "") or not _shrinks(answer):
        return answer
    headers = (*answer.headers, ("Content-Encoding", "gzip"), ("Vary", "Accept-Encoding"))
    if answer.pieces is not None:
        return answer._replace(headers=headers, pieces=stream(answer.pieces))
    return answer._replace(headers=headers, body=_compressed(answer.body))


def stream(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Yield each piece compressed and flushed, so that the client can decode it at once."""
    compressor = zlib.compressobj(6, zlib.DEFLATED, WINDOW_BITS + GZIP_BITS, MEMORY_LEVEL)
    for piece in pieces:
        yield compressor.compress(piece) + compressor.flush(zlib.Z_SYNC_FLUSH)


def _shrinks(answer: Reply) -> bool:
    return answer.pieces is not None or len(answer.body) >= LEAST_BYTES


@lru_cache(maxsize=32)  # the page's files and the picture of this second
def _compressed(body: bytes) -> bytes:
    return gzip.compress(body, 6)
