"""The bonded links: bitrate, quality, data and modem of each. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from common.thresholds import DEGRADED, ERROR, OK
from healthd.verdict import link_names
from healthd.verdict.latest import Latest, Value
from healthd.wording import bits, number, percent, size

FAR = 2.0  # times the next one
LEAST_BARS = 1_000_000.0  # bits per second that fill a link's bar when no link carries more


def links(latest: Latest, now_s: float, *, judged: bool = True) -> list[dict[str, Any]]:
    """Return a row for each bonded link; a link that is down is red only if none is up, and `judged`."""
    ups = latest.rows("srtla.link_up", now_s)
    rates = {_key(row): row.value for row in latest.rows("srtla.link_bits_per_second", now_s)}
    down = "" if not judged else DEGRADED if any(row.value for row in ups) else ERROR
    names, data = _names(latest, now_s), _data(latest, now_s)
    return [
        {
            **_link(row, names[_key(row)], down, latest, now_s),
            **_numbers(row, rates, latest, now_s),
            "data": size(data.get(_key(row))),
        }
        for row in ups
    ]


def down(latest: Latest, now_s: float) -> Iterator[tuple[str, Value]]:
    """Yield the name of each link that does not answer, and since when."""
    names = _names(latest, now_s)
    for row in latest.rows("srtla.link_up", now_s):
        if not row.value:
            yield names[_key(row)], row


def outlier(latest: Latest, now_s: float, metric: str) -> tuple[str, float] | None:
    """Return the name and value of the link of which a metric is far above that of all others, None without one."""
    names = _names(latest, now_s)
    rows = sorted((row for row in latest.rows(metric, now_s) if _key(row) in names), key=lambda row: -row.value)
    if len(rows) < 2 or rows[0].value <= FAR * rows[1].value:
        return None
    return names[_key(rows[0])], rows[0].value


def _names(latest: Latest, now_s: float) -> dict[link_names.Key, str]:
    keys = map(_key, latest.rows("srtla.link_up", now_s))
    return link_names.names(keys, _modems(latest, now_s), latest.link_names)


def _link(row: Value, name: str, down_level: str, latest: Latest, now_s: float) -> dict[str, str]:
    return {
        "id": "-".join(_key(row)),
        "name": name,
        "modem": " · ".join(part for part in _details(row, latest, now_s) if part and part != name),
        "level": OK if row.value else down_level,
        "state": "up" if row.value else "down",
    }


def _numbers(row: Value, rates: Mapping[link_names.Key, float], latest: Latest, now_s: float) -> dict[str, Any]:
    """Return a link's bitrate, its share of the most that one carries, and its quality; none of one that is down."""
    rate = rates.get(_key(row))
    rtt = latest.number("srtla.link_rtt_ms", now_s, **row.tags)
    loss = latest.number("srtla.link_loss_percent", now_s, **row.tags)
    if not row.value:
        rate = rtt = loss = None  # what was measured before it went down
    return {
        "rate": bits(rate),
        "share": rate / max([LEAST_BARS, *rates.values()]) if rate is not None else None,
        "rtt": number(rtt, "ms"),
        "loss": percent(loss, 1),
    }


def _data(latest: Latest, now_s: float) -> dict[link_names.Key, float]:
    """Return the bytes of this stream over each link, with those over addresses that its modem had before."""
    shown = [_key(row) for row in latest.rows("srtla.link_up", now_s)]
    at = {interface: (interface, ip) for interface, ip in shown}
    found: dict[link_names.Key, float] = {}
    for row in latest.rows("session.data_bytes", now_s):
        key = _key(row) if _key(row) in shown else at.get(_key(row)[0], _key(row))
        found[key] = found.get(key, 0) + row.value
    return found


def _details(row: Value, latest: Latest, now_s: float) -> Iterator[str]:
    """Yield a link's signal, modem, interface and address, as far as they are known."""
    modem = _modems(latest, now_s).get(row.tags.get("interface", ""), {})
    signal = latest.number("modem.signal_percent", now_s, modem=modem.get("modem", "")) if modem else None
    yield "" if signal is None else f"signal {percent(signal)}"
    yield modem.get("technology", "").upper()
    yield modem.get("model", "")
    yield from _key(row)


def _modems(latest: Latest, now_s: float) -> link_names.Modems:
    """Return the labels of each interface's modem."""
    return {row.tags["interface"]: row.tags for row in latest.rows("modem.info", now_s) if row.tags.get("interface")}


def _key(row: Value) -> link_names.Key:
    return row.tags.get("interface", ""), row.tags.get("ip", "")
