"""What HiLink dongles say: technologies by Huawei's own table, firmware without sessions, logins, idle, broken."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from collectors.modem import hilink
from collectors.modem.place import Gateway, RouterSession
from collectors.modem.reading import CONNECTED, REGISTERED, Modem
from tests.unit.collectors.web_server import Asked, serving

# As the dongles answer; the numbers are our own, the cell has to stay where it is.
PAGES = {
    "webserver/SesTokInfo": "<response><SesInfo>SessionID=abc</SesInfo><TokInfo>t0k</TokInfo></response>",
    "device/signal": "<?xml version='1.0'?><response><rsrp>-86dBm</rsrp><rsrq>-14dB</rsrq><rssi>&gt;=-51dBm</rssi>"
    "<sinr>10dB</sinr><cell_id>4711081</cell_id><band>7</band></response>",
    "monitoring/status": "<response><ConnectionStatus>901</ConnectionStatus><SignalIcon>4</SignalIcon>"
    "<CurrentNetworkType>19</CurrentNetworkType><CurrentNetworkTypeEx>101</CurrentNetworkTypeEx><maxsignal>5</maxsignal>"
    "<RoamingStatus>0</RoamingStatus><BatteryPercent>80</BatteryPercent></response>",
    "net/current-plmn": "<response><FullName>O&apos;Tel &amp; Söhne</FullName><Numeric>26201</Numeric></response>",
    "monitoring/traffic-statistics": "<response><CurrentConnectTime>61</CurrentConnectTime><CurrentUpload>7000"
    "</CurrentUpload><CurrentDownload>9000</CurrentDownload><TotalUpload>1</TotalUpload></response>",
    "monitoring/month_statistics": "<response><CurrentMonthDownload>5000000000</CurrentMonthDownload>"
    "<CurrentMonthUpload>1000000</CurrentMonthUpload></response>",
    "device/basic_information": "<response><devicename>E3372</devicename></response>",
}
NO_SESSION, LOGIN_WANTED, NO_PAGE = (f"<error><code>{code}</code><message></message></error>" for code in
                                     ("125002", "100003", "100002"))  # fmt: skip


def dongle(**pages: str) -> Callable[[Asked], tuple[int, str]]:
    """Return a dongle that answers nothing but the session without its session, with some pages exchanged."""
    said = {**PAGES, **{name.replace("__", "/"): text for name, text in pages.items()}}
    wants_session = "SesInfo" in said["webserver/SesTokInfo"]

    def answer(request: Asked) -> tuple[int, str]:
        page = request.path.removeprefix("/api/")
        if wants_session and request.headers.get("Cookie") != "SessionID=abc" and page != "webserver/SesTokInfo":
            return 200, NO_SESSION
        return 200, said.get(page, NO_PAGE)

    return answer


def asked(answers: Callable[[Asked], tuple[int, str]]) -> Modem | None:
    """Return what is made of a dongle's answers."""
    with serving(answers) as address:
        return hilink.ask(RouterSession(Gateway("lo", address, "1-1.2"), time.monotonic() + 30))


def heard(answers: Callable[[Asked], tuple[int, str]]) -> Modem:
    """Return what a dongle says."""
    found = asked(answers)
    assert found is not None
    return found


def test_a_dongle_says_what_it_is() -> None:
    """Asked through its own interface, with the session that it gave; entities of its carrier become characters."""
    found = heard(dongle())
    assert ("usb-1-1.2", "E3372", "O'Tel & Söhne", "lte", CONNECTED, False, 80) == (
        found.id, found.model, found.carrier, found.technology, found.state, found.is_roaming, found.signal_percent,
    )  # fmt: skip
    assert {"rssi": -51.0, "rsrp": -86.0, "rsrq": -14.0, "snr": 10.0} == found.signal
    assert {"rx-bytes": 9000, "tx-bytes": 7000, "duration": 61} == found.stats
    assert ("B7", 5_001_000_000, 80.0) == (found.band, found.used_bytes, found.battery_percent)
    assert "4711081" not in repr(found)


