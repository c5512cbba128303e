"""A port that nobody listens at."""

import socket


def free_port() -> int:
    """Return one of loopback."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
