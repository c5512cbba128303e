"""Routers that only a web page knows: where they are looked for, whose turn it is, what ZTE's and Netgear's say."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from collectors.host import Host
from collectors.modem import modem, netgear, routers, zte
from collectors.modem.place import Gateway, RouterSession, places
from collectors.modem.reading import CONNECTED, REGISTERED, Modem
from collectors.modem.routers import Routers
from collectors.web import WebError
from common.events import Event
from common.sample import Sample
from tests.unit.collectors.web_server import Asked, serving

ROUTES = (
    "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n"
    "usb0\t00000000\t0108A8C0\t0003\t0\t0\t100\t00000000\n"
    "usb0\t0008A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\n"
    "eth0\t00000000\t0101A8C0\t0003\t0\t0\t200\t00000000\n"
    "eth1\t0000FEA9\t00000000\t0001\t0\t0\t200\t0000FFFF\n"
    "eth2\t00000000\t0105A8C0\t0003\t0\t0\t300\t00000000\n"
    "usb1\tgarbage\n\nusb2\t00000000\t0108A8C0ff\t0003\t0\n"
)
# As an MF823 answers, and a U50 in a 5G network; the values are our own.
ZTE_LTE = {
    "modem_main_state": "modem_init_complete", "ppp_status": "ppp_connected", "network_type": "LTE",
    "network_provider": "O\u202eTel", "signalbar": "4", "simcard_roam": "Home", "rssi": "-67", "lte_rsrp": "-95",
    "lte_rsrq": "-11", "lte_snr": "8", "wan_active_band": "LTE BAND 3", "realtime_rx_bytes": "229674",
    "realtime_tx_bytes": "123064", "realtime_time": "720", "monthly_rx_bytes": "350813936",
    "monthly_tx_bytes": "67138992", "battery_vol_percent": "", "wa_inner_version": "MF823_T03", "Z5g_rsrp": "",
}  # fmt: skip
ZTE_5G = {
    "modem_main_state": "modem_init_complete", "ppp_status": "ipv4_ipv6_connected", "network_type": "ENDC",
    "signalbar": "5", "Z5g_rsrp": "-81", "Z5g_SINR": "33.0", "lte_rsrp": "0", "battery_value": "60",
    "nr5g_action_band": "n78",
}  # fmt: skip
NETGEAR: dict[str, Any] = {
    "general": {"model": "MR1100", "IMEI": "867034050000001", "FSN": "secret-serial"},
    "power": {"battChargeLevel": 72, "batteryTemperature": 31},
    "session": {"secToken": "secret-token"},
    "wwan": {
        "connection": "Connected", "currentPSserviceType": "LTE", "registerNetworkDisplay": "Telstra", "roaming": False,
        "signalStrength": {"rssi": -61, "rscp": 0, "rsrp": -93, "rsrq": -12, "bars": 3, "sinr": 0},
        "dataTransferred": {"totalb": "300", "rxb": "100", "txb": "200"}, "sessDuration": 3600,
        "dataUsage": {"generic": {"dataTransferred": 1288490188}},
    },
    "wwanadv": {"curBand": "LTE B3", "cellId": 134318388},
}  # fmt: skip


def plug(root: Path, interface: str, driver: str, place: str) -> None:
    """Give a network interface a device and its driver."""
    device = root / f"sys/devices/usb1/{place}"
    device.mkdir(parents=True)
    folder = root / f"sys/class/net/{interface}"
    folder.mkdir(parents=True)
    (folder / "device").symlink_to(f"../../../devices/usb1/{place}")
    (device / "driver").symlink_to(f"../../../bus/usb/drivers/{driver}")


def asked(ask: routers.Ask, answers: Callable[[Asked], tuple[int, str]]) -> Modem | None:
    """Return what a make's module makes of the answers of a gateway."""
    with serving(answers) as address:
        return ask(RouterSession(Gateway("lo", address, "1-1.2"), time.monotonic() + 30))


