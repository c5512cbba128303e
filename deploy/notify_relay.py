"""Forward healthd's notifications to systemd, which accepts them only from supervisord (NotifyAccess=main).

Reads: datagrams of sd_notify(3) on a socket in the run directory, whose name the programs find in NOTIFY_SOCKET.
Emits: to systemd, those of their lines that say how the service is. None names another main process, leaves a
    descriptor or ends the service.
Fails: silently: if systemd does not listen, nothing happens.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from pathlib import Path

DATAGRAM_BYTES = 4096
SAID = (b"READY=1", b"STATUS=", b"WATCHDOG=1", b"WATCHDOG_USEC=")


class Relay:
    """A place in supervisord's loop; has the methods that its loop calls.

    Args:
        path: of the socket to listen on; made anew; its directory is the service's alone.
        address: of systemd's, as NOTIFY_SOCKET had it.
    """

    def __init__(self, path: Path, address: str) -> None:
        self.path = path
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind(str(path))

    def fileno(self) -> int:
        """Return the descriptor to wait for."""
        return self._socket.fileno()

    def readable(self) -> bool:
        """Say that it waits to read, always."""
        return True

    def writable(self) -> bool:
        """Say that it never waits to write."""
        return False

    def handle_read_event(self) -> None:
        """Pass one datagram on."""
        with suppress(OSError):
            lines = self._socket.recv(DATAGRAM_BYTES).split(b"\n")
            if said := [line for line in lines if line.startswith(SAID)]:
                self._socket.sendto(b"\n".join(said), self._address)

    def handle_error(self) -> None:
        """Do nothing: a lost message is repeated within a second."""

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
        self.path.unlink(missing_ok=True)
