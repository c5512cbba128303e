"""Bind a ZeroMQ socket to its file again where the file was deleted, e.g. by a cleaner of temporary files.

Connections that exist outlive the file; a process that starts afterwards could connect to nobody.
"""

from __future__ import annotations

from pathlib import Path

import zmq


def bind_again(socket: zmq.Socket[bytes], path: Path) -> bool:
    """Bind a bound socket to its file again if the file is gone; return whether that was done.

    The old address stays bound: unbinding happens later, in a thread of ZeroMQ, and would delete the new file.
    """
    if path.exists():
        return False
    try:
        socket.bind(f"ipc://{path}")
    except zmq.ZMQError:  # the folder is gone too, or is full
        return False
    return True