def heard(ask: routers.Ask, said: object) -> Modem:
    """Return what a router says that answers everything with one JSON text."""
    found = asked(ask, lambda _: (200, json.dumps(said)))
    assert found is not None
    return found


def test_where_routers_are_looked_for(tmp_path: Path) -> None:
    """At the gateways of USB network interfaces, and of those that are named; odd rows are no places."""
    plug(tmp_path, "usb0", "rndis_host", "1-1.2:1.0")
    plug(tmp_path, "eth0", "r8169", "0000:01")
    (tmp_path / "proc/net").mkdir(parents=True)
    (tmp_path / "proc/net/route").write_text(ROUTES)
    usb = Gateway("usb0", "192.168.8.1", "1-1.2")
    assert [usb] == list(places(Host(tmp_path)))
    assert [usb, Gateway("eth2", "192.168.5.1", "eth2")] == list(places(Host(tmp_path), ("eth2",)))


def test_a_zte_stick() -> None:
    """Strings become numbers, an empty one nothing; asked with the header without which all is empty."""
    seen: list[Asked] = []

    def answer(request: Asked) -> tuple[int, str]:
        seen.append(request)
        return 200, json.dumps(ZTE_LTE)

    found = asked(zte.ask, answer)
    assert found is not None
    assert ("usb-1-1.2", "MF823_T03", "OTel", "lte", CONNECTED, False, 80) == (
        found.id, found.model, found.carrier, found.technology, found.state, found.is_roaming, found.signal_percent,
    )  # fmt: skip
    assert {"rssi": -67.0, "rsrp": -95.0, "rsrq": -11.0, "snr": 8.0} == found.signal
    assert {"rx-bytes": 229674, "tx-bytes": 123064, "duration": 720} == found.stats
    assert ("LTE BAND 3", 417952928, None, "") == (found.band, found.used_bytes, found.battery_percent, found.note)
    assert seen[0].headers["Referer"].endswith("/index.html")
    assert not {"imei", "imsi", "iccid", "cell_id"} & set(seen[0].path.split("cmd=")[1].split("%2C"))


def test_a_zte_router_in_a_5g_network() -> None:
    """The signal is 5G's; what is left over of LTE is not."""
    found = heard(zte.ask, ZTE_5G)
    assert ("5gnr", CONNECTED, 60.0, "n78") == (found.technology, found.state, found.battery_percent, found.band)
    assert {"rsrp": -81.0, "snr": 33.0} == found.signal


@pytest.mark.parametrize(
    ("said", "technology", "state", "note"),
    [
        ({**ZTE_LTE, "ppp_status": "ppp_disconnected"}, "lte", REGISTERED, ""),
        ({**ZTE_LTE, "ppp_status": "ppp_connecting"}, "lte", REGISTERED, ""),
        ({"modem_main_state": "modem_sim_undetected", "ppp_status": "ppp_disconnected"}, "", REGISTERED, ""),
        (dict.fromkeys(ZTE_LTE, ""), "", None, "gives its numbers only after a login"),
        ({**ZTE_LTE, "network_type": "DC-HSPA+"}, "dc-hspa+", CONNECTED, ""),
        ({**ZTE_LTE, "network_type": "No Service"}, "", CONNECTED, ""),
    ],
)  # fmt: skip
def test_what_zte_says_otherwise(said: object, technology: str, state: int | None, note: str) -> None:
    """Idle, starting, without a SIM, without a login."""
    found = heard(zte.ask, said)
    assert (technology, state, note) == (found.technology, found.state, found.note)


