"""Hear from the kernel that a network interface has changed; used by the network source.

Reads: the messages of the group RTMGRP_LINK; what they say is read from /sys then, so no more is parsed here.
Source: rtnetlink(7), netlink(7).
Errors: where the socket cannot be had (a unit that does not allow AF_NETLINK) there is no news: look from time to time.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from pathlib import Path

from collectors.host import Host

RTMGRP_LINK = 1  # linux/rtnetlink.h
MESSAGE_BYTES = 65_536
MAX_MESSAGES = 1000  # of one look


class LinkNews:
    """The kernel's messages, open between two looks.

    Attributes:
        socket: readable when something has changed; None where there is no news.
    """

    def __init__(self) -> None:
        self.socket: socket.socket | None = None
        self._is_refused = False

    def follow(self, host: Host) -> None:
        """Have news from the machine itself (a recorded tree has none), and forget what has come until now."""
        if self.socket is None and not self._is_refused and host.root == Path("/"):
            self._open()
        if self.socket is not None:
            self._drain(self.socket)

    def _open(self) -> None:
        opened = None
        try:
            opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE)
            opened.bind((0, RTMGRP_LINK))
        except OSError:
            self._is_refused = True
            if opened is not None:
                opened.close()
            return
        self.socket = opened

    def _drain(self, opened: socket.socket) -> None:
        with suppress(OSError):  # nothing more, or more than there was room for: that is news as well
            for _ in range(MAX_MESSAGES):
                opened.recv(MESSAGE_BYTES)
