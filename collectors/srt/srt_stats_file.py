"""The statistics file of srt-live-transmit, JSON or CSV; a part of the SRT collector.

Reads: the last whole line of a file written with `-statsout:FILE -f`. Source: apps/statswriter.cpp of libsrt.
Errors: a line comes every so many packets, so that a stall is silence: what is older than ten seconds is nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from collectors.host import Host

STALE_S = 10.0

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


def read(host: Host, path: str) -> dict[str, float | int] | None:
    """Return the values of the last line by metric, None where there is none or it is old.

    Args:
        host: where to read.
        path: of the file.
    """
    text, age_s = host.text(path), host.age_s(path)
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
    if lines[0].startswith(_HEAD):
        return _values(dict(zip(lines[0].split(","), lines[-1].split(","), strict=False)), 2)
    try:
        content = json.loads(lines[-1])
    except ValueError:
        return None
    return _values(_flat(content), 1) if isinstance(content, dict) else None


def _values(row: Mapping[str, Any], column: int) -> dict[str, float | int] | None:
    found: dict[str, float | int] = {}
    for field in FIELDS:
        name, one = field[0], field[3]
        try:
            found[name] = int(row[str(field[column])]) if one == 1 and name.endswith("_total") else (
                float(row[str(field[column])]) * one
            )  # fmt: skip
        except (KeyError, ValueError, TypeError):
            continue
    return found or None


def _flat(content: dict[str, Any]) -> dict[str, Any]:
    """Return ``{"link": {"rtt": 1}}`` as ``{"link.rtt": 1}``."""
    return {
        f"{section}.{name}": value
        for section, values in content.items()
        if isinstance(values, dict)
        for name, value in values.items()
    }
