"""What a day of the default configuration costs: bytes on the wire and bytes written to the flash.

Reads: the server's own count of the bytes that it received and sent on its connections, heads and audit included, and
    /proc/<pid>/io of every process, which leaves out what goes to a tmpfs. Watched for a while and multiplied: what
    happens each hour (the log of the database is copied into the file, low priorities go out every ten minutes) is in
    it by chance only.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple
from urllib.request import urlopen

from tests.bench import usage
from tests.bench.figures import Figure

DAY_S = 86_400
MEGABYTE = 1e6
_RECEIVED_OR_SENT = re.compile(r"vm_tcplistener_(?:read|written)_bytes_total(?:{[^}]*})? (\S+)")


class Day(NamedTuple):
    """What goes through the processes in a day, megabytes; on the wire in both directions."""

    wire: float
    flash: float


def watch(pids: Iterable[int], server: str, seconds: float) -> Day:
    """Watch some processes, and all that the server is sent meanwhile."""
    watched = list(pids)
    began_s, (wire, own), flash = time.monotonic(), _wire_bytes(server), _flash_bytes(watched)
    time.sleep(seconds)
    share = DAY_S / (time.monotonic() - began_s) / MEGABYTE
    sent = _wire_bytes(server)[0] - wire - own  # the answer to the first question came after its count
    return Day(share * sent, share * (_flash_bytes(watched) - flash))


def figures(day: Day, how: str, seconds: float, flash_budget: str) -> Iterator[Figure]:
    """Give what was seen in some seconds as figures of a day."""
    beside = f"from {seconds:.0f} s"
    yield Figure(f"wire, {how}", day.wire, "MB/day", "", beside)
    yield Figure(f"flash writes, {how}", day.flash, "MB/day", flash_budget, beside)


def _wire_bytes(server: str) -> tuple[float, int]:
    """Return the server's count, and the size of the answer that has it."""
    with urlopen(f"{server}/metrics", timeout=10) as answer:
        page = answer.read()
    return sum(float(value) for value in _RECEIVED_OR_SENT.findall(page.decode())), len(page)


def _flash_bytes(pids: Iterable[int]) -> int:
    return sum(map(usage.written_bytes, pids))
