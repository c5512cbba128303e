"""srtla_send as its command line describes it: the stock one's, and its forks'.

Source: srtla_send.c of BELABOX/srtla (four arguments, no options); src/main.rs of irlserver/srtla_send and of
CERALIVE/srtla-send-rs, src/sender.cpp of CERALIVE/srtla and irlserver/srtla (options anywhere, `--name value` or
`--name=value`, `--` ends them).
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from collectors.host import Host, unsigned
from collectors.process_table import RunningProcess

ADDRESSES = "tmp/srtla_ips"

# Options that are followed by a value; all others stand alone.
_VALUED = frozenset(
    {
        *("--control-socket", "--config", "--mode", "--conn-timeout-ms", "--priority-bind", "--metrics-bind"),
        *("--stats-file", "--stats-file-interval", "--rtt-delta-ms", "--stall-reprobe-ms"),
        *("--stall-min-in-flight", "--stall-ack-stale-ms"),
    }
)


class SrtlaSender(NamedTuple):
    """A running srtla_send.

    Attributes:
        program: its process.
        port: where it listens for the encoder.
        receiver_port: where it sends to.
        addresses_file: the source addresses of its links, one a line.
        stats_file, control_socket, metrics_address: what it tells of itself there, "" where it does not.
    """

    program: RunningProcess
    port: int
    receiver_port: int
    addresses_file: str = ADDRESSES
    stats_file: str = ""
    control_socket: str = ""
    metrics_address: str = ""


def read(host: Host, program: RunningProcess) -> SrtlaSender | None:
    """Return what a running sender's command line says, None where it is none."""
    words = (host.text(f"proc/{program.pid}/cmdline") or "").split("\0")
    while words and not words[-1]:
        words.pop()
    found = parse(words[1:], program)
    if found is None:
        return None
    folder = host.link(f"proc/{program.pid}/cwd")
    here = Path(folder or "/")
    return found._replace(
        addresses_file=str(here / found.addresses_file),
        stats_file=str(here / found.stats_file) if found.stats_file else "",
    )


def parse(words: Sequence[str], program: RunningProcess) -> SrtlaSender | None:
    """Return a sender by its arguments, the program's own name not among them."""
    plain, options = _split(words)
    at = next((at for at in range(len(plain) - 2) if _port(plain[at]) and _port(plain[at + 2])), None)
    if at is None:
        return None
    addresses = plain[at + 3] if len(plain) > at + 3 else f"/{ADDRESSES}"
    return SrtlaSender(
        program,
        _port(plain[at]),
        _port(plain[at + 2]),
        addresses,
        options.get("--stats-file", ""),
        options.get("--control-socket", ""),
        options.get("--metrics-bind", ""),
    )


def addresses(host: Host, sender: SrtlaSender) -> list[str]:
    """Return the source addresses of a sender's links in its order, each once; IPv4 alone."""
    return _addresses(host.trusted_text(sender.addresses_file) or "")


@lru_cache(maxsize=1)
def _addresses(text: str) -> list[str]:
    return list(dict.fromkeys(line.strip() for line in text.splitlines() if _is_address(line.strip())))


def _split(words: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Return positional arguments and options of a command line."""
    plain: list[str] = []
    options: dict[str, str] = {}
    rest = iter(words)
    for word in rest:
        name, equals, value = word.partition("=")
        if word == "--":
            plain += rest
        elif not word.startswith("-") or word == "-":
            plain.append(word)
        elif equals:
            options[name] = value
        else:
            options[name] = next(rest, "") if name in _VALUED else ""
    return plain, options


def _port(text: str) -> int:
    """Return a port, 0 for what is none."""
    number = unsigned(text)
    return number if number is not None and 0 < number < 1 << 16 else 0


def _is_address(text: str) -> bool:
    try:
        socket.inet_pton(socket.AF_INET, text)
    except (OSError, ValueError):  # no address, or no text that C takes
        return False
    return True
