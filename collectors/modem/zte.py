"""Read ZTE's dongles and routers through their web interface.

Reads: /goform/goform_get_cmd_process, one request for all values.
Source: the routers' own web interface, as public code and captures have it: ZTE MF823 (modem_main_state, ppp_status,
    signalbar, realtime_*, monthly_*; units bytes and seconds), MF79U (without the header Referer every value is ""),
    U50 and MC7010 (network_type ENDC and SA; Z5g_rsrp, Z5g_SINR; battery_value), main.js (checkConnectedStatus).
Errors: a firmware that wants a login answers with empty values, which are absent, and that is said. IMEI, IMSI, ICCID
    and cell are not asked for.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from collectors.modem.place import RouterSession
from collectors.modem.reading import CONNECTED, REGISTERED, Modem
from common import untrusted
from common.untrusted import UntrustedError

FIELDS = (
    "modem_main_state", "ppp_status", "network_type", "network_provider", "network_provider_fullname", "signalbar",
    "simcard_roam", "rssi", "lte_rssi", "lte_rsrp", "lte_rsrq", "lte_snr", "Z5g_rsrp", "Z5g_rsrq", "Z5g_SINR",
    "wan_active_band", "nr5g_action_band", "realtime_rx_bytes", "realtime_tx_bytes", "realtime_time",
    "monthly_rx_bytes", "monthly_tx_bytes", "battery_value", "battery_vol_percent", "model_name", "wa_inner_version",
)  # fmt: skip
QUESTION = f"/goform/goform_get_cmd_process?isTest=false&multi_data=1&cmd={'%2C'.join(FIELDS)}"
BARS = 5

# network_type, in lower case.
TYPES = {
    "": "", "no service": "", "no_service": "", "limited service": "", "limited_service": "", "gsm": "gsm",
    "gprs": "gprs", "edge": "edge", "umts": "umts", "wcdma": "umts", "hsdpa": "hsdpa", "hsupa": "hsupa",
    "hspa": "hspa", "hspa+": "hspa+", "dc": "dc-hspa+", "dc-hspa": "dc-hspa+", "dc-hspa+": "dc-hspa+",
    "td-scdma": "td-scdma", "evdo": "evdoa", "cdma": "1xrtt", "1xrtt": "1xrtt", "lte": "lte", "fdd_lte": "lte",
    "tdd_lte": "lte", "lte_fdd": "lte", "lte_tdd": "lte", "lte_ca": "lte+", "lte-ca": "lte+", "lte_a": "lte+",
    "lte-nsa": "5gnr", "endc": "5gnr", "nsa": "5gnr", "sa": "5gnr", "5g": "5gnr", "nr5g-sa": "5gnr",
    "nr5g-nsa": "5gnr",
}  # fmt: skip
ROAMING = {"home": False, "0": False, "internal": True, "minternal": True, "international": True, "1": True}
_SIGNAL_5G = {"rsrp": "Z5g_rsrp", "rsrq": "Z5g_rsrq", "snr": "Z5g_SINR"}
_SIGNAL = {"rssi": "lte_rssi", "rsrp": "lte_rsrp", "rsrq": "lte_rsrq", "snr": "lte_snr"}
_STATS = {"rx-bytes": "realtime_rx_bytes", "tx-bytes": "realtime_tx_bytes", "duration": "realtime_time"}


def ask(session: RouterSession) -> Modem | None:
    """Return a router's values, None if the device is no ZTE router.

    Raises:
        WebError: it does not answer.
    """
    answer = session.get(QUESTION, Referer=f"http://{session.place.address}/index.html")
    if answer.status != HTTPStatus.OK:
        return None
    try:
        said = untrusted.json_object(answer.text)
    except UntrustedError:
        return None
    return _modem(session, said) if {"modem_main_state", "ppp_status"} <= said.keys() else None


def _modem(session: RouterSession, said: dict[str, Any]) -> Modem:
    kind = untrusted.words(said.get("network_type"))
    technology = TYPES.get(kind.lower(), kind)
    bars = untrusted.number(said.get("signalbar"), 0, BARS)
    words = {name: untrusted.words(said.get(name)) for name in FIELDS}
    return Modem(
        path=f"zte:{session.place.interface}",
        id=session.place.id,
        model=words["model_name"] or words["wa_inner_version"] or f"ZTE at {session.place.interface}",
        carrier=words["network_provider_fullname"] or words["network_provider"],
        technology=technology,
        interface=session.place.interface,
        state=_state(words["ppp_status"]),
        is_roaming=ROAMING.get(words["simcard_roam"].lower()),
        signal_percent=None if bars is None else round(100 * bars / BARS),
        signal=_signal(said, is_5g=technology == "5gnr"),
        is_polled=True,
        stats=_numbers(said, _STATS),
        band=words["nr5g_action_band"] or words["wan_active_band"],
        used_bytes=_used(said),
        battery_percent=_battery(said),
        unknown={} if kind.lower() in TYPES else {"network_type": kind},
        note="" if any(words.values()) else "gives its numbers only after a login",
    )


def _state(status: str) -> int | None:
    """Return the state that ``ppp_connected``, ``ipv4_ipv6_connected``, ``ppp_disconnecting`` … is."""
    if not status:
        return None
    return CONNECTED if status.endswith("_connected") else REGISTERED


def _signal(said: dict[str, Any], *, is_5g: bool) -> dict[str, float]:
    """Return the signal of the technology in use: values of the other one may be left over from before."""
    found = _numbers(said, _SIGNAL_5G) if is_5g else {}
    found = found if "rsrp" in found else _numbers(said, _SIGNAL)
    rssi = untrusted.number(said.get("rssi"))
    return found if "rssi" in found or rssi is None else {**found, "rssi": rssi}


def _numbers(said: dict[str, Any], names: dict[str, str]) -> dict[str, float]:
    numbers = {ours: untrusted.number(said.get(theirs)) for ours, theirs in names.items()}
    return {name: value for name, value in numbers.items() if value is not None}


def _used(said: dict[str, Any]) -> int | None:
    received, sent = (untrusted.integer(said.get(f"monthly_{way}_bytes"), 0) for way in ("rx", "tx"))
    return None if received is None or sent is None else received + sent


def _battery(said: dict[str, Any]) -> float | None:
    for name in ("battery_value", "battery_vol_percent"):
        level = untrusted.number(said.get(name), 0, 100)
        if level is not None:
            return level
    return None
