"""What senders, the kernel and srt-live-transmit say of a stream, beside its packets; and the filters' machine code."""

from __future__ import annotations

import json
import os
import socket
import struct
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.srt import bpf, srt_stats_file, srtla_forks, udp_sockets
from collectors.srt.srtla_forks import Report
from tests.unit.collectors import trees

STATS = "tmp/srtla-send-stats-9000.json"
NOW_MS = 1_764_000_000_000
ADDRESSES = ("10.64.0.2", "10.65.0.2")
ROWS = [
    {"conn_id": "0", "rtt_ms": 42, "nak_count": 3, "bitrate_bps": 2_500_000},
    {"conn_id": "1", "rtt_ms": 0, "nak_count": 11, "bitrate_bps": 1_200_000},
]
PAGE = """# TYPE srtla_send_link_rtt_ms gauge
srtla_send_link_up{ip="10.64.0.2",label="a"} 1
srtla_send_link_rtt_ms{ip="10.64.0.2",label="a"} 41.5
srtla_send_link_bitrate_bytes_per_second{ip="10.64.0.2",label="a"} 1000
srtla_send_link_nak_total{ip="10.64.0.2",label="a"} 7
srtla_send_link_up{ip="10.65.0.2",label="b"} 0
srtla_send_link_rtt_ms{ip="10.65.0.2",label="b"} not-a-number
"""
UDP = """  sl  local_address rem_address st tx_queue rx_queue tr tm->when retrnsmt uid  timeout inode ref pointer drops
 5771: 0200400A:CCD7 00000000:0000 07 00000400:00000000 00:00000000 00000000     0        0 64683 2 0000000000000000 2
 5772: 0200400A:CCD8 00000000:0000 07 00000100:00000000 00:00000000 00000000     0        0 64684 2 0000000000000000 1
 5773: 00000000:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 64685 2 0000000000000000 0
 5774: damaged
"""
ROUTES = """Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
wwan0\t00000000\t0100410A\t0003\t0\t0\t700\t00000000\t0\t0\t0
usb0\t0000000A\t00000000\t0001\t0\t0\t100\t000000FF\t0\t0\t0
usb1\t0000400A\t00000000\t0001\t0\t0\t101\t00FFFFFF\t0\t0\t0
"""


def telemetry(rows: object = ROWS, at_ms: int = NOW_MS) -> str:
    """Return a sender's file."""
    return json.dumps({"schema_version": 1, "last_updated_ms": at_ms, "connections": rows})


def test_a_senders_file_numbers_links_as_its_list_does(tmp_path: Path) -> None:
    """The address is the list's; the C++ sender's round trip of 0 is none."""
    host = trees.write(tmp_path, {STATS: telemetry()})
    assert [
        Report("10.64.0.2", True, 42.0, 2_500_000, 3),
        Report("10.65.0.2", True, None, 1_200_000, 11),
    ] == srtla_forks.from_file(host, STATS, ADDRESSES, NOW_MS)
    assert {} == host.faults


@pytest.mark.parametrize(
    "content",
    [
        telemetry(at_ms=NOW_MS - srtla_forks.STALE_MS - 1),
        telemetry(at_ms=NOW_MS + srtla_forks.STALE_MS + 1),
        telemetry(rows=[{**ROWS[0], "conn_id": "9"}]),
        telemetry(rows=[{"conn_id": "0"}]),
        telemetry(rows=7),
        telemetry()[:-5],
        "",
        "[]",
    ],
    ids=["old", "of tomorrow", "a link that is not listed", "without numbers", "no list", "cut", "empty", "no object"],
)
def test_a_senders_file_that_is_no_help(tmp_path: Path, content: str) -> None:
    """Nothing is said, and why is."""
    host = trees.write(tmp_path, {STATS: content})
    assert srtla_forks.from_file(host, STATS, ADDRESSES, NOW_MS) is None
    assert STATS in host.faults


