"""Notify systemd that the service is ready, and feed its watchdog only while samples reach the database.

Reads: NOTIFY_SOCKET and WATCHDOG_USEC, which systemd sets with Type=notify; supervisord forwards the messages.
    Source: sd_notify(3).
Emits: READY=1 once, WATCHDOG=1 with each look, STATUS= for `systemctl status`. While an operator has stopped healthd,
    nobody is watched: WATCHDOG_USEC=0.
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
        self._watched_us = environ.get("WATCHDOG_USEC", "")
        self._is_ready = False
        self._said = ""

    def moving(self, status: str) -> None:
        """Say that samples move."""
        words = ["WATCHDOG=1"]
        if not self._is_ready:
            self._is_ready = True
            words.append("READY=1")
            if self._watched_us:
                words.append(f"WATCHDOG_USEC={self._watched_us}")
        if status != self._said:
            self._said = status
            words.append(f"STATUS={status[:STATUS_CHARACTERS]}")
        self._send("\n".join(words))

    def leave(self) -> None:
        """Say that healthd ends because it was told to. The service goes on: STOPPING=1 would end all of it."""
        self._send("WATCHDOG_USEC=0")

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
