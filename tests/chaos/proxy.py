"""A bad network in front of a server: a TCP relay that refuses, hangs, cuts, drips or answers with an error.

In: a port to relay to and a mode that can change at any time. Out: a port to connect to.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time

RST = struct.pack("ii", 1, 0)  # SO_LINGER on, 0 s: close sends a reset
DRIP_BYTES_PER_S = 20_000
PIECE_BYTES = 16_384


class Proxy:
    """Relay connections to a port of this machine, as well as the mode allows.

    Modes: ``pass``; ``refuse`` (reset at once); ``hang`` (accept, read, never answer); ``cut`` (reset after some
    bytes of the request); ``deaf`` (relay the request, cut before the answer); ``slow``; ``error`` (503).
    """

    MODES = ("refuse", "hang", "cut", "deaf", "slow", "error")

    def __init__(self, target_port: int) -> None:
        self._target = ("127.0.0.1", target_port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.mode = "pass"
        self._closing = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Stop accepting; connections end with their peers."""
        self._closing.set()
        self._listener.close()

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client:
            if self.mode == "refuse":
                _reset(client)
                return
            with socket.create_connection(self._target, timeout=5) as server:
                back = threading.Thread(target=self._relay, args=(server, client), daemon=True)
                back.start()
                self._relay(client, server, is_request=True)
                back.join(30)

    def _relay(self, source: socket.socket, sink: socket.socket, *, is_request: bool = False) -> None:
        with contextlib.suppress(OSError):
            source.settimeout(60)
            while data := source.recv(PIECE_BYTES):
                if not self._pass_on(data, source, sink, is_request=is_request):
                    return
            sink.shutdown(socket.SHUT_WR)

    def _pass_on(self, data: bytes, source: socket.socket, sink: socket.socket, *, is_request: bool) -> bool:
        """Relay one piece as the mode of this moment says; return whether the connection goes on."""
        mode = self.mode
        if mode == "error" and is_request:
            source.sendall(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        elif mode == "cut" and is_request:
            sink.sendall(data[: len(data) // 2])
            _reset(source)
        elif mode == "deaf" and not is_request:
            _reset(sink)
        else:
            self._wait_while("hang")
            if mode == "slow":
                time.sleep(len(data) / DRIP_BYTES_PER_S)
            sink.sendall(data)
            return True
        _end(source, sink)
        return False

    def _wait_while(self, mode: str) -> None:
        while self.mode == mode and not self._closing.is_set():
            time.sleep(0.05)


def _reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RST)


def _end(*connections: socket.socket) -> None:
    for connection in connections:
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
        connection.close()
