"""What senders say of themselves that have telemetry.

Reads: the statistics file of CERALIVE's senders, a control socket with JSON-RPC or a Prometheus page of irlserver's.
Source: CERALIVE/srtla-send-rs src/telemetry_file.rs (`conn_id` is the place in the list of addresses as it is now, a
    weight of 0 is a link that is not used); CERALIVE/srtla src/sender.cpp and sender_telemetry.h (no `schema_version`,
    a clock since boot, only links that work, `conn_id` counts them up as they were added); irlserver/srtla_send
    src/stats.rs, src/metrics.rs, docs/CONTROL_PROTOCOL.md. A round trip of 0 is one that was not measured.
Errors: what is old or not understood is None, with a fault; a stock sender has none of it.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, NamedTuple

from collectors import bounded
from collectors.host import Host
from collectors.web import WebError, get
from common.sample import Value
from common.untrusted import integer, json_object, number, words

STALE_MS = 5_000  # the sender's own promise; it writes once a second
TIMEOUT_S = 0.3  # on this machine: who does not answer by then hangs
MAX_BYTES = 256 * 1024

_SERIES = re.compile(r'srtla_send_link_(\w+)\{[^}]*\bip="([0-9a-fA-F.:]{2,45})"[^}]*\}\s+(\S+)')

# A metric of a link, what one of it is in the metric's unit, and what irlserver's sender calls it.
FIELDS = (
    ("link_naks_total", 1, "nak_count"),
    ("link_window_packets", 1, "window"),
    ("link_in_flight_packets", 1, "in_flight"),
    ("link_target_bits_per_second", 1, "cc_target_bps"),
    ("link_reported_loss_percent", 0.1, "cc_loss_permille"),
    ("link_stall_gate_events_total", 1, "stall_gate_events"),
)
_PAGE_FIELDS = {"nak_total": "nak_count", "up": "connected"}
_NOT_WEAK = frozenset({"", "healthy", "bypassed"})


class LinkReport(NamedTuple):
    """What a sender says of one link.

    Attributes:
        address: source address.
        is_up: whether it is connected.
        rtt_ms: round trip, None where it does not say.
        bps: what it sends, bits per second, None likewise.
        values: of other metrics below `srtla.`, by name.
        reason: why it is not used, "" where it is or the sender does not say.
    """

    address: str
    is_up: bool
    rtt_ms: float | None = None
    bps: int | None = None
    values: Mapping[str, Value] = {}
    reason: str = ""


class LinkNumbers:
    """How CERALIVE's C++ sender counts its links: each address gets the next number when it is added to the list."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._next = 0

    def follow(self, addresses: Sequence[str]) -> None:
        """Take in the list as it is now."""
        self._numbers = {address: number for address, number in self._numbers.items() if address in addresses}
        for address in addresses:
            if address not in self._numbers:
                self._numbers[address] = self._next
                self._next += 1

    def address(self, number: int) -> str | None:
        """Return the address that has a number."""
        return next((address for address, own in self._numbers.items() if own == number), None)


def from_file(
    host: Host, path: str, addresses: Sequence[str], numbers: LinkNumbers, now_ms: tuple[int, int]
) -> list[LinkReport] | None:
    """Return the links of a statistics file.

    Args:
        host: where to read.
        path: of the file.
        addresses: of the links, as the sender's list has them now.
        numbers: of the links, for a sender that counts them.
        now_ms: Unix milliseconds, and milliseconds since boot.
    """
    if not host.exists(path):
        return None
    text = host.trusted_text(path)
    if text is None:
        return None
    try:
        content = json_object(text)
        is_counted = "schema_version" not in content
        age_ms = now_ms[is_counted] - int(content["last_updated_ms"])
        rows = [_connection(row) for row in content["connections"]]
    except (ValueError, TypeError, KeyError, AttributeError):
        host.fault(path, "not understood")
        return None
    if not -STALE_MS <= age_ms <= STALE_MS:
        host.fault(path, f"not written for {age_ms / 1000:.0f} s")
        return None
    if is_counted:
        found = [(numbers.address(number), report) for number, report in rows]
    elif len(rows) == len(addresses):
        found = [(addresses[number] if number < len(addresses) else None, report) for number, report in rows]
    else:
        found = []  # one could not be opened, or the list has just changed: which is which is not known
    return [report._replace(address=address) for address, report in found if address is not None]


