"""Senders as their command lines describe them, and what they say of themselves."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from collectors.process_table import RunningProcess
from collectors.srt import sender, telemetry
from collectors.srt.telemetry import LinkNumbers, LinkReport
from tests.unit.collectors import trees

PROGRAM = RunningProcess(77, "srtla_send", 1.0)
STATS = "/tmp/srtla-send-stats-9000.json"
NOW_MS, BOOT_MS = 1_764_000_000_000, 5_000_000
ADDRESSES = ("10.64.0.2", "10.65.0.2")
ROWS: list[dict[str, Any]] = [
    {"conn_id": "0", "rtt_ms": 42, "nak_count": 3, "weight_percent": 85, "window": 8192, "in_flight": 100,
     "bitrate_bps": 2_500_000},
    {"conn_id": "1", "rtt_ms": 0, "nak_count": 11, "weight_percent": 0, "window": 4096, "in_flight": 240,
     "bitrate_bps": 1_200_000},
]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("9000 relay.example.org 5000 /tmp/srtla_ips", (9000, 5000, "/tmp/srtla_ips", "", "", "")),
        (
            "--control-socket /tmp/srtla.sock 6000 rec.example.com 5001 ./uplinks.txt",
            (6000, 5001, "./uplinks.txt", "", "/tmp/srtla.sock", ""),
        ),
        (
            "--mode classic --no-quality --metrics-bind=127.0.0.1:9099 6000 10.0.0.1 5000 /run/ips",
            (6000, 5000, "/run/ips", "", "", "127.0.0.1:9099"),
        ),
        (
            "9000 relay 5000 /tmp/srtla_ips --stats-file /tmp/s.json --stats-file-interval 500 --verbose",
            (9000, 5000, "/tmp/srtla_ips", "/tmp/s.json", "", ""),
        ),
        (
            "--rtt-delta-ms 50 --stall-min-in-flight 16 -- 6000 host 5000 ips",
            (6000, 5000, "ips", "", "", ""),
        ),
        ("9000 127.0.0.1 5001", (9000, 5001, "/tmp/srtla_ips", "", "", "")),
    ],
    ids=["stock", "irlserver", "a value with =", "CERALIVE", "an end of options", "CERALIVE's defaults"],
)
def test_command_lines(line: str, expected: tuple[Any, ...]) -> None:
    """Options before or after the arguments, with a value or without, as the programs themselves read them."""
    found = sender.parse(line.split(), PROGRAM)
    assert found is not None
    assert expected == tuple(found)[1:]


@pytest.mark.parametrize("line", ["", "-v", "9000", "port host 5000 file", "9000 host 99999 ips", "--mode 9000 a 5"])
def test_command_lines_of_no_sender(line: str) -> None:
    """Without two ports where they belong it is none."""
    assert sender.parse(line.split(), PROGRAM) is None


def test_the_list_is_where_the_command_line_says(tmp_path: Path) -> None:
    """Below the process' own folder; each address once, what is none is left out."""
    command = "srtla_send --mode classic 9000 host 5000 uplinks ".replace(" ", "\0")
    files = {"proc/77/cmdline": command, "srv/uplinks": "10.64.0.2\nx\n10.65.0.2 \n10.64.0.2\n"}
    host = trees.write(tmp_path, files)
    (tmp_path / "proc/77/cwd").symlink_to("/srv")
    found = sender.read(host, PROGRAM)
    assert found is not None
    assert list(ADDRESSES) == sender.addresses(host, found)


def statistics(rows: object = ROWS, at_ms: int = NOW_MS, **head: object) -> str:
    """Return a sender's file."""
    return json.dumps({"schema_version": 1, "last_updated_ms": at_ms, "connections": rows, **head})


def from_file(
    folder: Path, content: str, numbers: LinkNumbers | None = None
) -> tuple[list[LinkReport] | None, dict[str, str]]:
    """Return what a file says, and the faults."""
    host = trees.write(folder, {STATS.lstrip("/"): content})
    found = telemetry.from_file(host, STATS, ADDRESSES, numbers or LinkNumbers(), (NOW_MS, BOOT_MS))
    return found, host.faults


def test_a_senders_file_numbers_links_as_its_list_does(tmp_path: Path) -> None:
    """The address is the list's; a link without weight is not used; a round trip of 0 was not measured."""
    found, faults = from_file(tmp_path, statistics())
    assert {} == faults
    assert found is not None
    first, second = found
    assert ("10.64.0.2", True, 42.0, 2_500_000) == first[:4]
    assert ("10.65.0.2", False, None, 1_200_000) == second[:4]
    assert {
        "link_naks_total": 3, "link_window_packets": 8192, "link_in_flight_packets": 100, "link_weight_percent": 85,
    } == first.values  # fmt: skip


def test_a_file_that_does_not_fit_the_list_names_no_link(tmp_path: Path) -> None:
    """One could not be opened, or the list has just changed: a value goes to no wrong modem."""
    assert ([], {}) == from_file(tmp_path, statistics(rows=ROWS[1:]))


def test_a_sender_that_counts_its_links(tmp_path: Path) -> None:
    """CERALIVE's C++ one: a clock since boot, and numbers that a link which is plugged in again has anew."""
    numbers = LinkNumbers()
    for listed in (["10.64.0.2", "10.65.0.2"], ["10.65.0.2"], ["10.64.0.2", "10.65.0.2"]):
        numbers.follow(listed)
    rows = [{**ROWS[0], "conn_id": "2", "rtt_ms": 0, "weight_percent": 100}]
    content = json.dumps({"last_updated_ms": BOOT_MS - 900, "connections": rows}, indent=2)
    found, faults = from_file(tmp_path, content, numbers)
    assert ([("10.64.0.2", True, None)], {}) == ([report[:3] for report in found or []], faults)


