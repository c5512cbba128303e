"""Everything that reads what others say, under bytes that resemble it: refused or understood, quickly and in bounds.

FUZZ_MINUTES says how long, FUZZ_SEED which; the seed is printed.
"""

from __future__ import annotations

import ipaddress
import json
import math
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

from collectors import bounded
from collectors.host import Host
from collectors.modem.place import ROUTES as ROUTES_FILE
from collectors.modem.place import places
from collectors.srt import stats_file, telemetry
from collectors.srt.connection import SrtConnection
from collectors.srt.link import Link
from collectors.srt.telemetry import LinkNumbers, LinkReport
from common import config, plain_text, untrusted
from common.sample import MAX_INTEGER
from common.untrusted import UntrustedError
from tests import srt_packets
from tests.fuzz.hostile_bytes import Hostile, Oracle
from tests.fuzz.memory_host import MemoryHost
from tests.fuzz.rounds import SEED, rounds
from tests.unit.collectors.test_hilink import PAGES
from tests.unit.collectors.test_srt_senders import ADDRESSES, ROWS

ROUNDS = 200
JSON = (
    b'{"items": [{"state": "publish", "bytesReceived": 1234, "msRTT": 20.5, "packetsReceivedLoss": 3}]}',
    b'{"publishers": {"live": {"connected": true, "bitrate": 6200, "rtt": 20.5, "latency": 2000}}}',
    b'[1, 2.5, -3e10, "text", null, true, {"a": [{}]}]',
)
XML = tuple(text.encode() for text in PAGES.values())
STATISTICS = (
    b'{"sid":0,"time":1000,"link":{"rtt":20.5,"bandwidth":100},"send":{"packets":10,"packetsLost":1,"mbitRate":6.1}},\n',
    b"Timepoint,Time,SocketID,msRTT,mbpsBandwidth,pktSent,pktSndLoss\n2026-11-28,1000,7,20.5,100,1000,3\n",
)
PAGE = (
    (
        b'srtla_send_link_rtt_ms{link="1",ip="10.0.0.2"} 20.5\nsrtla_send_link_up{link="1",ip="10.0.0.2"} 1\n'
        b'srtla_send_link_window{link="1",ip="10.0.0.2"} 20000\nsrtla_send_link_nak_total{link="2",ip="fd00::1"} 3\n'
    ),
)
ROUTES = (b"Iface\tDestination\tGateway \tFlags\tRefCnt\nusb0\t00000000\t0108A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n",)
SENDERS = tuple(
    json.dumps({**head, "last_updated_ms": 1000, "connections": ROWS}).encode() for head in ({"schema_version": 1}, {})
)
CONTROL = (
    (
        b'{"result": {"data": {"links": [{"ip": "10.0.0.2", "connected": true, "rtt_ms": 20.5, "nak_count": 3,'
        b' "window": 9, "in_flight": 1, "cc_loss_permille": 5, "weak": true, "weak_reason": "x"}]}}}\n'
    ),
)
PACKETS = (
    srt_packets.control(0x8002, bytes(28)), srt_packets.control(0x8003, bytes(8)), srt_packets.data(7),
    srt_packets.nak(5, 9), srt_packets.hello(), srt_packets.handshake(600, 600, 8192),
    b"\x90\x00" + bytes(8), b"\x92\x02" + bytes(256), b"\x91\x00" + bytes(40), b"\x92\x10",
)  # fmt: skip
CONFIG = (
    b"device: {id: a}\nremote:\n  url: http://127.0.0.1:8428/api/v1/import\n  priority: {high: 5s}\n",
    b"storage: {path: /tmp/x.db, commit_interval: 5s}\ncollectors: {network: {exclude_ifaces: ['lo', 'veth.*']}}\n",
)


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


def _reports(found: list[LinkReport] | None) -> None:
    for report in found or ():
        assert ipaddress.ip_address(report.address)
        assert report.rtt_ms is None or math.isfinite(report.rtt_ms)
        assert all(not isinstance(value, str) and math.isfinite(value) for value in report.values.values()), report


def _sender_file(content: bytes) -> None:
    host, numbers = MemoryHost(files={"tmp/stats": content}), LinkNumbers()
    numbers.follow(ADDRESSES)
    _reports(telemetry.from_file(host, "tmp/stats", ADDRESSES, numbers, (1000, 1000)))


def _control_socket(content: bytes) -> None:
    said = SimpleNamespace(sendall=lambda _: None, line=lambda: content.partition(b"\n")[0])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bounded, "local", lambda *_: nullcontext(said))
        _reports(telemetry.from_socket(Host(), "x"))


def _config(content: bytes, folder: Path) -> object:
    file = folder / "config.yaml"
    file.write_bytes(content)
    return config.load(file, {})


READERS = {
    "JSON": Reader(JSON, _json, (UntrustedError,)),
    "XML": Reader(XML, lambda content: untrusted.elements(content.decode("utf-8", "replace")), (UntrustedError,)),
    "numbers": Reader((b"1", b"-3.5e10", b" 12 ", b"10dB"), _numbers),
    "what people see": Reader((b"O'Tel", b"a line \x1b[31mred\x1b[0m"), _shown),
    "routes": Reader(ROUTES, lambda content: list(places(MemoryHost(files={ROUTES_FILE: content}), ("usb0",)))),
    "a sender's statistics": Reader(STATISTICS, lambda content: stats_file.parse(content.decode("utf-8", "replace"))),
    "a sender's page": Reader(
        PAGE,
        lambda content: _reports(telemetry.parse_page(content.decode("utf-8", "replace").splitlines())),
        (ValueError,),
    ),
    "a sender's file": Reader(SENDERS, _sender_file),
    "a sender's control socket": Reader(CONTROL, _control_socket),
}


@pytest.mark.parametrize("name", READERS)
def test_a_reader_survives_everybody(name: str) -> None:
    """It raises what it says it raises, and takes little time and memory for any input."""
    reader = READERS[name]
    hostile, oracle = Hostile(SEED), Oracle(reader.allowed)
    for _ in rounds(ROUNDS, 0.02):
        oracle.judge(reader.read, hostile.content(reader.honest))


def test_packets_of_anybody_are_taken_or_left() -> None:
    """Of one connection and one link, however many; what they remember is bounded."""
    hostile, oracle = Hostile(SEED), Oracle()
    connection, link = SrtConnection(), Link()

    def read(given: tuple[int, bytes]) -> None:
        number, payload = given
        at_s = number / 100
        connection.take(at_s, payload[:64], len(payload), is_from_encoder=number % 2 == 0)
        padded = payload.ljust(44, b"\0")
        link.send(srt_packets.left(at_s, padded, len(payload), 1))
        link.acknowledge(srt_packets.answered(at_s, padded, 1))
        link.ask(at_s, payload, 1)
        link.answer(at_s, payload, 1)
        if number % 50 == 0:
            connection.is_connected(at_s)
            link.packets.close_batch(at_s, connection.in_doubt)
            link.trips.median_ms(at_s)

    for number in rounds(3 * ROUNDS, 0.05):
        oracle.judge(read, (number, hostile.content(PACKETS)))


def test_a_configuration_of_anything_is_taken_or_refused(tmp_path: Path) -> None:
    """With its own error, which names what is wrong; nothing else leaves the reader."""
    hostile, oracle = Hostile(SEED), Oracle((config.ConfigError,))
    for _ in rounds(ROUNDS // 4, 0.03):
        oracle.judge(lambda content: _config(content, tmp_path), hostile.content(CONFIG))
