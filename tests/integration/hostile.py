"""The other sides that a client has to survive: each says something without an end, or ends at once.

A server is a function that gets a connected socket and speaks until the other side has hung up. Those that do not
answer do not end by themselves, so a client that comes back has come back by its own bound.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain, repeat
from pathlib import Path

DRIP_S = 0.01
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"

Server = Callable[[socket.socket, threading.Event], None]


def _says(pieces: Callable[[], Iterator[bytes]], pause_s: float = 0.0) -> Server:
    """Return a server that sends pieces for ever, with a pause after each."""

    def serve(peer: socket.socket, is_over: threading.Event) -> None:
        for piece in pieces():
            peer.sendall(piece)
            if is_over.wait(pause_s):
                return

    return serve


def _silent(_peer: socket.socket, is_over: threading.Event) -> None:
    is_over.wait()


def _hangs_up(_peer: socket.socket, _is_over: threading.Event) -> None:
    """End at once."""


def _answers(body: bytes) -> Server:
    """Return a server that answers like an honest one, with a body that is not."""

    def serve(peer: socket.socket, _is_over: threading.Event) -> None:
        peer.recv(65_536)
        peer.sendall(OK + b"Content-Length: %d\r\n\r\n" % len(body) + body)

    return serve


SERVERS: dict[str, Server] = {
    "says nothing": _silent,
    "hangs up": _hangs_up,
    "drips its status line": _says(lambda: repeat(b"H"), DRIP_S),
    "drips a header": _says(lambda: chain([OK + b"X: "], repeat(b"x")), DRIP_S),
    "drips headers": _says(lambda: chain([OK], repeat(b"X: x\r\n")), DRIP_S),
    "drips a chunk's size": _says(lambda: chain([CHUNKED], repeat(b"0")), DRIP_S),
    "drips chunks": _says(lambda: chain([CHUNKED], repeat(b"1\r\nx\r\n")), DRIP_S),
    "drips a trailer": _says(lambda: chain([CHUNKED + b"0\r\n"], repeat(b"X: x\r\n")), DRIP_S),
    "drips a body": _says(lambda: chain([OK + b"\r\n"], repeat(b"x")), DRIP_S),
    "drips what it promised": _says(lambda: chain([OK + b"Content-Length: 99\r\n\r\n"], repeat(b"x")), DRIP_S),
    "promises a terabyte": _says(lambda: chain([OK + b"Content-Length: 1000000000000\r\n\r\n"], repeat(b"x" * 9999))),
    "goes on with 100 Continue": _says(lambda: repeat(b"HTTP/1.1 100 Continue\r\n\r\n" * 50)),
    "drips 100 Continue": _says(lambda: repeat(b"HTTP/1.1 100 Continue\r\n\r\n"), DRIP_S),
    "has no end of headers": _says(lambda: chain([OK], repeat(b"X: x\r\n" * 500))),
    "has no end of a header": _says(lambda: chain([OK + b"X: "], repeat(b"x" * 9999))),
    "has no end of chunks": _says(lambda: chain([CHUNKED], repeat(b"270f\r\n" + b"x" * 9999 + b"\r\n"))),
    "has no end of a chunk's size": _says(lambda: chain([CHUNKED], repeat(b"0" * 9999))),
    "has no end of a body": _says(lambda: chain([OK + b"\r\n"], repeat(b"x" * 9999))),
    "has no end of a line": _says(lambda: repeat(b"x" * 9999)),
    "has no end of lines": _says(lambda: repeat(b"[]\n" * 999)),
    "nests for ever": _says(lambda: repeat(b"[" * 9999)),
    "answers what is nested deep": _answers(b'{"a":' * 5_000 + b"[" * 25_000 + b"\n"),
    "answers what is nested deep and whole": _answers(b"[" * 25_000 + b"]" * 25_000 + b"\n"),
    "answers numbers without end": _answers(b'{"a":[' + b"9" * 100_000 + b"]}\n"),
    "answers a name without end": _answers(b"<a" + b"b" * 200_000 + b">\n"),
    "is not text": _says(lambda: repeat(bytes(range(256)) * 9)),
}  # fmt: skip


@contextmanager
def serving(server: Server, listener: socket.socket) -> Iterator[None]:
    """Have a server speak to everybody who connects, until the block ends."""
    is_over, threads = threading.Event(), []

    def speak(peer: socket.socket) -> None:
        with peer, suppress(OSError):
            server(peer, is_over)

    def accept() -> None:
        with suppress(OSError):
            while True:
                peer = listener.accept()[0]
                peer.settimeout(30)
                threads.append(threading.Thread(target=speak, args=(peer,), daemon=True))
                threads[-1].start()

    accepting = threading.Thread(target=accept, daemon=True)
    accepting.start()
    try:
        yield
    finally:
        is_over.set()
        listener.shutdown(socket.SHUT_RDWR)
        accepting.join(30)
        for thread in threads:
            thread.join(30)
        listener.close()


@contextmanager
def on_tcp(server: Server) -> Iterator[str]:
    """Serve on a port of loopback; give ``127.0.0.1:<port>``."""
    listener = socket.create_server(("127.0.0.1", 0))
    with serving(server, listener):
        yield f"127.0.0.1:{listener.getsockname()[1]}"


@contextmanager
def on_socket(server: Server, path: Path) -> Iterator[None]:
    """Serve on a socket of this machine."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen()
    with serving(server, listener):
        yield
