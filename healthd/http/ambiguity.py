"""Detect request heads that a proxy and this server could interpret differently (request smuggling). Pure.

Source: RFC 9112, sections 2.2 (line ends), 3.2 (Host), 5.1 and 5.2 (fields), 6.1 and 6.3 (length of the body).
"""

from __future__ import annotations

import re
from collections import Counter

_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([^\x00\r\n]*)")  # neither a space before the colon nor a fold
_HTTP_1_1 = "HTTP/1.1"


def is_ambiguous(head: bytes, version: str) -> bool:
    """Return whether a head has to be refused.

    Args:
        head: request line, fields and the empty line.
        version: of the request line, e.g. ``HTTP/1.1``.
    """
    fields = [_FIELD.fullmatch(line) for line in head.removesuffix(b"\r\n\r\n").split(b"\r\n")[1:]]
    named = [(field[1].lower(), field[2].strip(b" \t")) for field in fields if field]
    if len(named) < len(fields):
        return True
    times = Counter(name for name, _ in named)
    lengths = [value for name, value in named if name == b"content-length"]
    if len(lengths) > 1 or not all(re.fullmatch(rb"[0-9]+", value) for value in lengths):
        return True
    if times[b"transfer-encoding"] and (lengths or version != _HTTP_1_1):
        return True
    return times[b"host"] > 1 or (version == _HTTP_1_1 and not times[b"host"])