def from_socket(host: Host, path: str) -> list[LinkReport] | None:
    """Ask a control socket for its statistics."""
    try:
        with bounded.local(str(host.root / path.lstrip("/")), TIMEOUT_S, MAX_BYTES, host.trusted_users()) as asked:
            asked.sendall(b'{"jsonrpc":"2.0","id":1,"method":"get_stats"}\n')
            result = json_object(asked.line(), max_bytes=MAX_BYTES)["result"]
        return [_link(row) for row in result.get("data", result)["links"]]
    except FileNotFoundError:
        return None
    except OSError as error:
        host.fault(path, error.strerror or str(error) or type(error).__name__)
    except (ValueError, TypeError, KeyError, AttributeError):
        host.fault(path, "not understood")
    return None


def from_page(host: Host, address: str) -> list[LinkReport] | None:
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
    try:
        return parse_page(answer.text.splitlines())
    except ValueError:
        host.fault(address, "not understood")
        return None


def parse_page(lines: Iterable[str]) -> list[LinkReport]:
    """Return the links of a Prometheus page.

    Raises:
        ValueError: a link's address is none.
    """
    links: dict[str, dict[str, Any]] = {}
    for match in map(_SERIES.match, lines):
        value = number(match[3]) if match else None
        if match and value is not None:
            name = _PAGE_FIELDS.get(match[1], match[1])
            links.setdefault(match[2], {"connected": False})[name] = value
    return [_link({**row, "ip": address}) for address, row in links.items()]


def _connection(row: Any) -> tuple[int, LinkReport]:
    """Return the number and the rest of a connection of a file."""
    rtt_ms, weight = number(row["rtt_ms"], 0), integer(row.get("weight_percent"), 0, 100)
    values: dict[str, Value] = {}
    for name, key in (("naks_total", "nak_count"), ("window_packets", "window"), ("in_flight_packets", "in_flight")):
        count = integer(row.get(key), 0)
        if count is not None:
            values[f"link_{name}"] = count
    if weight is not None:
        values["link_weight_percent"] = weight
    own_number = integer(row["conn_id"], 0)
    if own_number is None:
        raise ValueError("conn_id")
    return own_number, LinkReport("", weight != 0, rtt_ms or None, integer(row["bitrate_bps"], 0), values)


def _link(row: Any) -> LinkReport:
    """Return a link of irlserver's statistics."""
    address = str(ipaddress.ip_address(row["ip"]))
    rate = row.get("bitrate_bytes_per_second", row.get("bitrate_bytes_per_sec", row.get("bitrate_bps")))
    is_up = bool(row["connected"]) and not row.get("timed_out", False)
    values: dict[str, Value] = {}
    for name, one, key in FIELDS:
        value = number(row.get(key), 0)
        if value is not None:
            values[name] = int(value) if one == 1 else round(value * one, 3)
    rtt_ms, rate_bytes = number(row.get("rtt_ms"), 0), number(rate, 0)
    bps = None if rate_bytes is None else round(rate_bytes * 8)  # bytes under each of the three names
    return LinkReport(address, is_up, rtt_ms or None, bps, values, _reason(row))


def _reason(row: Mapping[str, Any]) -> str:
    """Return why the sender does not use a link, in one of its own words."""
    if row.get("stall_gated"):
        return "stalled"
    if row.get("weak") and str(row.get("weak_reason", "")) not in _NOT_WEAK:
        return words(row["weak_reason"])
    if row.get("cc_loss_degraded"):
        return "loss"
    if row.get("in_flight_cap_active"):
        return "full"
    return "backing_off" if row.get("cc_state") == "backing_off" else ""