@pytest.mark.parametrize(
    "content",
    [
        statistics(at_ms=NOW_MS - telemetry.STALE_MS - 1),
        statistics(at_ms=NOW_MS + telemetry.STALE_MS + 1),
        statistics(rows=[{"conn_id": "0"}]),
        statistics(rows=[{**ROWS[0], "conn_id": "-1"}]),
        statistics(rows=7),
        statistics()[:-5],
        "",
        "[]",
        "[" * 10_000,
    ],
    ids=["old", "of tomorrow", "without numbers", "below zero", "no list", "cut", "empty", "no object", "deep"],
)
def test_a_senders_file_that_is_no_help(tmp_path: Path, content: str) -> None:
    """Nothing is said, and why is."""
    found, faults = from_file(tmp_path, content)
    assert found is None
    assert STATS in faults


def test_a_stock_sender_has_no_file(tmp_path: Path) -> None:
    """Which is no fault."""
    host = trees.write(tmp_path, {})
    assert telemetry.from_file(host, STATS, ADDRESSES, LinkNumbers(), (NOW_MS, BOOT_MS)) is None
    assert {} == host.faults


PAGE = """# TYPE srtla_send_link_rtt_ms gauge
srtla_send_link_up{ip="10.64.0.2"} 1
srtla_send_link_rtt_ms{ip="10.64.0.2"} 41.5
srtla_send_link_bitrate_bytes_per_second{ip="10.64.0.2"} 1000
srtla_send_link_nak_total{ip="10.64.0.2"} 7
srtla_send_link_stall_gated{ip="10.64.0.2"} 1
srtla_send_link_up{ip="10.65.0.2"} 0
srtla_send_link_rtt_ms{ip="10.65.0.2"} not-a-number
srtla_send_link_up{ip="2001:db8::2"} 1
srtla_send_active_links 2
"""


def test_a_prometheus_page() -> None:
    """Bytes become bits; what is no number is absent."""
    first, second, third = telemetry.parse_page(PAGE.splitlines())
    assert LinkReport("10.64.0.2", True, 41.5, 8_000, {"link_naks_total": 7}, "stalled") == first
    assert LinkReport("10.65.0.2", False) == second
    assert "2001:db8::2" == third.address


LINK = {"ip": "10.64.0.2", "connected": True, "timed_out": False, "rtt_ms": 50, "nak_count": 2}


@pytest.mark.parametrize("name", ["bitrate_bytes_per_sec", "bitrate_bps"])
def test_a_control_socket(tmp_path: Path, name: str) -> None:
    """One line of JSON-RPC; the older name of the rate is bytes too."""
    answer = json.dumps({"jsonrpc": "2.0", "id": 1, "result": {"links": [{**LINK, name: 1_000}]}}).encode() + b"\n"
    host = trees.write(tmp_path, {})
    with answering(tmp_path / "ctl", answer[:20], answer[20:]):
        found = telemetry.from_socket(host, "ctl")
    assert [LinkReport("10.64.0.2", True, 50.0, 8_000, {"link_naks_total": 2})] == found
    assert {} == host.faults


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"stall_gated": True, "weak": True, "weak_reason": "high_rtt"}, "stalled"),
        ({"weak": True, "weak_reason": "low_share"}, "low_share"),
        ({"weak": False, "weak_reason": "healthy", "cc_loss_degraded": True}, "loss"),
        ({"in_flight_cap_active": True}, "full"),
        ({"cc_state": "backing_off"}, "backing_off"),
        ({"weak": False, "weak_reason": "healthy", "cc_state": "climbing"}, ""),
    ],
)
def test_why_a_link_is_not_used(tmp_path: Path, fields: dict[str, Any], reason: str) -> None:
    """The sender's own answer, with its own figures."""
    figures = {"cc_target_bps": 4_000_000, "cc_loss_permille": 37, "window": 20, "in_flight": 4, "stall_gate_events": 1}
    answer = json.dumps({"result": {"links": [{**LINK, **fields, **figures}]}}).encode() + b"\n"
    with answering(tmp_path / "ctl", answer):
        found = telemetry.from_socket(trees.write(tmp_path, {}), "ctl")
    assert found is not None
    assert reason == found[0].reason
    assert (4_000_000, 3.7, 20, 4, 1) == tuple(
        found[0].values[f"link_{name}"]
        for name in (
            "target_bits_per_second", "reported_loss_percent", "window_packets", "in_flight_packets",
            "stall_gate_events_total",
        )
    )  # fmt: skip


@pytest.mark.parametrize("answer", [b"", b"{}\n", b"garbage\n", b'{"result": {"links": [{}]}}\n', b'{"result": 7}\n'])
def test_a_control_socket_that_is_no_help(tmp_path: Path, answer: bytes) -> None:
    """Nothing is said, and why is."""
    host = trees.write(tmp_path, {})
    with answering(tmp_path / "ctl", answer):
        assert telemetry.from_socket(host, "ctl") is None
    assert "ctl" in host.faults
    assert telemetry.from_socket(host, "nothing") is None


class answering:  # noqa: N801 - reads as a sentence
    """A Unix socket that answers one question in pieces and hangs up."""

    def __init__(self, path: Path, *pieces: bytes) -> None:
        self._pieces = pieces
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._thread.join(5)
        self._listener.close()

    def _serve(self) -> None:
        asker, _ = self._listener.accept()
        with asker:
            asker.recv(1024)
            for piece in self._pieces:
                asker.sendall(piece)
