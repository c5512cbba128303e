"""Read Netgear's mobile routers (Nighthawk M1, M2, M5, LB1120, LB2120) through their web interface.

Reads: /api/model.json, after /sess_cd_tmp where it wants a session first.
Source: https://github.com/amelchio/eternalegypt (wwan, wwanadv), https://github.com/jacobhere/netgear-m5 (the session),
    public readers of power.battChargeLevel and wwan.diagInfo of the MR5200. The router says this much without a login.
Errors: a signal strength of 0 is no value. The answer also contains passwords, IMEI and telephone numbers; only the
    fields named here are read.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from collectors.modem.place import RouterSession
from collectors.modem.reading import CONNECTED, REGISTERED, Modem
from common import untrusted
from common.untrusted import UntrustedError, inner

MODEL, SESSION = "/api/model.json", "/sess_cd_tmp"
BARS = 5

# wwan.currentPSserviceType, in lower case; the router's own word for what it does not know is "unknown".
TYPES = {
    "": "", "none": "", "unknown": "", "noservice": "", "gsm": "gsm", "gprs": "gprs", "edge": "edge", "umts": "umts",
    "wcdma": "umts", "hsdpa": "hsdpa", "hsupa": "hsupa", "hspa": "hspa", "hspaplus": "hspa+", "hspa+": "hspa+",
    "dchspaplus": "dc-hspa+", "dc-hspa+": "dc-hspa+", "lte": "lte", "lteca": "lte+", "5g": "5gnr", "nr5g": "5gnr",
    "5gnr": "5gnr", "nr": "5gnr",
}  # fmt: skip
_SIGNAL = {"rssi": "rssi", "rsrp": "rsrp", "rsrq": "rsrq", "snr": "sinr"}
_SIGNAL_5G = {"rsrp": "nr5gsigRsrp", "rsrq": "nr5gsigRsrq", "snr": "nr5gsigSnr"}


def ask(session: RouterSession) -> Modem | None:
    """Return a router's values, None if the device is no Netgear router.

    Raises:
        WebError: it does not answer.
    """
    answer = session.get(MODEL)
    if answer.status != HTTPStatus.OK:
        session.cookie = ""
        session.cookie = session.get(SESSION).cookie
        answer = session.get(MODEL) if session.cookie else answer
    if answer.status != HTTPStatus.OK:
        return None
    session.cookie = session.cookie or answer.cookie
    try:
        said = untrusted.json_object(answer.text)
    except UntrustedError:
        return None
    return _modem(session, said) if isinstance(inner(said, "wwan", "connection"), str) else None


def _modem(session: RouterSession, said: dict[str, Any]) -> Modem:
    wwan = inner(said, "wwan")
    kind = untrusted.words(wwan.get("currentPSserviceType"))
    details = _details(wwan)
    technology = "5gnr" if inner(details, "nr5gAttached") is True else TYPES.get(kind.lower(), kind)
    bars = untrusted.number(inner(wwan, "signalStrength", "bars"), 0, BARS)
    roaming = wwan.get("roaming")
    return Modem(
        path=f"netgear:{session.place.interface}",
        id=session.place.id,
        model=untrusted.words(inner(said, "general", "model")) or f"Netgear at {session.place.interface}",
        carrier=untrusted.words(wwan.get("registerNetworkDisplay")),
        technology=technology,
        interface=session.place.interface,
        state=CONNECTED if wwan["connection"] == "Connected" else REGISTERED,
        is_roaming=roaming if isinstance(roaming, bool) else None,
        signal_percent=None if bars is None else round(100 * bars / BARS),
        signal=_strengths(details, _SIGNAL_5G) or _strengths(inner(wwan, "signalStrength"), _SIGNAL),
        is_polled=True,
        stats=_stats(wwan),
        band=untrusted.words(inner(said, "wwanadv", "curBand"), 16),
        used_bytes=untrusted.integer(inner(wwan, "dataUsage", "generic", "dataTransferred"), 0),
        battery_percent=untrusted.number(inner(said, "power", "battChargeLevel"), 0, 100),
        unknown={} if kind.lower() in TYPES else {"currentPSserviceType": kind},
    )


def _details(wwan: dict[str, Any]) -> Any:
    """Return the details that 5G routers have besides, where they hold a valid 5G signal."""
    found = wwan.get("diagInfo")
    first = found[0] if isinstance(found, list) and found else None
    return first if inner(first, "nr5gsigValid") is True else None


def _strengths(rows: Any, names: dict[str, str]) -> dict[str, float]:
    """Return what a signal is made of; without a strength of the cell, or with 0 for it, the rest is no measurement."""
    found = {ours: untrusted.number(inner(rows, theirs)) for ours, theirs in names.items()}
    measured = {name: value for name, value in found.items() if value is not None and (value or name == "snr")}
    return measured if "rsrp" in measured else {"rssi": measured["rssi"]} if "rssi" in measured else {}


def _stats(wwan: dict[str, Any]) -> dict[str, float]:
    """Return the counts of the connection; the M1 has them apart, others in one object."""
    found = {
        "rx-bytes": wwan.get("dataTransferredRx", inner(wwan, "dataTransferred", "rxb")),
        "tx-bytes": wwan.get("dataTransferredTx", inner(wwan, "dataTransferred", "txb")),
        "duration": wwan.get("sessDuration"),
    }
    counts = {name: untrusted.integer(value, 0) for name, value in found.items()}
    return {name: count for name, count in counts.items() if count is not None}