@pytest.mark.parametrize(("ask", "said", "name"), [
    (zte.ask, {**ZTE_LTE, "network_type": "6G"}, "network_type"),
    (netgear.ask, {**NETGEAR, "wwan": {**NETGEAR["wwan"], "currentPSserviceType": "6G"}}, "currentPSserviceType"),
])  # fmt: skip
def test_a_technology_that_is_in_no_table_is_passed_on_and_named(ask: routers.Ask, said: object, name: str) -> None:
    """As it is."""
    found = heard(ask, said)
    assert ("6G", {name: "6G"}) == (found.technology, found.unknown)


def test_a_netgear_router() -> None:
    """Signal, band, use, battery; nothing of what its answer holds besides."""
    found = heard(netgear.ask, NETGEAR)
    assert ("MR1100", "Telstra", "lte", CONNECTED, False, 60) == (
        found.model, found.carrier, found.technology, found.state, found.is_roaming, found.signal_percent,
    )  # fmt: skip
    assert {"rssi": -61.0, "rsrp": -93.0, "rsrq": -12.0, "snr": 0.0} == found.signal
    assert {"rx-bytes": 100, "tx-bytes": 200, "duration": 3600} == found.stats
    assert ("LTE B3", 1288490188, 72.0) == (found.band, found.used_bytes, found.battery_percent)
    assert not any(secret in repr(found) for secret in ("867034050000001", "secret", "134318388"))


def test_a_netgear_router_that_wants_a_session_first() -> None:
    """It redirects until the cookie that it gives comes back, and the cookie is kept for the next time."""
    with serving(lambda request: (200, json.dumps(NETGEAR)) if request.headers.get("Cookie") else (302, "")) as address:
        session = RouterSession(Gateway("lo", address, "1-1"), time.monotonic() + 30)
        assert netgear.ask(session) is None
        session.cookie = "sessionId=abc"
        assert netgear.ask(session) is not None
        assert "sessionId=abc" == session.cookie


def test_a_netgear_router_with_5g() -> None:
    """Its details hold the signal of 5G; without a valid one LTE's counts."""
    details = {
        "nr5gAttached": True,
        "nr5gsigValid": True,
        "nr5gsigRsrp": "-88",
        "nr5gsigRsrq": "-11",
        "nr5gsigSnr": "0",
    }
    said = {**NETGEAR, "wwan": {**NETGEAR["wwan"], "diagInfo": [details]}}
    found = heard(netgear.ask, said)
    assert ("5gnr", {"rsrp": -88.0, "rsrq": -11.0, "snr": 0.0}) == (found.technology, found.signal)
    said["wwan"]["diagInfo"] = [{**details, "nr5gsigValid": False}]
    assert -93.0 == heard(netgear.ask, said).signal["rsrp"]


def test_a_strength_of_0_is_none() -> None:
    """Then the ratios beside it are no measurement either."""
    strengths = {"rssi": -70, "rsrp": 0, "rsrq": 0, "sinr": 0, "bars": 0}
    said = {**NETGEAR, "wwan": {**NETGEAR["wwan"], "connection": "Disconnected", "signalStrength": strengths}}
    found = heard(netgear.ask, said)
    assert (REGISTERED, {"rssi": -70.0}, 0) == (found.state, found.signal, found.signal_percent)


@pytest.mark.parametrize("ask", [zte.ask, netgear.ask])
@pytest.mark.parametrize(
    "text", ["", "<html></html>", "[]", "{}", "[" * 9999, '{"wwan": 1}', '{"ppp_status": 1}', "NaN"]
)
def test_what_is_no_router_of_that_make(ask: routers.Ask, text: str) -> None:
    """Whatever it is."""
    assert asked(ask, lambda _: (200, text)) is None


