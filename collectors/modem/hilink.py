"""Huawei's HiLink dongles, asked over HTTP; a part of the modem collector.

Such a dongle is a router behind a USB network interface, and no modem to ModemManager. Several of them have the same
address, so each is asked through its own interface.

Reads: proc/net/route, sys/class/net/*/device, and at the gateway of a USB interface /api/webserver/SesTokInfo,
    /api/device/signal, /api/monitoring/status, /api/net/current-plmn.
Source: the dongles' web interface; answers are XML with the units in the text, e.g. ``-86dBm``.
Errors: a gateway that never spoke this is asked again after `AGAIN_S`. Neither IMEI, IMSI, ICCID nor cell is kept.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from ipaddress import IPv4Address
from typing import NamedTuple

from collectors.host import Host
from collectors.modem.modem_manager import CONNECTED, Modem
from collectors.web import WebError, get

DONGLE = "usb-"  # how the ids begin
TIMEOUT_S = 0.7  # it is at the other end of a USB cable; a busy one takes 300 ms
AGAIN_S = 300.0
MAX_DONGLES = 6
ROUTES = "proc/net/route"
DRIVERS = frozenset({"cdc_ether", "rndis_host", "cdc_ncm", "huawei_cdc_ncm"})
REGISTERED = 8  # MM_MODEM_STATE_REGISTERED: what is not connected, in ModemManager's numbers
IS_CONNECTED = "901"

# CurrentNetworkTypeEx, else CurrentNetworkType.
TECHNOLOGIES = {"101": "lte", "1011": "lte", "19": "lte", "111": "5gnr", "20": "5gnr"}
TECHNOLOGIES |= {"41": "umts", "45": "hspa", "46": "hspa+", "9": "hspa", "2": "umts"} | {"1": "gsm", "3": "edge"}

_SIGNAL = {"rssi": "rssi", "rsrp": "rsrp", "rsrq": "rsrq", "snr": "sinr"}  # ours, and the dongle's word
_TAG = re.compile(r"<(\w{1,40})>([^<]{0,200})</\1>")
_NUMBER = re.compile(r"-?\d{1,4}(?:\.\d{1,2})?")
_UP_WITH_GATEWAY = 0x3  # RTF_UP | RTF_GATEWAY


class Dongle(NamedTuple):
    """Where a dongle may be: interface, address of its gateway, place of its plug, e.g. ``1-1.2``."""

    interface: str
    address: str
    plug: str


@dataclass
class Dongles:
    """What is remembered of each place.

    Attributes:
        not_before_s: until when a gateway that spoke something else is not asked, in monotonic seconds.
        known: those that have answered, as they did last.
    """

    not_before_s: dict[Dongle, float] = field(default_factory=dict)
    known: dict[Dongle, Modem] = field(default_factory=dict)

    def modems(self, host: Host) -> Iterator[Modem]:
        """Give the dongles that are there; one that does not answer now has no state and no numbers."""
        found = list(candidates(host))[:MAX_DONGLES]
        self.not_before_s = {dongle: at_s for dongle, at_s in self.not_before_s.items() if dongle in found}
        self.known = {dongle: modem for dongle, modem in self.known.items() if dongle in found}
        for dongle in found:
            if host.now_s < self.not_before_s.get(dongle, 0.0):
                continue
            modem = ask(dongle)
            if modem is not None:
                self.known[dongle] = modem
            elif dongle in self.known:
                modem = silent(self.known[dongle])
            else:
                self.not_before_s[dongle] = host.now_s + AGAIN_S
                continue
            yield modem


def silent(modem: Modem) -> Modem:
    """Return what holds of a dongle that does not answer: who it is."""
    return modem._replace(state=None, is_roaming=None, signal_percent=None, signal={}, technology="")


def candidates(host: Host) -> Iterator[Dongle]:
    """Give the USB network interfaces that have a gateway, one each."""
    seen = set()
    for line in (host.text(ROUTES) or "").splitlines()[1:]:
        columns = line.split()
        if len(columns) < 4 or columns[0] in seen or int(columns[3], 16) & _UP_WITH_GATEWAY != _UP_WITH_GATEWAY:
            continue
        device = f"sys/class/net/{columns[0]}/device"
        if host.link(f"{device}/driver").rpartition("/")[2] in DRIVERS:
            seen.add(columns[0])
            address = str(IPv4Address(struct.pack("<I", int(columns[2], 16))))
            yield Dongle(columns[0], address, host.link(device).rpartition("/")[2].partition(":")[0])


def ask(dongle: Dongle) -> Modem | None:
    """Return what a dongle says, None where it is none."""
    session = _answer(dongle, "webserver/SesTokInfo", "")
    if "SesInfo" not in session:
        return None
    cookie = session["SesInfo"]
    status, signal, carrier = (
        _answer(dongle, path, cookie) for path in ("monitoring/status", "device/signal", "net/current-plmn")
    )
    kind = status.get("CurrentNetworkTypeEx") or status.get("CurrentNetworkType", "")
    numbers = {name: _number(signal.get(tag, "")) for name, tag in _SIGNAL.items()}
    bars, most = _number(status.get("SignalIcon", "")), _number(status.get("maxsignal", "")) or 5.0
    return Modem(
        path=f"hilink:{dongle.interface}",
        id=f"{DONGLE}{dongle.plug}",
        model=f"HiLink at {dongle.interface}",
        carrier=carrier.get("FullName", "")[:64],
        technology=TECHNOLOGIES.get(kind, ""),
        interface=dongle.interface,
        state=_state(status.get("ConnectionStatus", "")),
        is_roaming={"0": False, "1": True}.get(status.get("RoamingStatus", "")),
        signal_percent=None if bars is None else round(100 * bars / most),
        signal={name: value for name, value in numbers.items() if value is not None},
        is_polled=True,
        stats={},
    )


def _state(status: str) -> int | None:
    if not status:
        return None
    return CONNECTED if status == IS_CONNECTED else REGISTERED


def _answer(dongle: Dongle, path: str, cookie: str) -> dict[str, str]:
    """Return an answer's elements; nothing where there is none, and of an error."""
    headers = {"Cookie": cookie} if cookie else {}
    try:
        answer = get(f"http://{dongle.address}/api/{path}", TIMEOUT_S, headers=headers, interface=dongle.interface)
    except WebError:
        return {}
    return dict(_TAG.findall(answer.text)) if answer.status == HTTPStatus.OK else {}


def _number(text: str) -> float | None:
    """Return the number in ``-86dBm``; of a bound such as ``&gt;=-51dBm`` the bound."""
    match = _NUMBER.search(text)
    return float(match[0]) if match else None
