"""Read Huawei's HiLink dongles and routers through their web interface.

Reads: /api/webserver/SesTokInfo, /api/monitoring/{status,traffic-statistics,month_statistics}, /api/device/{signal,
    basic_information}, /api/net/current-plmn.
Source: the dongles' own web interface; its constants MACRO_NET_WORK_TYPE_* (main.js) as public code has them:
    https://github.com/Salamek/huawei-lte-api, luci-app-3ginfo-lite (huawei_hilink.sh).
Errors: older firmware has no sessions (error 100002 to SesTokInfo) and is asked without one; what wants a login
    (100003, 125002) is absent, which is reported. Neither IMEI, IMSI, ICCID nor cell is kept.
"""

from __future__ import annotations

import re
import time
from http import HTTPStatus

from collectors.modem.place import RouterSession
from collectors.modem.reading import CONNECTED, REGISTERED, Modem
from collectors.web import WebError
from common import untrusted
from common.untrusted import UntrustedError

IS_CONNECTED = "901"
SELDOM_S = 60.0
LOGIN_WANTED = frozenset({"100003", "125002"})

# CurrentNetworkType. 17 is HSPA+ with 64QAM, 18 with MIMO: two carriers in the dongles' own words.
TYPES = {
    "0": "", "1": "gsm", "2": "gprs", "3": "edge", "4": "umts", "5": "hsdpa", "6": "hsupa", "7": "hspa",
    "8": "td-scdma", "9": "hspa+", "10": "evdo0", "11": "evdoa", "12": "evdob", "13": "1xrtt", "14": "umb",
    "15": "1xevdv", "16": "3xrtt", "17": "dc-hspa+", "18": "dc-hspa+", "19": "lte", "20": "5gnr",
}  # fmt: skip
# CurrentNetworkTypeEx, which newer firmware has besides.
TYPES_EX = {
    "0": "", "1": "gsm", "2": "gprs", "3": "edge", "21": "is95a", "22": "is95b", "23": "1xrtt", "24": "evdo0",
    "25": "evdoa", "26": "evdob", "27": "1xrtt", "28": "evdo0", "29": "evdoa", "30": "evdob", "31": "ehrpd0",
    "32": "ehrpda", "33": "ehrpdb", "34": "ehrpd0", "35": "ehrpda", "36": "ehrpdb", "41": "umts", "42": "hsdpa",
    "43": "hsupa", "44": "hspa", "45": "hspa+", "46": "dc-hspa+", "61": "td-scdma", "62": "td-hsdpa", "63": "td-hsupa",
    "64": "td-hspa", "65": "td-hspa+", "81": "wimax", "101": "lte", "1011": "lte+", "111": "5gnr",
}  # fmt: skip
TWO_CARRIERS = frozenset({"17", "18"})

_SIGNAL = {"rssi": "rssi", "rsrp": "rsrp", "rsrq": "rsrq", "snr": "sinr"}  # ours, and the dongle's word
_STATS = {"rx-bytes": "CurrentDownload", "tx-bytes": "CurrentUpload", "duration": "CurrentConnectTime"}
_NUMBER = re.compile(r"-?\d{1,4}(?:\.\d{1,2})?")


def ask(session: RouterSession) -> Modem | None:
    """Return a dongle's values, None if the device is no HiLink dongle.

    Raises:
        WebError: it does not answer.
    """
    session.cookie = ""
    opened = _answer(session, "webserver/SesTokInfo")
    if not opened.keys() & {"SesInfo", "code"}:
        return None
    cookie = untrusted.words(opened.get("SesInfo"), 1000)
    session.cookie = f"SessionID={cookie}" if cookie and "=" not in cookie else cookie
    status = _answer(session, "monitoring/status")
    if "ConnectionStatus" not in status:
        return None
    session.model = session.model or _extra(session, "device/basic_information").get("devicename", "")
    return _modem(session, status)


