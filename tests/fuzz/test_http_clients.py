"""Clients of HTTP servers, under answers that resemble one: a text or the client's own error, soon and in bounds."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from collectors import web
from tests.fuzz.hostile_bytes import Hostile, Oracle
from tests.fuzz.rounds import SEED, rounds

ROUNDS = 400
TIMEOUT_S = 0.5  # where an answer promises what does not come
ANSWERS = (
    b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"a": [1]}',
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nSet-Cookie: a=b; Path=/\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-" + b"9" * 400 + b"\r\nhello\r\n0\r\n\r\n",
    b"HTTP/1.0 404 Not Found\r\n\r\nno",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\nDate: Sat, 01 Jan 2022 00:00:00 GMT\r\n\r\n",
)


class Answering:
    """A server that has one answer for everybody; it can be changed."""

    def __init__(self) -> None:
        self.answer = b""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End it."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                peer, _ = self._listener.accept()
                with peer, suppress(OSError):
                    peer.settimeout(TIMEOUT_S)
                    peer.recv(65_536)
                    peer.sendall(self.answer)


@contextmanager
def answering() -> Iterator[Answering]:
    """Serve until the block ends."""
    server = Answering()
    try:
        yield server
    finally:
        server.close()


def test_a_get_of_anything_is_an_answer_or_an_error() -> None:
    """`WebError` is the only one, whatever is said."""
    hostile, oracle = Hostile(SEED), Oracle((web.WebError,))
    with answering() as server:
        for _ in rounds(ROUNDS, 0.1):
            server.answer = hostile.content(ANSWERS)
            oracle.judge(lambda _: web.get(f"http://{server.address}/", TIMEOUT_S), server.answer)
