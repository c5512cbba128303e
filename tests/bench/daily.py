"""What a day of the default configuration costs: bytes on the wire and bytes written to the flash.

Reads: the server's own count of the bytes that it received and sent on its connections, heads and audit included, and
    /proc/<pid>/io of every process. Watched for a while and multiplied: what happens each hour (the log of the database
    is folded into the file, low priorities go out every ten minutes) is in it by chance only.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from urllib.request import urlopen

from tests.bench import usage
from tests.bench.figures import Figure

DAY_S = 86_400
MEGABYTE = 1e6
_RECEIVED_OR_SENT = re.compile(r"vm_tcplistener_(?:read|written)_bytes_total(?:{[^}]*})? (\S+)")


def figures(pids: Iterable[int], server: str, seconds: float) -> Iterator[Figure]:
    """Watch processes that upload to a server which nobody else uses."""
    watched = list(pids)
    began_s, (wire, own), flash = time.monotonic(), _wire_bytes(server), _flash_bytes(watched)
    time.sleep(seconds)
    share = DAY_S / (time.monotonic() - began_s) / MEGABYTE
    beside = f"from {seconds:.0f} s"
    sent = _wire_bytes(server)[0] - wire - own  # the answer to the first question came after its count
    yield Figure("wire, default configuration", share * sent, "MB/day", "", beside)
    yield Figure(
        "flash writes, default configuration", share * (_flash_bytes(watched) - flash), "MB/day", "300", beside
    )


def _wire_bytes(server: str) -> tuple[float, int]:
    """Return the server's count, and the size of the answer that has it."""
    with urlopen(f"{server}/metrics", timeout=10) as answer:
        page = answer.read()
    return sum(float(value) for value in _RECEIVED_OR_SENT.findall(page.decode())), len(page)


def _flash_bytes(pids: Iterable[int]) -> int:
    return sum(map(usage.written_bytes, pids))
