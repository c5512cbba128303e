"""The shipper's sockets to the buffer: one request at a time, and the wake-ups for P0.

Implements the transport of section drain of `common/PROTOCOL.md`. A late reply is recognised by its id and ignored.
After a request without a reply the state of the leases is unknown: the client connects again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import zmq

from common import wire

REPLY_TIMEOUT_S = 2.0  # the buffer's slowest step, a checkpoint of 64 MB, takes about a second on eMMC
CONNECT_TIMEOUT_S = 0.25  # a socket file that somebody listens on is there at once
LOOK_UP_S = 0.05  # how often a wait looks whether the process is to end


class BufferAwayError(Exception):
    """The buffer did not reply, or not in this protocol: register again before anything else."""


class BufferBusyError(Exception):
    """The buffer cannot write just now; the same request will do later."""


class LeaseLostError(Exception):
    """The buffer does not know the lease: it was restarted. The samples are pending there."""


class BufferConnection:
    """A DEALER socket that asks and waits.

    Args:
        run_dir: where `drain.ipc` is.
        stopping: tells whether the process is to end; a wait ends then.
        reply_timeout_s: the longest wait.
    """

    def __init__(self, run_dir: Path, stopping: Callable[[], bool], reply_timeout_s: float = REPLY_TIMEOUT_S) -> None:
        self._endpoint = f"ipc://{run_dir / 'drain.ipc'}"
        self._stopping = stopping
        self._reply_timeout_s = reply_timeout_s
        self._numbers = count(1)
        self._socket = self._connected()

    def ask(self, operation: str, **fields: Any) -> dict[str, Any]:
        """Return the buffer's reply.

        Raises:
            BufferAwayError: none came in time, or it says that the request makes no sense.
            BufferBusyError: it cannot be carried out now.
            LeaseLostError: its lease is not known.
        """
        number = next(self._numbers)
        deadline_s = time.monotonic() + self._reply_timeout_s
        self._wait(zmq.POLLOUT, time.monotonic() + CONNECT_TIMEOUT_S)
        try:
            self._socket.send(wire.pack({"v": wire.VERSION, "id": number, "op": operation, **fields}), zmq.NOBLOCK)
        except zmq.Again:  # gone since the wait
            raise self._away(zmq.POLLOUT) from None
        while True:
            self._wait(zmq.POLLIN, deadline_s)
            reply = self._reply(number)
            if reply is not None:
                return _checked(reply)

    def close(self, leases: Sequence[int] = ()) -> None:
        """Give leases back without waiting for replies, and let go of the socket."""
        for number in leases:
            request = {"v": wire.VERSION, "id": next(self._numbers), "op": "release", "lease": number}
            try:
                self._socket.send(wire.pack(request), zmq.NOBLOCK)
            except zmq.Again:
                break  # the buffer is gone, and its leases with it
        self._socket.close(linger=100)

    def _connected(self) -> zmq.Socket[bytes]:
        socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.DEALER)
        socket.setsockopt(zmq.IMMEDIATE, 1)  # nothing waits for a buffer that is not there
        socket.setsockopt(zmq.RECONNECT_IVL, 100)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, 1000)
        socket.connect(self._endpoint)
        return socket

    def _wait(self, event: int, deadline_s: float) -> None:
        while (rest_s := deadline_s - time.monotonic()) > 0 and not self._stopping():
            if self._socket.poll(int(1000 * min(rest_s, LOOK_UP_S)) + 1, event):
                return
        raise self._away(event)

    def _away(self, event: int) -> BufferAwayError:
        """Connect again, so that nothing that was sent is answered later."""
        self._socket.close(linger=0)
        self._socket = self._connected()
        return BufferAwayError("the buffer is not there" if event == zmq.POLLOUT else "the buffer does not reply")

    def _reply(self, number: int) -> dict[str, Any] | None:
        """Return the reply to a request, None where the message is something else."""
        frames = self._socket.recv_multipart(zmq.NOBLOCK)
        try:
            reply = wire.unpack(frames[-1])
        except wire.WireError:
            reply = {}
        return reply if reply.get("id") == number else None


def wake_ups(run_dir: Path) -> zmq.Socket[bytes]:
    """Return a socket on which a message comes whenever P0 was committed."""
    socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.SUB)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, 1000)
    socket.subscribe(wire.DUE_TOPIC)
    socket.connect(f"ipc://{run_dir / 'feed.ipc'}")
    return socket


def _checked(reply: dict[str, Any]) -> dict[str, Any]:
    error = reply.get("error")
    if error is None:
        return reply
    kind = {"unknown_lease": LeaseLostError, "storage": BufferBusyError}.get(str(error), BufferAwayError)
    raise kind(f"{error}: {reply.get('detail')}")