def _modem(session: RouterSession, status: dict[str, str]) -> Modem:
    signal, traffic = (_extra(session, page) for page in ("device/signal", "monitoring/traffic-statistics"))
    carrier, month = (_seldom(session, page) for page in ("net/current-plmn", "monitoring/month_statistics"))
    technology, unknown = technology_of(status.get("CurrentNetworkType", ""), status.get("CurrentNetworkTypeEx", ""))
    bars, most = _number(status.get("SignalIcon", "")), _number(status.get("maxsignal", "")) or 5.0
    return Modem(
        path=f"hilink:{session.place.interface}",
        id=session.place.id,
        model=untrusted.words(session.model) or f"HiLink at {session.place.interface}",
        carrier=untrusted.words(carrier.get("FullName")),
        technology=technology,
        interface=session.place.interface,
        state=_state(status["ConnectionStatus"]),
        is_roaming={"0": False, "1": True}.get(status.get("RoamingStatus", "")),
        signal_percent=None if bars is None else round(100 * bars / most),
        signal=_numbers({name: _number(signal.get(tag, "")) for name, tag in _SIGNAL.items()}),
        is_polled=True,
        stats=_numbers({name: untrusted.integer(traffic.get(tag)) for name, tag in _STATS.items()}),
        band=_band(signal.get("band", ""), technology),
        used_bytes=_sum(month.get("CurrentMonthDownload"), month.get("CurrentMonthUpload")),
        battery_percent=untrusted.number(status.get("BatteryPercent"), 0, 100),
        unknown=unknown,
        note="gives its signal only after a login" if signal.get("code") in LOGIN_WANTED else "",
    )


def technology_of(kind: str, extended: str) -> tuple[str, dict[str, str]]:
    """Return the technology of two of Huawei's numbers, and which of them are in no table.

    Args:
        kind: CurrentNetworkType.
        extended: CurrentNetworkTypeEx, "" where the firmware has none.
    """
    if kind in TWO_CARRIERS:
        return TYPES[kind], {}
    name, number, table = (
        ("CurrentNetworkTypeEx", extended, TYPES_EX) if extended else ("CurrentNetworkType", kind, TYPES)
    )
    if number in table or not number:
        return table.get(number, ""), {}
    return TYPES.get(kind, number) if extended else number, {name: number}


def _state(status: str) -> int | None:
    if not status:
        return None
    return CONNECTED if status == IS_CONNECTED else REGISTERED


def _band(number: str, technology: str) -> str:
    prefix = "n" if technology == "5gnr" else "B"
    return f"{prefix}{number}" if number.isdecimal() and len(number) <= 3 else ""


def _answer(session: RouterSession, page: str) -> dict[str, str]:
    """Return an answer's elements; of an error ``code``, of anything else nothing."""
    answer = session.get(f"/api/{page}")
    if answer.status != HTTPStatus.OK:
        return {}
    try:
        return untrusted.elements(answer.text)
    except UntrustedError:
        return {}


def _extra(session: RouterSession, page: str) -> dict[str, str]:
    """Return an answer's elements; nothing where there is none, which costs what it would have told."""
    try:
        return _answer(session, page)
    except WebError:
        return {}


def _seldom(session: RouterSession, page: str) -> dict[str, str]:
    """Return an answer's elements, no older than `SELDOM_S`: each question is a connection, and this changes slowly."""
    asked_s, found = session.kept.get(page, (float("-inf"), {}))
    now_s = time.monotonic()
    if now_s - asked_s >= SELDOM_S:
        found = _extra(session, page)
        session.kept[page] = now_s, found
    return found


def _number(text: str) -> float | None:
    """Return the number in ``-86dBm``; of a bound such as ``>=-51dBm`` the bound."""
    match = _NUMBER.search(text)
    return float(match[0]) if match else None


def _numbers(found: dict[str, float | None]) -> dict[str, float]:
    return {name: value for name, value in found.items() if value is not None}


def _sum(*texts: str | None) -> int | None:
    counts = [untrusted.integer(text, 0) for text in texts]
    return sum(count or 0 for count in counts) if None not in counts else None
