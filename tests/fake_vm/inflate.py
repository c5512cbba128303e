"""Undo a Content-Encoding as the server does.

In: the bytes of a request body and its Content-Encoding.
Out: the decoded bytes, as far as they go, and what is wrong with the rest, if
anything. A body that merely ends early is not wrong: v1.94.0 and later treat an
unexpected end like an ordinary one.
"""

from __future__ import annotations

import zlib
from typing import NamedTuple

# RFC 1952, section 2.3: magic 2, method 1, flags 1, time 4, extra 1, system 1.
GZIP_HEADER_BYTES = 10
# RFC 1950, section 2.2: CMF and FLG.
ZLIB_HEADER_BYTES = 2
_GZIP_WBITS = 31
_ZLIB_WBITS = 15


class Decoded(NamedTuple):
    """Decoded bytes; `error` is what the server would answer 400 with."""

    data: bytes
    error: str | None = None


def decode(body: bytes, encoding: str) -> Decoded:
    """Decode `body`; names are matched exactly, lower case, as the server does."""
    if encoding in {"", "none", "identity"}:
        return Decoded(body)
    if encoding == "gzip":
        return _gunzip(body)
    if encoding == "deflate":
        return _unzlib(body)
    return Decoded(b"", f"unsupported contentType: {encoding}")


def _gunzip(body: bytes) -> Decoded:
    if len(body) < GZIP_HEADER_BYTES:
        return Decoded(b"", "cannot read gzip header: unexpected EOF")
    parts: list[bytes] = []
    # Several members may follow each other. Fewer bytes than a header after the
    # last one read as an early end, not as an error.
    while len(body) >= GZIP_HEADER_BYTES:
        stream = zlib.decompressobj(_GZIP_WBITS)
        try:
            parts.append(stream.decompress(body))
        except zlib.error as error:
            parts.append(_decode_until_flaw(body, _GZIP_WBITS))
            return Decoded(b"".join(parts), f"cannot read gzip data: {error}")
        body = stream.unused_data
    return Decoded(b"".join(parts))


def _unzlib(body: bytes) -> Decoded:
    if len(body) < ZLIB_HEADER_BYTES:
        return Decoded(b"", "cannot read zlib header: unexpected EOF")
    try:
        return Decoded(zlib.decompressobj(_ZLIB_WBITS).decompress(body))
    except zlib.error as error:
        data = _decode_until_flaw(body, _ZLIB_WBITS)
        return Decoded(data, f"cannot read zlib data: {error}")


def _decode_until_flaw(body: bytes, wbits: int) -> bytes:
    """Return what decodes before the flaw (a wrong checksum comes after it all).

    A call of `decompress` that fails gives nothing back, hence byte by byte.
    """
    stream = zlib.decompressobj(wbits)
    parts: list[bytes] = []
    try:
        parts.extend(stream.decompress(body[i : i + 1]) for i in range(len(body)))
    except zlib.error:
        pass
    return b"".join(parts)
