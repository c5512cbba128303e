"""The values of one modem, from ModemManager or from the web interface of a router."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from common.untrusted import json_value

REGISTERED, CONNECTED = 8, 11  # MM_MODEM_STATE_*, ModemManager-enums.h
NO_WORDS: Mapping[str, str] = {}


class Modem(NamedTuple):
    """The current values of a modem; unknown ones are None or "".

    Attributes:
        path: its object at ModemManager, which changes when it is plugged in again.
        id: what does not: a hash of its equipment, or the USB port of a router.
        interface: its network interface.
        state: in ModemManager's numbers.
        signal_percent: as it sums it up.
        signal: rssi, rsrp (dBm), rsrq, snr (dB), of the fastest technology that says anything.
        is_polled: the signal's details are asked for.
        stats: of the connection: rx-bytes, tx-bytes, duration (seconds).
        band: that is in use, e.g. B3 or n78.
        used_bytes: data used in the current billing period, as the router counts it.
        battery_percent: of a router with one.
        unknown: words that are in none of the tables, by what they are.
        note: a sentence on what is missing, and why.
    """

    path: str
    id: str
    model: str
    carrier: str
    technology: str
    interface: str
    state: int | None
    is_roaming: bool | None
    signal_percent: float | None
    signal: Mapping[str, float]
    is_polled: bool
    stats: Mapping[str, float]
    band: str = ""
    used_bytes: int | None = None
    battery_percent: float | None = None
    unknown: Mapping[str, str] = NO_WORDS
    note: str = ""


def recorded(lines: Iterable[str]) -> list[Modem] | None:
    """Return the modems that a recorded tree holds as JSON, by the attributes of `Modem`; None where it is none."""
    try:
        return [Modem(**row) for row in json_value("".join(lines))]
    except (ValueError, TypeError):
        return None
