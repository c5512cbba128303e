"""What senders, the kernel and srt-live-transmit say of a stream, beside its packets; and the filters' machine code."""

from __future__ import annotations

import json
import os
import socket
import struct
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.process_table import RunningProcess
from collectors.srt import addresses, bpf, sender, stats_file, telemetry
from tests.unit.collectors import trees

ADDRESSES = ("10.64.0.2", "10.65.0.2")
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


def test_queues_of_an_address_are_summed(tmp_path: Path) -> None:
    """Two sockets of one uplink; rows that are damaged cost themselves."""
    host = trees.write(tmp_path, {addresses.SOCKETS: UDP})
    assert {"10.64.0.2": (0x500, 3)} == addresses.queues(host, ADDRESSES)
    assert addresses.parse([]) is None


def test_the_narrowest_network_has_the_address(tmp_path: Path) -> None:
    """Routes over a gateway do not count, and the default is everybody's."""
    host = trees.write(tmp_path, {addresses.ROUTES: ROUTES})
    wanted = ("10.64.0.2", "10.65.0.2", "192.168.1.1")
    assert {"10.64.0.2": "usb1", "10.65.0.2": "usb0"} == addresses.interfaces(addresses.networks(host), wanted)


LOCAL = """Local:
  +-- 0.0.0.0/0 3 0 5
     |-- 10.64.0.0
        /24 link UNICAST
     |-- 10.64.0.2
        /32 host LOCAL
     |-- 127.0.0.0
        /8 host LOCAL
"""


def test_addresses_that_no_interface_has(tmp_path: Path) -> None:
    """The kernel's own table says which are this machine's; without it nothing is known to be missing."""
    host = trees.write(tmp_path, {addresses.LOCAL: LOCAL})
    assert {"10.65.0.2"} == addresses.missing(addresses.networks(host), ["10.64.0.2", "10.65.0.2", "127.0.0.3"])
    assert set() == addresses.missing(addresses.networks(trees.write(tmp_path / "bare", {})), ["10.65.0.2"])


PROGRAM = RunningProcess(77, "srtla_send", 1.0)

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
OLD = LINE.replace("1000", '"1000"').replace("55.2", '"55.2"') + ","
CSV = f"{COLUMNS}\n0,1,2,8192,1.0,1.0,10,0,0,0,1.0\n0,2,2,8192,55.2,12.5,1000,12,1,10,6.1\n"


@pytest.mark.parametrize(
    "text",
    [f"{{}}\n{LINE}\n", CSV, f"{LINE}\n{LINE[:40]}", f"{OLD}\n"],
    ids=["json", "csv", "a line begins", "before 1.4.4"],
)
def test_statistics_of_srt_live_transmit(text: str) -> None:
    """The last whole line, in base units."""
    values = stats_file.parse(text) or {}
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
    assert stats_file.parse(text) is None


def test_statistics_that_are_old_are_none(tmp_path: Path) -> None:
    """A stall is silence."""
    host = trees.write(tmp_path, {"stats": f"{LINE}\n"})
    assert stats_file.read(host, "stats")
    past_s = time.time() - stats_file.STALE_S - 5
    os.utime(tmp_path / "stats", (past_s, past_s))
    assert stats_file.read(host, "stats") is None
    assert "not written" in host.faults["stats"]


def test_statistics_that_have_grown(tmp_path: Path) -> None:
    """Of a long file no more than the end is read; its columns are known without the head."""
    cells = [str(at) for at in range(40)]
    host = trees.write(tmp_path, {"json": f"{LINE}\n" * 10_000, "csv": f"{','.join(cells)}\n" * 10_000})
    assert 55.2 == (stats_file.read(host, "json") or {})["srt.rtt_ms"]
    assert (7.0, 10, 39.0) == tuple(
        (stats_file.read(host, "csv") or {})[f"srt.{name}"] for name in ("rtt_ms", "packets_sent_total", "latency_ms")
    )


def test_shares_between_two_readings() -> None:
    """Of what was sent in between; a new start tells nothing."""
    before = {"srt.packets_sent_total": 1000, "srt.packets_lost_total": 10, "srt.packets_retransmitted_total": 10}
    now = {"srt.packets_sent_total": 1200, "srt.packets_lost_total": 20, "srt.packets_retransmitted_total": 13}
    assert {"srt.packet_loss_percent": 5.0, "srt.retransmit_percent": 1.5} == stats_file.shares(before, now)
    assert {} == stats_file.shares(now, before)
    assert {} == stats_file.shares({}, {})


@given(st.text(max_size=200))
def test_any_text(text: str) -> None:
    """No parser fails on what somebody else wrote."""
    stats_file.parse(text)
    telemetry.parse_page(text.splitlines())
    addresses.parse_local(text)
    sender.parse(text.split(), PROGRAM)
    addresses.parse(text.splitlines())
    addresses.parse_routes(text)


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
        ours.settimeout(30)
        assert b"\x07y" == ours.recv(100)
