"""Notify systemd that a service is ready, and feed its watchdog.

Reads: NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID, which systemd sets. Source: sd_notify(3).
Emits: of a process with a unit of its own (the SRT collector): WATCHDOG=1 with each heartbeat of its loop. Of healthd,
    for the pipeline, whose messages supervisord forwards: READY=1 once, WATCHDOG=1 with each look while samples reach
    the database, STATUS= for `systemctl status`. While an operator has stopped healthd, nobody is watched:
    WATCHDOG_USEC=0.
Fails: without the variable, or when nobody listens, nothing happens.
"""

from __future__ import annotations

import os
import socket

STATUS_CHARACTERS = 200


class Notify:
    """The notifications to systemd.

    Args:
        environ: where the socket's name is.
    """

    def __init__(self, environ: os._Environ[str] | dict[str, str]) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        self._watched_us = environ.get("WATCHDOG_USEC", "")
        self._is_own = environ.get("WATCHDOG_PID") == str(os.getpid())
        self._is_ready = False
        self._said = ""

    def ping_watchdog(self) -> None:
        """Say that this process' loop turns, if systemd watches this process itself."""
        if self._is_own:
            self._send("WATCHDOG=1")

    def report_progress(self, status: str) -> None:
        """Notify systemd that samples are being committed."""
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

    def disarm_watchdog(self) -> None:
        """Turn systemd's watchdog off: healthd was stopped, the service goes on. STOPPING=1 would end all of it."""
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
