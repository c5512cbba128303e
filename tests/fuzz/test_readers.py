"""Everything that reads what others say, under bytes that resemble it: refused or understood, quickly and in bounds.

FUZZ_MINUTES says how long, FUZZ_SEED which; the seed is printed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from collectors import admission
from collectors.events import log_lines
from collectors.events.kernel_log import KernelLog
from collectors.gps import gps
from collectors.host import Host
from collectors.modem import hilink, netgear, zte
from collectors.modem.modem_manager import ModemManager
from collectors.modem.place import Gateway, RouterSession
from collectors.receiver import receiver
from collectors.srt import stats_file, telemetry
from collectors.srt.connection import SrtConnection
from collectors.srt.link import Link
from collectors.web import WebPage
from common import config, plain_text, untrusted
from common.events import Event
from common.sample import MAX_INTEGER, Sample
from common.untrusted import UntrustedError
from tests import srt_packets
from tests.fuzz.hostile_bytes import Hostile, Oracle
from tests.fuzz.rounds import SEED, rounds
from tests.unit.collectors.test_hilink import PAGES

ROUNDS = 1000
JSON = (
    b'{"items": [{"state": "publish", "bytesReceived": 1234, "msRTT": 20.5, "packetsReceivedLoss": 3}]}',
    b'{"publishers": {"live": {"connected": true, "bitrate": 6200, "rtt": 20.5, "latency": 2000}}}',
    b'[1, 2.5, -3e10, "text", null, true, {"a": [{}]}]',
)
GPS = (
    b'{"class":"TPV","device":"/dev/ttyACM0","mode":3,"lat":52.1,"lon":13.2,"alt":40.1,"speed":1.5,"time":"2026-01-01"}',
    b'{"class":"SKY","device":"/dev/ttyACM0","hdop":0.9,"satellites":[{"PRN":1,"used":true},{"PRN":2,"used":false}]}',
)
XML = tuple(text.encode() for text in PAGES.values())
LINES = (
    b"6,1234,5678,-;usb 1-1: USB disconnect, device number 4\n SUBSYSTEM=usb\n",
    b"4,1235,5679,-;Out of memory: Killed process 123 (belacoder) total-vm:1kB\n",
    b"3,1236,5680,c;mmcblk0: error -110 transferring data, sector 1, nr 8, cmd response 0x900, card status 0x0\n",
)
STATISTICS = (
    b'{"sid":0,"time":1000,"link":{"rtt":20.5,"bandwidth":100},"send":{"packets":10,"packetsLost":1,"mbitRate":6.1}}\n',
    b"Time,SocketID,pktFlowWindow,msRTT,mbpsBandwidth,pktSent,pktSndLoss\n1000,7,8192,20.5,100,1000,3\n",
)
PAGE = (b'srtla_conn_rtt_ms{conn="1",ip="10.0.0.2"} 20.5\nsrtla_conn_window{conn="1",ip="10.0.0.2"} 20000\n',)
PACKETS = (
    srt_packets.control(0x8002, bytes(28)), srt_packets.control(0x8003, bytes(8)), srt_packets.data(7),
    srt_packets.nak(5, 9), srt_packets.hello(), srt_packets.handshake(600, 600, 8192),
    b"\x90\x00" + bytes(8), b"\x92\x02" + bytes(256), b"\x91\x00" + bytes(40), b"\x92\x10",
)  # fmt: skip
CONFIG = (
    b"device: {id: a}\nremote:\n  url: http://127.0.0.1:8428/api/v1/import\n  priority: {high: 5s}\n",
    b"storage: {path: /tmp/x.db, commit_interval: 5s}\ncollectors: {network: {exclude_ifaces: ['lo', 'veth.*']}}\n",
)
MODEM_OBJECTS = {
    "/org/freedesktop/ModemManager1/Modem/0": {
        "org.freedesktop.ModemManager1.Modem": {
            "State": ("i", 11), "AccessTechnologies": ("u", 16384), "SignalQuality": ("(ub)", (71, True)),
            "EquipmentIdentifier": ("s", "1"), "Device": ("s", "/sys/devices/usb1/1-1"), "Model": ("s", "EM9191"),
            "Ports": ("a(su)", [("wwan0", 2), ("cdc-wdm0", 6)]), "Bearers": ("ao", ["/b/0"]),
        },
        "org.freedesktop.ModemManager1.Modem.Modem3gpp": {
            "OperatorName": ("s", "O'Tel"), "RegistrationState": ("u", 1), "OperatorCode": ("s", "26201"),
        },
        "org.freedesktop.ModemManager1.Modem.Signal": {
            "Rate": ("u", 10), "Lte": ("a{sv}", {"rsrp": ("d", -95.0), "rsrq": ("d", -11.0), "snr": ("d", 12.0)}),
        },
    }
}  # fmt: skip

BEARER = {"Interface": ("s", "wwan0"), "Connected": ("b", True), "Stats": ("a{sv}", {"rx-bytes": ("t", 9000)})}


class Reader(NamedTuple):
    """Somebody who reads what others say.

    Attributes:
        honest: what he expects.
        read: reads.
        allowed: what he may raise.
    """

    honest: tuple[bytes, ...]
    read: Callable[[bytes], object]
    allowed: tuple[type[Exception], ...] = ()


def _json(content: bytes) -> None:
    for value in _leaves(untrusted.json_value(content)):
        assert value is None or isinstance(value, (str, bool)) or math.isfinite(value)
        assert not isinstance(value, int) or -MAX_INTEGER <= value <= MAX_INTEGER


def _leaves(tree: Any) -> list[Any]:
    if isinstance(tree, dict):
        return [leaf for value in tree.values() for leaf in _leaves(value)]
    return [leaf for value in tree for leaf in _leaves(value)] if isinstance(tree, list) else [tree]


def _shown(content: bytes) -> None:
    shown = plain_text.plain(content.decode("utf-8", "surrogateescape"))
    assert shown.isprintable()
    assert len(shown) <= plain_text.MAX_LENGTH


def _numbers(content: bytes) -> None:
    text = content.decode("utf-8", "replace")
    values = untrusted.number(text), untrusted.integer(text)
    assert all(value is None or math.isfinite(value) for value in values)


def _gps(content: bytes) -> list[Sample | Event]:
    host, state, given = Host(Path("/nowhere")), gps.State(), gps.Config(enabled=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Host, "exists", lambda *_: True)
        patch.setattr(Host, "text", lambda *_: content.decode("utf-8", "replace"))
        host.begin(1.0)
        return _finite(list(gps.collect(host, given, state)))


def _receiver(content: bytes) -> object:
    try:
        return _finite([*receiver.parse(content.decode("utf-8", "replace"))])
    except receiver.ReceiverError:
        return None


def _finite(found: list[Sample | Event]) -> list[Sample | Event]:
    numbers = [one.value for one in found if isinstance(one, Sample) and not isinstance(one.value, str)]
    assert all(isinstance(value, float) or -MAX_INTEGER <= value <= MAX_INTEGER for value in numbers)
    return found


def _router(ask: Callable[[RouterSession], object]) -> Callable[[bytes], object]:
    """Return a reader that gets the same answer to each question."""

    def read(content: bytes) -> object:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                RouterSession, "get", lambda *_, **__: WebPage(200, content.decode("utf-8", "replace"), "a=b")
            )
            return ask(RouterSession(Gateway("usb0", "192.168.8.1", "1-1"), math.inf))

    return read


def _rules(content: bytes) -> None:
    for line in content.decode("utf-8", "replace").split("\n"):
        for rules in (log_lines.KERNEL, log_lines.PROGRAMS):
            event = log_lines.event(rules, line)
            shown = list(admission.admitted([event] if event else [], Host()))
            assert all(one.text.isprintable() for one in shown if isinstance(one, Event)), shown


def _config(content: bytes, folder: Path) -> object:
    file = folder / "config.yaml"
    file.write_bytes(content)
    return config.load(file, {})


READERS = {
    "JSON": Reader((*JSON, *GPS), _json, (UntrustedError,)),
    "XML": Reader(XML, lambda content: untrusted.elements(content.decode("utf-8", "replace")), (UntrustedError,)),
    "numbers": Reader((b"1", b"-3.5e10", b" 12 ", b"10dB"), _numbers),
    "what people see": Reader((b"O'Tel", b"a line \x1b[31mred\x1b[0m"), _shown),
    "gpsd": Reader(GPS, _gps),
    "receivers": Reader(JSON, _receiver),
    "HiLink": Reader(XML, _router(hilink.ask)),
    "ZTE": Reader((*JSON, b'{"network_type":"LTE","rssi":"-70","lte_rsrp":"-95","wan_ipaddr":""}'), _router(zte.ask)),
    "Netgear": Reader(
        (*JSON, b'{"wwan":{"signalStrength":{"rsrp":-95}},"general":{"model":"M1"}}'), _router(netgear.ask)
    ),
    "a sender's statistics": Reader(STATISTICS, lambda content: stats_file.parse(content.decode("utf-8", "replace"))),
    "a sender's page": Reader(
        PAGE, lambda content: telemetry.parse_page(content.decode("utf-8", "replace").split("\n"))
    ),
    "log lines": Reader(LINES, _rules),
}


@pytest.mark.parametrize("name", READERS)
def test_a_reader_survives_everybody(name: str) -> None:
    """It raises what it says it raises, and takes little time and memory for any input."""
    reader = READERS[name]
    hostile, oracle = Hostile(SEED), Oracle(reader.allowed)
    for _ in rounds(ROUNDS, 0.03):
        oracle.judge(reader.read, hostile.content(reader.honest))


def test_packets_of_anybody_are_taken_or_left() -> None:
    """Of one connection and one link, however many; what they remember is bounded."""
    hostile, oracle = Hostile(SEED), Oracle()
    connection, link = SrtConnection(), Link()

    def read(given: tuple[int, bytes]) -> None:
        number, payload = given
        at_s = number / 100
        connection.take(at_s, payload[:64], len(payload), is_from_encoder=number % 2 == 0)
        link.send(at_s, int.from_bytes(payload[:4], "little"), len(payload), 1)
        link.ask(at_s, payload, 1)
        link.answer(at_s, payload, 1)
        if number % 50 == 0:
            connection.is_connected(at_s)
            link.close_batch(at_s, lambda _: False)
            link.trips.median_ms(at_s)

    for number in rounds(3 * ROUNDS, 0.05):
        oracle.judge(read, (number, hostile.content(PACKETS)))


def test_a_kernel_log_of_anything_is_read(tmp_path: Path) -> None:
    """What the kernel or a record of it holds gives lines."""
    (tmp_path / "dev").mkdir()
    hostile, oracle = Hostile(SEED), Oracle()

    def read(content: bytes) -> None:
        (tmp_path / "dev/kmsg").write_bytes(content)
        log, host = KernelLog(), Host(tmp_path)
        assert all("\n" not in line for line in log.lines(host))
        log.close()

    for _ in rounds(ROUNDS, 0.03):
        oracle.judge(read, hostile.content(LINES))


def test_a_configuration_of_anything_is_taken_or_refused(tmp_path: Path) -> None:
    """With its own error, which names what is wrong; nothing else leaves the reader."""
    hostile, oracle = Hostile(SEED), Oracle((config.ConfigError,))
    for _ in rounds(100, 0.03):
        oracle.judge(lambda content: _config(content, tmp_path), hostile.content(CONFIG))


def test_a_bus_that_answers_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    """D-Bus values of another type, or none, are a modem that says less."""
    hostile, oracle = Hostile(SEED), Oracle()
    answers: list[Any] = []
    monkeypatch.setattr(ModemManager, "_ask", lambda *_: (answers.pop(0) if len(answers) > 1 else answers[0],))

    def read(given: list[Any]) -> None:
        answers[:] = given
        for modem in ModemManager("/nowhere", b"secret").modems():
            json.dumps(modem)

    for _ in rounds(300, 0.03):
        oracle.judge(read, [_modems(hostile), hostile.tree(BEARER) or {}])


def _modems(hostile: Hostile) -> dict[str, Any]:
    """Return objects of the bus: their names and interfaces are the bus's own, what they hold is the modem's."""
    return {
        path: {
            interface: {name: hostile.tree(value) for name, value in rows.items()}
            for interface, rows in interfaces.items()
        }
        for path, interfaces in MODEM_OBJECTS.items()
    }
