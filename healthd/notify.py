"""Tell systemd that the service is ready, and that it lives: only while samples really move.

Reads: NOTIFY_SOCKET, which systemd sets with Type=notify and NotifyAccess=all. Source: sd_notify(3).
Emits: READY=1 once, WATCHDOG=1 with each look, STATUS= for `systemctl status`.
Fails: without the variable, or when nobody listens, nothing happens.
"""

from __future__ import annotations

import os
import socket

STATUS_CHARACTERS = 200


class Notify:
    """The one word that systemd waits for.

    Args:
        environ: where the socket's name is.
    """

    def __init__(self, environ: os._Environ[str] | dict[str, str]) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        self._is_ready = False
        self._said = ""

    def moving(self, status: str) -> None:
        """Say that samples move."""
        words = ["WATCHDOG=1"]
        if not self._is_ready:
            self._is_ready = True
            words.append("READY=1")
        if status != self._said:
            self._said = status
            words.append(f"STATUS={status[:STATUS_CHARACTERS]}")
        self._send("\n".join(words))

    def stopping(self) -> None:
        """Say that the end is meant."""
        self._send("STOPPING=1")

    def _send(self, text: str) -> None:
        if not self._address:
            return
        address = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
                client.setblocking(False)
                client.sendto(text.encode(), address)
        except OSError:
            pass  # it comes again in a second