class Playing:
    """The modem collector with routers that a test plays."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *here: Gateway) -> None:
        self.plugged, self.answering = list(here), set(here)
        self.asked: list[Gateway] = []
        self._host, self._state = Host(), modem.State()
        monkeypatch.setattr(routers, "places", lambda *_: list(self.plugged))
        monkeypatch.setattr(routers, "MAKES", (self._other, self._ask))
        monkeypatch.setattr(modem, "_modems", lambda *_: ([], False))

    def _other(self, session: RouterSession) -> Modem | None:
        self.asked.append(session.place)
        return None

    def _ask(self, session: RouterSession) -> Modem | None:
        if session.place not in self.answering:
            raise WebError("no answer in time")
        place = session.place
        return Modem("x:1", place.id, "HiLink", "", "lte", place.interface, CONNECTED, None, 80, {}, True, {})

    def collect(self, now_s: float) -> tuple[set[str], list[str]]:
        """Collect; return the names of the samples and the kinds of the events."""
        self._host.begin(now_s)
        found = list(modem.collect(self._host, modem.Config(), self._state))
        names = {one.name for one in found if isinstance(one, Sample)}
        return names, [one.kind for one in found if isinstance(one, Event)]


def test_one_that_is_silent_is_still_plugged_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no numbers, and after two misses is asked less often; pulled out it is gone; a stranger is left alone."""
    here, stranger = Gateway("usb0", "192.168.8.1", "1-1"), Gateway("usb1", "192.168.1.1", "1-2")
    playing = Playing(monkeypatch, here, stranger)
    playing.answering = {here}
    assert "modem.connected" in playing.collect(10)[0]
    playing.answering = set()
    assert ({"modem.info"}, []) == playing.collect(20)
    assert ({"modem.info"}, []) == playing.collect(30)
    playing.answering = {here}
    assert ({"modem.info"}, []) == playing.collect(40)
    assert "modem.connected" in playing.collect(30 + routers.SILENT_S)[0]
    playing.plugged.remove(here)
    assert (set(), ["modem_unplugged"]) == playing.collect(70)
    assert 1 == playing.asked.count(stranger)
    playing.collect(10 + routers.AGAIN_S)
    assert 2 == playing.asked.count(stranger)


def test_another_make_in_the_same_place_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Swapped between two collects: after two misses all makes are tried again."""
    here = Gateway("usb0", "192.168.8.1", "1-1")
    playing = Playing(monkeypatch, here)
    playing.collect(10)
    monkeypatch.setattr(routers, "MAKES", (playing._ask,))
    playing.answering = set()
    playing.collect(20)
    playing.collect(30)
    answer = Modem("x:1", here.id, "ZTE", "", "lte", "usb0", CONNECTED, None, 80, {}, True, {})
    monkeypatch.setattr(routers, "MAKES", (lambda _session: answer,))
    assert "modem.connected" in playing.collect(30 + routers.SILENT_S)[0]


def test_two_alike_keep_their_names_over_a_swap_of_interfaces(monkeypatch: pytest.MonkeyPatch) -> None:
    """A restart may call them usb1 and usb0; their ports stay, and with them their series."""
    one, two = Gateway("usb0", "192.168.8.1", "1-1"), Gateway("usb1", "192.168.8.1", "1-2")
    playing = Playing(monkeypatch, one, two)
    first = playing.collect(10)
    playing.plugged = [two._replace(interface="usb0"), one._replace(interface="usb1")]
    playing.answering = set(playing.plugged)
    assert (first[0], []) == playing.collect(20)


def test_routers_that_hang_share_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of more than fit into a collect the others come first in the next one."""
    everybody = [Gateway(f"usb{n}", "192.168.8.1", f"1-{n}") for n in range(4)]
    playing, clock = Playing(monkeypatch, *everybody), [1000.0]

    def hangs(session: RouterSession) -> Modem | None:
        clock[0] = session.deadline_s
        playing.asked.append(session.place)
        raise WebError("no answer in time")

    monkeypatch.setattr(routers, "MAKES", (hangs,))
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    state, host = Routers(), Host()
    for now_s in (10.0, 20.0):
        host.now_s, began_s = now_s, clock[0]
        assert [] == list(state.modems(host))
        assert clock[0] - began_s <= routers.COLLECT_S
    assert everybody == playing.asked[:4]