def test_a_stock_sender_has_no_file(tmp_path: Path) -> None:
    """Which is no fault."""
    host = trees.write(tmp_path, {})
    assert srtla_forks.from_file(host, STATS, ADDRESSES, NOW_MS) is None
    assert {} == host.faults


def test_a_prometheus_page() -> None:
    """Bytes become bits; what is no number is absent."""
    up, down = srtla_forks.parse_page(PAGE.splitlines())
    assert Report("10.64.0.2", True, 41.5, 8_000, 7) == up
    assert Report("10.65.0.2", False, None, None, None) == down


@pytest.mark.parametrize("name", ["bitrate_bytes_per_sec", "bitrate_bps"])
def test_a_control_socket(tmp_path: Path, name: str) -> None:
    """One line of JSON-RPC; the older name of the rate is bytes too."""
    link = {"ip": "10.64.0.2", "connected": True, "timed_out": False, "rtt_ms": 50, name: 1_000, "nak_count": 2}
    answer = json.dumps({"jsonrpc": "2.0", "id": 1, "result": {"data": {"links": [link]}}}).encode() + b"\n"
    host = trees.write(tmp_path, {})
    with answering(tmp_path / "ctl", answer[:20], answer[20:]):
        assert [Report("10.64.0.2", True, 50.0, 8_000, 2)] == srtla_forks.from_socket(host, "ctl")
    assert {} == host.faults


@pytest.mark.parametrize("answer", [b"", b"{}\n", b"garbage\n", b'{"result": {"links": [{}]}}\n', b'{"result": 7}\n'])
def test_a_control_socket_that_is_no_help(tmp_path: Path, answer: bytes) -> None:
    """Nothing is said, and why is."""
    host = trees.write(tmp_path, {})
    with answering(tmp_path / "ctl", answer):
        assert srtla_forks.from_socket(host, "ctl") is None
    assert "ctl" in host.faults
    assert srtla_forks.from_socket(host, "nothing") is None


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


def test_queues_of_an_address_are_summed(tmp_path: Path) -> None:
    """Two sockets of one uplink; rows that are damaged cost themselves."""
    host = trees.write(tmp_path, {udp_sockets.TABLE: UDP})
    assert {"10.64.0.2": (0x500, 3)} == udp_sockets.queues(host, ADDRESSES)
    assert udp_sockets.parse([]) is None


def test_the_narrowest_network_has_the_address(tmp_path: Path) -> None:
    """Routes over a gateway do not count, and the default is everybody's."""
    host = trees.write(tmp_path, {udp_sockets.ROUTES: ROUTES})
    wanted = ("10.64.0.2", "10.65.0.2", "192.168.1.1")
    assert {"10.64.0.2": "usb1", "10.65.0.2": "usb0"} == udp_sockets.interfaces(host, wanted)


LINE = json.dumps(
    {
        "link": {"rtt": 55.2, "bandwidth": 12.5},
        "send": {"packets": 1000, "packetsLost": 12, "packetsRetransmitted": 10, "packetsDropped": 1, "mbitRate": 6.1},
        "recv": {"packets": 0, "msTsbPdDelay": 2000},
    }
)
COLUMNS = (
    "Timepoint,Time,SocketID,pktFlowWindow,msRTT,mbpsBandwidth,pktSent,pktSndLoss,pktSndDrop,pktRetrans,mbpsSendRate"
)
CSV = f"{COLUMNS}\n0,1,2,8192,1.0,1.0,10,0,0,0,1.0\n0,2,2,8192,55.2,12.5,1000,12,1,10,6.1\n"


@pytest.mark.parametrize("text", [f"{{}}\n{LINE}\n", CSV, f"{LINE}\n{LINE[:40]}"], ids=["json", "csv", "a line begins"])
def test_statistics_of_srt_live_transmit(text: str) -> None:
    """The last whole line, in base units."""
    values = srt_stats_file.parse(text) or {}
    assert (55.2, 12_500_000, 6_100_000) == (
        values["srt.rtt_ms"],
        values["srt.link_capacity_bits_per_second"],
        values["srt.bitrate_bits_per_second"],
    )
    assert [1000, 12, 10, 1] == [
        values[f"srt.packets_{name}_total"] for name in ("sent", "lost", "retransmitted", "dropped")
    ]


