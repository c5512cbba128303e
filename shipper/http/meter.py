"""What the connections really carried, as the kernel counts it.

Reads TCP_INFO of each connection after every exchange: payload sent and received with TLS, HTTP headers and
retransmissions, and 52 bytes of IPv4 and TCP header for each segment either way. Not in it: name lookups,
what the link layer adds, and received bytes that came twice.
"""

from __future__ import annotations

import socket
import struct
from typing import Any

# struct tcp_info of include/uapi/linux/tcp.h; the kernel gives as much of it as it has.
_INFO_BYTES = 256
_ACKED = struct.Struct("=120xQQII")  # bytes_acked, bytes_received, segs_out, segs_in: Linux 4.2
_SENT = struct.Struct("=200xQ")  # bytes_sent, retransmissions included: Linux 4.19
HEADER_BYTES = 20 + 20 + 12  # IPv4, TCP, its timestamp option


def carried(connection: socket.socket) -> int:
    """Return how many bytes a connection has carried so far, 0 where the kernel does not say."""
    try:
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_BYTES)
    except OSError:
        return 0  # not TCP
    if len(info) < _ACKED.size:
        return 0
    sent, received, segments_out, segments_in = _ACKED.unpack_from(info)
    if len(info) >= _SENT.size:
        (sent,) = _SENT.unpack_from(info)
    return int(sent + received + HEADER_BYTES * (segments_out + segments_in))


class Meter:
    """The sum over all connections.

    A connection is read through a duplicate of its socket, which outlives what the libraries do to theirs:
    TLS takes it away, an answer with `Connection: close` closes it before its body is read.

    Attributes:
        made: how many connections there were so far.
    """

    def __init__(self) -> None:
        self.made = 0
        self._gone = 0
        self._live: list[tuple[Any, socket.socket]] = []

    def watch(self, connection: Any, made: socket.socket) -> None:
        """Count what a connection carries; its attribute `sock` is None once it is closed."""
        self.made += 1
        self._live.append((connection, made.dup()))

    def failed(self, attempt: socket.socket) -> None:
        """Count a connection that was not made."""
        self._gone += carried(attempt)

    def read(self) -> int:
        """Return the bytes carried by all connections so far; forget the closed ones.

        Between exchanges only: a connection that is being made has no socket yet either.
        """
        for watched in list(self._live):
            connection, duplicate = watched
            if connection.sock is None:
                self._gone += carried(duplicate)
                duplicate.close()
                self._live.remove(watched)
        return self._gone + sum(carried(duplicate) for _, duplicate in self._live)
