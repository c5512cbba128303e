"""Connections with one deadline and one byte limit for the whole exchange; all clients of the collectors use them.

A timeout for each single read is not enough: a server that sends one byte a second would block the collector for ever.

Fails: TimeoutError after the deadline, `TooLongError` above the byte limit, or another OSError.
"""

from __future__ import annotations

import io
import os
import socket
import stat
import struct
import time
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

# The C library's resolver takes no deadline: unless told so it gives each name server 5 s, twice. A name that is
# asked for in a tunnel would keep the process for half a minute.
RESOLVER = "timeout:1 attempts:1"
PIECE_BYTES = 65_536

_CREDENTIALS = struct.Struct("3i")  # struct ucred of unix(7): pid, uid, gid


class TooLongError(OSError):
    """The other side sent more bytes than allowed."""


class BoundedSocket:
    """A connected socket with a deadline, with the methods of a socket that `http.client` needs.

    Args:
        connected: the socket.
        deadline_s: monotonic time at which everything is over.
        max_bytes: how much may be received in all.
    """

    def __init__(self, connected: socket.socket, deadline_s: float, max_bytes: int) -> None:
        self._socket = connected
        self._deadline_s = deadline_s
        self._left_bytes = max_bytes

    def sendall(self, data: Any) -> None:
        """Send everything in the time that is left."""
        self._socket.settimeout(left_s(self._deadline_s))
        self._socket.sendall(data)

    def receive_into(self, buffer: Any) -> int:
        """Receive into a buffer in the time that is left; return how much, 0 at the end."""
        if self._left_bytes <= 0:
            raise TooLongError("answers more than it may")
        self._socket.settimeout(left_s(self._deadline_s))
        count = self._socket.recv_into(buffer, min(len(buffer), self._left_bytes))
        self._left_bytes -= count
        return count

    def line(self) -> bytes:
        """Return what comes up to a line feed, or up to the end."""
        buffer, found = bytearray(PIECE_BYTES), b""
        while b"\n" not in found and (count := self.receive_into(buffer)):
            found += buffer[:count]
        return found.partition(b"\n")[0]

    def makefile(self, *_: Any) -> io.BufferedReader:
        """Return what is received, as a file."""
        return io.BufferedReader(_Received(self))

    def close(self) -> None:
        """Leave it open: `http.client` closes before it has read the body; who has made it closes it."""


class _Received(io.RawIOBase):
    def __init__(self, connection: BoundedSocket) -> None:
        self._connection = connection

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._connection.receive_into(buffer)


def left_s(deadline_s: float) -> float:
    """Return the seconds that are left.

    Raises:
        TimeoutError: none are.
    """
    left = deadline_s - time.monotonic()
    if left <= 0:
        raise TimeoutError("no answer in time")
    return left


def dial(host: str, port: int, deadline_s: float, interface: str = "") -> socket.socket:
    """Connect over TCP to the first address that answers; each gets its share of the time.

    Args:
        host: name or address.
        port: where.
        deadline_s: monotonic time.
        interface: to connect through; "": as the routes have it. Linux lets everybody bind a fresh socket since 5.7.

    Raises:
        OSError: none answered.
    """
    os.environ.setdefault("RES_OPTIONS", RESOLVER)  # the resolver reads it when it is first used
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    failure: OSError = TimeoutError("no answer in time")
    for index, (family, kind, protocol, _, address) in enumerate(found):
        share_s = left_s(deadline_s) / (len(found) - index)
        with ExitStack() as on_failure:
            connecting = on_failure.enter_context(socket.socket(family, kind, protocol))
            try:
                if interface:
                    connecting.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
                connecting.settimeout(share_s)
                connecting.connect(address)
            except OSError as error:
                failure = error
                continue
            on_failure.pop_all()
            return connecting
    raise failure


@contextmanager
def local(path: str, timeout_s: float, max_bytes: int, owners: Collection[int]) -> Iterator[BoundedSocket]:
    """Connect to a socket of this machine whose listener is one of some users'.

    Args:
        path: of the socket; a link is not followed.
        timeout_s: for everything.
        max_bytes: how much may be received.
        owners: user ids.

    Raises:
        OSError: there is none (FileNotFoundError), it belongs to somebody else (PermissionError), or no answer.
    """
    deadline_s = time.monotonic() + timeout_s
    if not stat.S_ISSOCK(os.lstat(path).st_mode):
        raise PermissionError(f"{path} is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connecting:
        connecting.settimeout(left_s(deadline_s))
        connecting.connect(path)
        credentials = connecting.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        user = _CREDENTIALS.unpack(credentials)[1]
        if user not in owners:
            raise PermissionError(f"belongs to user {user}, who is not trusted with it")
        yield BoundedSocket(connecting, deadline_s, max_bytes)
