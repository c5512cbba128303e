"""Find free TCP ports on this machine."""

from __future__ import annotations

import os
import socket


def is_free(address: str, port: int) -> bool:
    """Return whether a server could listen there; what cannot be bound for another reason counts as free."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True


def free(first: int) -> int:
    """Return `first` if it is free on loopback, else one above it, not the one that another run tries just now.

    Raises:
        LookupError: there is none.
    """
    candidates: tuple[int, ...] = (first, *range(first + 1 + os.getpid() % 500, 65_536))
    for port in candidates:
        if is_free("127.0.0.1", port):
            return port
    raise LookupError(f"no free port from {first} on")
