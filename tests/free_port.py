"""A port that nobody listens at, for as long as this process runs.

Chosen below the range from which the kernel takes ports by itself, so that no connection gets it meanwhile; claimed by
the name of a socket, so that no other test does, of this run or of another.
"""

from __future__ import annotations

import random
import socket
from pathlib import Path

_FIRST = 10_000
_claims: list[socket.socket] = []


def free_port() -> int:
    """Return a port of loopback that is free for TCP and UDP."""
    range_of_kernel = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split()
    chance = random.SystemRandom()
    while not _claim(port := chance.randrange(_FIRST, int(range_of_kernel[0]))):
        pass
    return port


def _claim(port: int) -> bool:
    """Take a port for this process; return whether nobody had it."""
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        claim.bind(f"\0bm-test-port-{port}")
        with socket.create_server(("127.0.0.1", port)), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
            datagrams.bind(("127.0.0.1", port))
    except OSError:
        claim.close()
        return False
    _claims.append(claim)
    return True
