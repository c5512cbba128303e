"""What senders say of themselves that have telemetry; a part of the SRT collector.

Reads: tmp/srtla-send-stats-<port>.json (CERALIVE), a control socket with JSON-RPC or a Prometheus page (irlserver).
Source: CERALIVE/srtla-send-rs tests/fixtures/telemetry-golden.json; irlserver/srtla_send docs/CONTROL_PROTOCOL.md
    and src/metrics.rs.
Errors: what is old or not understood is None, with a fault; a stock sender has none of it.
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any, NamedTuple

from collectors.host import Host
from collectors.web import WebError, get

STALE_MS = 5_000  # the sender's own promise; it writes once a second
TIMEOUT_S = 0.3  # on this machine: who does not answer by then hangs
MAX_BYTES = 256 * 1024

_SERIES = re.compile(r'srtla_send_link_(\w+)\{[^}]*\bip="([0-9.]{7,15})"[^}]*\}\s+(\S+)')


class Report(NamedTuple):
    """What a sender says of one link; None where it does not say.

    Attributes:
        address: source address.
        is_up: whether it is connected.
        rtt_ms: round trip.
        bps: what it sends, bits per second.
        naks: packets reported lost since the start.
    """

    address: str
    is_up: bool
    rtt_ms: float | None
    bps: int | None
    naks: int | None


def from_file(host: Host, path: str, addresses: Sequence[str], now_ms: int) -> list[Report] | None:
    """Return the links of a statistics file.

    Args:
        host: where to read.
        path: of the file.
        addresses: of the links in the order of the sender's list, which the file numbers them by.
        now_ms: Unix milliseconds.
    """
    if not host.exists(path):
        return None
    try:
        content = json.loads(host.text(path) or "")
        age_ms = now_ms - int(content["last_updated_ms"])
        found = [_connection(row, addresses) for row in content["connections"]]
    except (ValueError, TypeError, KeyError, IndexError):
        host.fault(path, "not understood")
        return None
    if not -STALE_MS <= age_ms <= STALE_MS:
        host.fault(path, f"not written for {age_ms / 1000:.0f} s")
        return None
    return [report for report in found if report is not None]


def from_socket(host: Host, path: str) -> list[Report] | None:
    """Ask a control socket for its statistics."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asked:
            asked.settimeout(TIMEOUT_S)
            asked.connect(str(host.root / path.lstrip("/")))
            asked.sendall(b'{"jsonrpc":"2.0","id":1,"method":"get_stats"}\n')
            answer = b""
            while b"\n" not in answer and len(answer) < MAX_BYTES and (piece := asked.recv(65_536)):
                answer += piece
        result = json.loads(answer)["result"]
        return [_link(row) for row in result.get("data", result)["links"]]
    except FileNotFoundError:
        return None
    except OSError as error:
        host.fault(path, error.strerror or str(error) or type(error).__name__)
    except (ValueError, TypeError, KeyError, AttributeError):
        host.fault(path, "not understood")
    return None


def from_page(host: Host, address: str) -> list[Report] | None:
    """Ask a Prometheus page.

    Args:
        host: takes what is wrong.
        address: ``127.0.0.1:9099``.
    """
    try:
        answer = get(f"http://{address}/metrics", TIMEOUT_S)
    except WebError as error:
        host.fault(address, str(error))
        return None
    if answer.status != HTTPStatus.OK:
        host.fault(address, f"answers {answer.status}")
        return None
    return parse_page(answer.text.splitlines())


def parse_page(lines: Iterable[str]) -> list[Report]:
    """Return the links of a Prometheus page."""
    links: dict[str, dict[str, float]] = {}
    for match in map(_SERIES.match, lines):
        value = _float(match[3]) if match else None
        if match and value is not None:
            links.setdefault(match[2], {})[match[1]] = value
    return [
        Report(
            address,
            row.get("up", 0) > 0,
            row.get("rtt_ms"),
            None if "bitrate_bytes_per_second" not in row else round(row["bitrate_bytes_per_second"] * 8),
            None if "nak_total" not in row else int(row["nak_total"]),
        )
        for address, row in links.items()
    ]


def _connection(row: Any, addresses: Sequence[str]) -> Report | None:
    """Return a connection of the file; a number beyond the list is of a list that has changed since."""
    at = int(row["conn_id"])
    rtt_ms = float(row["rtt_ms"]) or None  # the C++ sender writes 0 for what it does not measure
    return Report(addresses[at], True, rtt_ms, int(row["bitrate_bps"]), int(row["nak_count"])) if at >= 0 else None


def _link(row: Any) -> Report:
    rate = row.get("bitrate_bytes_per_sec", row.get("bitrate_bps"))  # bytes in both: the older name is wrong
    is_up = bool(row["connected"]) and not row.get("timed_out", False)
    rtt_ms = row.get("rtt_ms")
    return Report(
        str(row["ip"]), is_up, float(rtt_ms) if rtt_ms else None, round(rate * 8) if rate is not None else None,
        row.get("nak_count"),
    )  # fmt: skip


def _float(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
