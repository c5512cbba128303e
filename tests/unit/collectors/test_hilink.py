"""HiLink dongles: where they are looked for, what they say, and what becomes of one that does not answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from collectors.host import Host
from collectors.modem import hilink, modem
from collectors.modem.hilink import Dongle, Dongles
from collectors.modem.modem_manager import CONNECTED, Modem
from common.events import Event
from common.sample import Sample
from tests.unit.collectors.web_server import Asked, serving

# As the dongles answer; the numbers are our own, the cell has to stay where it is.
PAGES = {
    "/api/webserver/SesTokInfo": "<response><SesInfo>SessionID=abc</SesInfo><TokInfo>t0k</TokInfo></response>",
    "/api/device/signal": "<?xml version='1.0'?><response><rsrp>-86dBm</rsrp><rsrq>-14dB</rsrq><rssi>&gt;=-51dBm</rssi>"
    "<sinr>10dB</sinr><cell_id>4711081</cell_id></response>",
    "/api/monitoring/status": "<response><ConnectionStatus>901</ConnectionStatus><SignalIcon>4</SignalIcon>"
    "<CurrentNetworkType>19</CurrentNetworkType><CurrentNetworkTypeEx>101</CurrentNetworkTypeEx><maxsignal>5</maxsignal>"
    "<RoamingStatus>0</RoamingStatus></response>",
    "/api/net/current-plmn": "<response><FullName>T-Mobile</FullName><Numeric>26201</Numeric></response>",
}
ROUTES = (
    "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n"
    "usb0\t00000000\t0108A8C0\t0003\t0\t0\t100\t00000000\n"
    "usb0\t0008A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\n"
    "eth0\t00000000\t0101A8C0\t0003\t0\t0\t200\t00000000\n"
    "eth1\t0000FEA9\t00000000\t0001\t0\t0\t200\t0000FFFF\n"
)


def answer(request: Asked) -> tuple[int, str]:
    """Answer as a dongle: without its session nothing but the session."""
    if request.headers.get("Cookie") != "SessionID=abc" and "SesTokInfo" not in request.path:
        return 200, "<error><code>125002</code></error>"
    return 200, PAGES[request.path]


def plug(root: Path, interface: str, driver: str, place: str) -> None:
    """Give a network interface a device and its driver."""
    device = root / f"sys/devices/usb1/{place}"
    device.mkdir(parents=True)
    folder = root / f"sys/class/net/{interface}"
    folder.mkdir(parents=True)
    (folder / "device").symlink_to(f"../../../devices/usb1/{place}")
    (device / "driver").symlink_to(f"../../../bus/usb/drivers/{driver}")


def test_a_dongle_says_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked through its own interface, with the session that it gave."""
    with serving(answer) as address:
        found = hilink.ask(Dongle("lo", address, "1-1.2"))
    assert found is not None
    assert ("usb-1-1.2", "T-Mobile", "lte", CONNECTED, False, 80) == (
        found.id, found.carrier, found.technology, found.state, found.is_roaming, found.signal_percent,
    )  # fmt: skip
    assert {"rssi": -51.0, "rsrp": -86.0, "rsrq": -14.0, "snr": 10.0} == found.signal
    assert "4711081" not in repr(found)


def test_what_is_no_dongle() -> None:
    """A gateway with another page, and one with nothing."""
    with serving(lambda _: (200, "<html>a router</html>")) as address:
        assert hilink.ask(Dongle("lo", address, "1-1")) is None
    with serving(lambda _: (404, "")) as address:
        assert hilink.ask(Dongle("lo", address, "1-1")) is None


def test_where_dongles_are_looked_for(tmp_path: Path) -> None:
    """At the gateways of USB network interfaces alone."""
    plug(tmp_path, "usb0", "rndis_host", "1-1.2:1.0")
    plug(tmp_path, "eth0", "r8169", "0000:01")
    (tmp_path / "proc/net").mkdir(parents=True)
    (tmp_path / "proc/net/route").write_text(ROUTES)
    assert [Dongle("usb0", "192.168.8.1", "1-1.2")] == list(hilink.candidates(Host(tmp_path)))


def test_one_that_is_silent_is_still_plugged_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It has no numbers; pulled out it is gone; what never answered is left alone for a while."""
    here, router = Dongle("usb0", "192.168.8.1", "1-1"), Dongle("usb1", "192.168.1.1", "1-2")
    plugged, asked = [here, router], []
    answers = True
    spoken = Modem("hilink:usb0", "usb-1-1", "HiLink", "", "lte", "usb0", CONNECTED, None, 80, {}, True, {})

    def ask(dongle: Dongle) -> Modem | None:
        asked.append(dongle)
        return spoken if answers and dongle == here else None

    monkeypatch.setattr(hilink, "candidates", lambda _host: list(plugged))
    monkeypatch.setattr(hilink, "ask", ask)
    host, state = Host(), modem.State(dongles=Dongles())
    monkeypatch.setattr(modem, "_modems", lambda *_: ([], False))

    def collect(now_s: float) -> tuple[set[str], list[str]]:
        host.begin(now_s)
        found = list(modem.collect(host, modem.Config(), state))
        names = {one.name for one in found if isinstance(one, Sample)}
        return names, [one.kind for one in found if isinstance(one, Event)]

    assert "modem.connected" in collect(10)[0]
    answers = False
    assert ({"modem.info"}, []) == collect(20)
    plugged.remove(here)
    assert (set(), ["modem_unplugged"]) == collect(30)
    assert 1 == asked.count(router)
    collect(10 + hilink.AGAIN_S)
    assert 2 == asked.count(router)
