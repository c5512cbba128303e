"""The statistics file of srt-live-transmit, JSON or CSV.

Reads: the last whole line of a file written with `-statsout:FILE -f`. Source: apps/statswriter.cpp of libsrt; versions
    before 1.4.4 put each number in quotes and a comma after each line (Haivision/srt#1975).
Errors: a line comes every so many packets, so that a stall is silence: what is older than ten seconds is nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from collectors.host import Host
from common.untrusted import UntrustedError, integer, json_object, number

STALE_S = 10.0
END_BYTES = 16 * 1024  # a line has about 900; the file grows for as long as the stream runs

# A metric, the path in JSON and the column in CSV, and what one of it is in the metric's unit.
FIELDS = (
    ("srt.rtt_ms", "link.rtt", "msRTT", 1.0),
    ("srt.link_capacity_bits_per_second", "link.bandwidth", "mbpsBandwidth", 1e6),
    ("srt.packets_sent_total", "send.packets", "pktSent", 1),
    ("srt.packets_received_total", "recv.packets", "pktRecv", 1),
    ("srt.packets_retransmitted_total", "send.packetsRetransmitted", "pktRetrans", 1),
    ("srt.packets_dropped_total", "send.packetsDropped", "pktSndDrop", 1),
    ("srt.packets_lost_total", "send.packetsLost", "pktSndLoss", 1),
    ("srt.bitrate_bits_per_second", "send.mbitRate", "mbpsSendRate", 1e6),
    ("srt.latency_ms", "recv.msTsbPdDelay", "msRcvTsbPdDelay", 1.0),
)
_HEAD = "Timepoint,"
# The columns in CSV of libsrt 1.4.4 to 1.5.4, for a file whose head is too far away; "Time" is there twice.
_COLUMNS = (
    *("Timepoint", "Time", "SocketID", "Time", "pktFlowWindow", "pktCongestionWindow", "pktFlightSize", "msRTT"),
    *("mbpsBandwidth", "mbpsMaxBW", "pktSent", "pktSentUnique", "pktSndLoss", "pktSndDrop", "pktRetrans"),
    *("pktSndFilterExtra", "byteSent", "byteSentUnique", "byteSndDrop", "byteAvailSndBuf", "msSndBuf", "mbpsSendRate"),
    *("usPktSndPeriod", "pktRecv", "pktRecvUnique", "pktRcvLoss", "pktRcvDrop", "pktRcvRetrans", "pktRcvBelated"),
    *("pktRcvFilterExtra", "pktRcvFilterSupply", "pktRcvFilterLoss", "byteRecv", "byteRecvUnique", "byteRcvLoss"),
    *("byteRcvDrop", "byteAvailRcvBuf", "msRcvBuf", "mbpsRecvRate", "msRcvTsbPdDelay"),
)


def read(host: Host, path: str) -> dict[str, float | int] | None:
    """Return the values of the last line by metric, None where there is none or it is old.

    Args:
        host: where to read.
        path: of the file.
    """
    text, age_s = host.tail(path, END_BYTES), host.age_s(path)
    if text is None or age_s is None:
        return None
    if age_s > STALE_S:
        host.fault(path, f"not written for {age_s:.0f} s")
        return None
    values = parse(text)
    if values is None:
        host.fault(path, "not understood")
    return values


def shares(before: Mapping[str, float], now: Mapping[str, float]) -> dict[str, float]:
    """Return what share of the packets between two readings was lost or sent again; nothing after a new start."""
    sent = now.get("srt.packets_sent_total", 0) - before.get("srt.packets_sent_total", 0)
    found = {}
    for counted, name in (("lost", "packet_loss"), ("retransmitted", "retransmit")):
        old, new = (values.get(f"srt.packets_{counted}_total") for values in (before, now))
        if old is not None and new is not None and sent > 0 and new >= old:
            found[f"srt.{name}_percent"] = round(min(100.0, 100 * (new - old) / sent), 3)
    return found


def parse(text: str) -> dict[str, float | int] | None:
    """Return the values of the last whole line of a file; None where it has none."""
    lines = [line for line in text.split("\n")[:-1] if line.strip()]
    if not lines:
        return None
    last = lines[-1].rstrip().rstrip(",")
    if last.startswith("{"):
        try:
            return _values(_flat(json_object(last)), 1)
        except UntrustedError:
            return None
    cells = last.split(",")
    names = lines[0].split(",") if lines[0].startswith(_HEAD) else list(_COLUMNS)
    return _values(dict(zip(names, cells, strict=True)), 2) if len(cells) == len(names) else None


def _values(row: Mapping[str, Any], column: int) -> dict[str, float | int] | None:
    found: dict[str, float | int] = {}
    for field in FIELDS:
        name, text = field[0], row.get(str(field[column]))
        value = integer(text, 0) if name.endswith("_total") else number(text, 0)
        if value is not None:
            found[name] = value if name.endswith("_total") else value * field[3]
    return found or None


def _flat(content: dict[str, Any]) -> dict[str, Any]:
    """Return ``{"link": {"rtt": 1}}`` as ``{"link.rtt": 1}``."""
    return {
        f"{section}.{name}": value
        for section, values in content.items()
        if isinstance(values, dict)
        for name, value in values.items()
    }