@pytest.mark.parametrize(
    ("kind", "extended", "expected"),
    [
        ("0", "0", ""), ("1", "1", "gsm"), ("2", "2", "gprs"), ("3", "3", "edge"), ("4", "41", "umts"),
        ("4", "", "umts"), ("5", "", "hsdpa"), ("6", "", "hsupa"), ("7", "44", "hspa"), ("7", "", "hspa"),
        ("9", "45", "hspa+"), ("9", "", "hspa+"), ("17", "65", "dc-hspa+"), ("18", "46", "dc-hspa+"),
        ("18", "", "dc-hspa+"), ("19", "101", "lte"), ("19", "", "lte"), ("19", "1011", "lte+"), ("20", "111", "5gnr"),
        ("", "111", "5gnr"),
    ],
)  # fmt: skip
def test_technologies_are_those_of_huaweis_table(kind: str, extended: str, expected: str) -> None:
    """The finer of its two numbers wins."""
    assert (expected, {}) == hilink.technology_of(kind, extended)


@pytest.mark.parametrize(
    ("kind", "extended", "expected"), [("77", "", "77"), ("", "4711", "4711"), ("19", "4711", "lte")]
)
def test_a_number_that_is_in_no_table_is_passed_on_and_named(kind: str, extended: str, expected: str) -> None:
    """Not blanked: somebody will know it."""
    technology, unknown = hilink.technology_of(kind, extended)
    assert (expected, [extended or kind]) == (technology, list(unknown.values()))


def test_firmware_without_sessions_is_asked_without_one() -> None:
    """Error 100002 to the question for one is an old firmware's word, and no reason to go away."""
    found = heard(dongle(webserver__SesTokInfo=NO_PAGE))
    assert (CONNECTED, -86.0) == (found.state, found.signal["rsrp"])


def test_a_session_without_its_name() -> None:
    """Some firmware gives the bare value."""
    bare = "<response><SesInfo>abc</SesInfo><TokInfo>t0k</TokInfo></response>"
    assert CONNECTED == heard(dongle(webserver__SesTokInfo=bare)).state


def test_a_signal_that_wants_a_login_is_absent_and_said() -> None:
    """The rest is there."""
    found = heard(dongle(device__signal=LOGIN_WANTED))
    assert ({}, 80, "gives its signal only after a login") == (found.signal, found.signal_percent, found.note)


def test_a_dongle_without_a_sim_has_no_numbers() -> None:
    """Empty elements, 255 for the SIM: disconnected, nothing invented."""
    blank = "<response><pci></pci><rsrq></rsrq><rsrp></rsrp><rssi></rssi><sinr></sinr><mode></mode></response>"
    status = (
        "<response><ConnectionStatus>902</ConnectionStatus><SignalStrength>0</SignalStrength><SignalIcon>0</SignalIcon>"
        "<CurrentNetworkType>0</CurrentNetworkType><SimStatus>255</SimStatus><maxsignal>5</maxsignal></response>"
    )
    found = heard(dongle(device__signal=blank, monitoring__status=status, net__current_plmn=""))
    assert (REGISTERED, {}, "", 0, None) == (
        found.state, found.signal, found.technology, found.signal_percent, found.battery_percent
    )  # fmt: skip


@pytest.mark.parametrize("page", sorted(set(PAGES) - {"webserver/SesTokInfo", "monitoring/status"}))
def test_a_page_that_is_missing_costs_itself(page: str) -> None:
    """Older dongles have fewer."""
    answer = dongle()
    found = heard(lambda request: (404, "") if request.path == f"/api/{page}" else answer(request))
    assert CONNECTED == found.state


@pytest.mark.parametrize("text", ["<html>a router</html>", "", "{}", "<response><SesInfo>x</SesInfo></response>"])
def test_what_is_no_dongle(text: str) -> None:
    """A gateway with another page, one with nothing, one that has half of it."""
    assert asked(lambda _: (200, text)) is None
    assert asked(lambda _: (404, text)) is None


def test_what_changes_slowly_is_asked_for_once_a_minute() -> None:
    """Each question is a connection of its own; the signal and the state are asked for each time."""
    seen: list[str] = []
    answer = dongle()

    def counted(request: Asked) -> tuple[int, str]:
        seen.append(request.path.removeprefix("/api/"))
        return answer(request)

    with serving(counted) as address:
        session = RouterSession(Gateway("lo", address, "1-1"), time.monotonic() + 60)
        first, second = hilink.ask(session), hilink.ask(session)
    assert first == second
    assert [1, 1, 2] == [seen.count(page) for page in ("net/current-plmn", "device/basic_information", "device/signal")]
