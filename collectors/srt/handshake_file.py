"""What only a handshake says, kept over a restart of this process in the middle of a stream.

Reads and writes: one small file in the run directory, a tmpfs. It is believed where the number of the encoder's SRT
socket, a random one, is still the one that the packets have.
Errors: without the file, or where it cannot be written, the latency is the one that the encoder asked for.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from collectors.srt.connection import SrtConnection
from collectors.srt.handshake import Negotiated
from common import atomic_file
from common.untrusted import UntrustedError, integer, json_object

FILE = "srt-handshake.json"


class HandshakeFile:
    """The file.

    Args:
        run_dir: where it is; None keeps nothing.
    """

    def __init__(self, run_dir: Path | None) -> None:
        self._file = run_dir / FILE if run_dir is not None else None
        self._written: tuple[int | None, Negotiated] | None = None

    def follow(self, connection: SrtConnection) -> None:
        """Keep what a connection has negotiated, or give it what was kept of it."""
        if self._file is None or connection.encoder is None:
            return
        if connection.negotiated.latency_ms is None:
            self._give(self._file, connection)
        elif self._written != (connection.encoder, connection.negotiated):
            self._written = connection.encoder, connection.negotiated
            self._write(self._file, connection)

    def _give(self, file: Path, connection: SrtConnection) -> None:
        try:
            content = json_object(file.read_bytes())
        except (OSError, UntrustedError):
            return
        if content.get("encoder") == connection.encoder:
            latency_ms, window = (integer(content.get(name), 1, 1 << 31) for name in ("latency_ms", "window_packets"))
            connection.negotiated = Negotiated(latency_ms, window)
            self._written = connection.encoder, connection.negotiated

    def _write(self, file: Path, connection: SrtConnection) -> None:
        negotiated = connection.negotiated
        content = {
            "encoder": connection.encoder,
            "latency_ms": negotiated.latency_ms,
            "window_packets": negotiated.window_packets,
        }
        with suppress(OSError):
            atomic_file.write(file, json.dumps(content))