@pytest.mark.parametrize("text", ["", "{}", "x\n", "[]\n", "{}\n", f"{COLUMNS}\n", '{"link": 7}\n', "7\n"])
def test_statistics_that_say_nothing(text: str) -> None:
    """No value is made up."""
    assert srt_stats_file.parse(text) is None


def test_statistics_that_are_old_are_none(tmp_path: Path) -> None:
    """A stall is silence."""
    host = trees.write(tmp_path, {"stats": f"{LINE}\n"})
    assert srt_stats_file.read(host, "stats")
    past_s = time.time() - srt_stats_file.STALE_S - 5
    os.utime(tmp_path / "stats", (past_s, past_s))
    assert srt_stats_file.read(host, "stats") is None
    assert "not written" in host.faults["stats"]


def test_shares_between_two_readings() -> None:
    """Of what was sent in between; a new start tells nothing."""
    before = {"srt.packets_sent_total": 1000, "srt.packets_lost_total": 10, "srt.packets_retransmitted_total": 10}
    now = {"srt.packets_sent_total": 1200, "srt.packets_lost_total": 20, "srt.packets_retransmitted_total": 13}
    assert {"srt.packet_loss_percent": 5.0, "srt.retransmit_percent": 1.5} == srt_stats_file.shares(before, now)
    assert {} == srt_stats_file.shares(now, before)
    assert {} == srt_stats_file.shares({}, {})


@given(st.text(max_size=200))
def test_any_text(text: str) -> None:
    """No parser fails on what somebody else wrote."""
    srt_stats_file.parse(text)
    srtla_forks.parse_page(text.splitlines())
    udp_sockets.parse(text.splitlines())
    udp_sockets.parse_routes(text.splitlines())


def test_labels_become_distances() -> None:
    """Jumps are counted from the instruction after the jump."""
    code = bpf.assemble(
        [
            bpf.Step(bpf.LOAD_BYTE, 0),
            bpf.Step(bpf.JUMP_EQUAL, 7, "keep"),
            bpf.Step(bpf.RETURN, 0),
            bpf.label("keep"),
            bpf.Step(bpf.RETURN, 40),
        ]
    )
    assert [(0x30, 0, 0, 0), (0x15, 1, 0, 7), (0x06, 0, 0, 0), (0x06, 0, 0, 40)] == list(
        struct.iter_unpack("HBBI", code)
    )


@pytest.mark.parametrize(
    ("steps", "error"),
    [
        ([bpf.Step(bpf.JUMP_EQUAL, 7, "nowhere")], KeyError),
        ([bpf.label("back"), bpf.Step(bpf.JUMP_EQUAL, 7, "back")], ValueError),
        ([bpf.Step(bpf.JUMP_SET, 1, "far"), *[bpf.Step(bpf.RETURN, 0)] * 300, bpf.label("far")], ValueError),
    ],
)
def test_jumps_that_the_machine_does_not_have(steps: list[bpf.Step], error: type[Exception]) -> None:
    """The kernel would refuse them; it is said earlier, and where."""
    with pytest.raises(error):
        bpf.assemble(steps)


def test_the_kernel_takes_a_program() -> None:
    """A filter on a socket that needs no rights: what begins with a 7 is kept."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours, theirs:
        keep_sevens = [
            bpf.Step(bpf.LOAD_BYTE, 0),
            bpf.Step(bpf.JUMP_EQUAL, 7, "keep"),
            bpf.Step(bpf.RETURN, 0),
            bpf.label("keep"),
            bpf.Step(bpf.RETURN, 2),
        ]
        bpf.attach(ours, bpf.assemble(keep_sevens))
        for message in (b"\x06no", b"\x07yes"):
            try:
                theirs.send(message)
            except PermissionError:  # what a filter drops fails at the sender, on this kind of socket
                continue
        ours.settimeout(5)
        assert b"\x07y" == ours.recv(100)
