"""The bonded links: what each carries, how it does, and which modem it is. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from common.thresholds import DEGRADED, ERROR, OK
from healthd.page.latest import Latest, Value
from healthd.page.wording import DASH, bits, number, percent

LEAST_BARS = 1_000_000.0  # bits per second that fill a link's bar when no link carries more


def links(latest: Latest, now_s: float) -> list[dict[str, Any]]:
    """Return what is known of each bonded link; one that is down is red only when none is up."""
    ups = latest.rows("srtla.link_up", now_s)
    rates = {_key(row): row.value for row in latest.rows("srtla.link_bits_per_second", now_s)}
    most = max([LEAST_BARS, *rates.values()])
    down = DEGRADED if any(row.value for row in ups) else ERROR
    return [_link(row, rates.get(_key(row)), most, down, latest, now_s) for row in ups]


def down(latest: Latest, now_s: float) -> Iterator[tuple[str, Value]]:
    """Yield the name of each link that does not answer, and since when."""
    for row in latest.rows("srtla.link_up", now_s):
        if not row.value:
            yield name(row, latest, now_s), row


def name(row: Value, latest: Latest, now_s: float) -> str:
    """Return what people call a link: its carrier where the modem says it, else its interface or address."""
    interface, address = row.tags.get("interface", ""), row.tags.get("ip", "")
    carrier = _modem(interface, latest, now_s).get("carrier", "")
    return f"{carrier} ({interface})" if carrier else interface or address or DASH


def _link(row: Value, rate: float | None, most: float, down_level: str, latest: Latest, now_s: float) -> dict[str, Any]:
    rtt = latest.number("srtla.link_rtt_ms", now_s, **row.tags)
    loss = latest.number("srtla.link_loss_percent", now_s, **row.tags)
    if not row.value:
        rate = rtt = loss = None  # what was measured before it went down
    return {
        "id": "-".join(_key(row)),
        "name": name(row, latest, now_s),
        "modem": _detail(row, latest, now_s),
        "level": OK if row.value else down_level,
        "state": "up" if row.value else "down",
        "rate": bits(rate),
        "share": rate / most if rate is not None else None,
        "rtt": number(rtt, "ms"),
        "loss": percent(loss, 1),
    }


def _detail(row: Value, latest: Latest, now_s: float) -> str:
    """Return a link's address, modem and signal."""
    modem = _modem(row.tags.get("interface", ""), latest, now_s)
    signal = latest.number("modem.signal_percent", now_s, modem=modem.get("modem", "")) if modem else None
    parts = [row.tags.get("ip", ""), modem.get("model", ""), modem.get("technology", "")]
    return " · ".join([*filter(None, parts), *([percent(signal)] if signal is not None else [])])


def _modem(interface: str, latest: Latest, now_s: float) -> dict[str, str]:
    """Return the labels of an interface's modem, nothing where there is none."""
    rows = latest.rows("modem.info", now_s) if interface else []
    return next((dict(row.tags) for row in rows if row.tags.get("interface") == interface), {})


def _key(row: Value) -> tuple[str, str]:
    return row.tags.get("interface", ""), row.tags.get("ip", "")
