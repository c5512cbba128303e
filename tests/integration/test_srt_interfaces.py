"""The tap on real interfaces: of any kind; those that stand on others show a packet several times, and it counts once.

Each test has network namespaces of its own.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from collectors.srt.filters import REG2, REG3
from collectors.srt.packet_fates import ACKED
from collectors.srt.tap import MOST_LINKS, Tap
from tests import srt_packets

pytestmark = pytest.mark.root

HERE, THERE = ("10.9.0.2", "10.9.0.3"), "10.9.0.1"  # two links share the interface
SRT_PORT, SRTLA_PORT = 9000, 5000
NEW_NETWORK = 0x4000_0000  # CLONE_NEWNET
LIBC = ctypes.CDLL(None, use_errno=True)
TUN_SET, TUN_ALONE = 0x400454CA, 0x1001  # TUNSETIFF; IFF_TUN, IFF_NO_PI
PACKETS, LENGTH = 40, 1332

# On `low`, one end of a cable: what carries the addresses is called `uplink0`.
STACKS = {
    "cable": "ip link set low name uplink0",
    "bridge": "ip link add uplink0 type bridge; ip link set low master uplink0 up",
    "macvlan": "ip link set low up; ip link add uplink0 link low type macvlan mode bridge",
}


UP = "; ".join([*(f"ip address add {address}/24 dev uplink0" for address in HERE), "ip link set uplink0 up"])


@contextmanager
def namespace() -> Iterator[int]:
    """Have this thread in a new network namespace; give the namespace's descriptor."""
    file = "/proc/thread-self/ns/net"
    before = os.open(file, os.O_RDONLY)
    assert LIBC.unshare(NEW_NETWORK) == 0, os.strerror(ctypes.get_errno())
    own = os.open(file, os.O_RDONLY)
    try:
        run("ip link set lo up")
        yield own
    finally:
        assert LIBC.setns(before, NEW_NETWORK) == 0
        os.close(before)
        os.close(own)


def run(commands: str) -> None:
    """Run commands in this thread's namespace."""
    subprocess.run(["sh", "-ec", commands], check=True)


@pytest.mark.parametrize("stack", STACKS)
def test_a_packet_counts_once(stack: str) -> None:
    """On the interface of the route, with its round trip; and what comes back counts there too."""
    with namespace() as there, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver, namespace():
        far = f"/proc/{os.getpid()}/fd/{there}"
        run(f"ip link add low type veth peer name far netns {far}; {STACKS[stack]}")
        run(UP)
        run(f"nsenter --net={far} sh -ec 'ip address add {THERE}/24 dev far; ip link set far up'")
        receiver.bind((THERE, SRTLA_PORT))
        receiver.settimeout(5)

        def respond(answer: Callable[[bytes], bytes | None]) -> None:
            packet, sender = receiver.recvfrom(2048)
            if said := answer(packet):
                receiver.sendto(said, sender)

        play(respond)


def test_an_interface_without_ethernet() -> None:
    """A tun shows IP alone, as PPP and WireGuard do."""
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        pytest.skip("NOT ALLOWED TO MAKE A TUN: an interface without Ethernet was not tried")
    with namespace(), open("/dev/net/tun", "r+b", buffering=0) as tun:  # noqa: PTH123 - no file
        fcntl.ioctl(tun, TUN_SET, struct.pack("16sH", b"uplink0", TUN_ALONE))
        run(UP)

        def respond(answer: Callable[[bytes], bytes | None]) -> None:
            packet = tun.read(2048)
            while packet[0] >> 4 != 4:  # IPv6 looks for routers
                packet = tun.read(2048)
            if said := answer(packet[28:]):
                tun.write(reply(packet, said))

        play(respond)


def test_a_list_without_end() -> None:
    """Of it no more links are looked at than a receiver takes; those that are left make room for others."""
    listed = [f"10.8.0.{at}" for at in range(1, 201)]
    with namespace():
        tap = Tap(SRT_PORT, SRTLA_PORT, listed)
        assert listed[:MOST_LINKS] == list(tap.links)
        tap.follow(listed[10:])
        assert set(listed[10 : 10 + MOST_LINKS]) == tap.links.keys()
        tap.close()


def reply(packet: bytes, payload: bytes) -> bytes:
    """Return an IP packet that answers another one."""
    length = 28 + len(payload)
    head = struct.pack(">BBHHHBBH", 0x45, 0, length, 0, 0, 64, 17, 0) + packet[16:20] + packet[12:16]
    total = sum(struct.unpack(">10H", head))
    total = (total & 0xFFFF) + (total >> 16)
    head = head[:10] + struct.pack(">H", 0xFFFF & ~((total & 0xFFFF) + (total >> 16))) + head[12:]
    return head + packet[22:24] + packet[20:22] + struct.pack(">HH", length - 20, 0) + payload


def play(respond: Callable[[Callable[[bytes], bytes | None]], None]) -> None:
    """Send over both links, have the other end respond to each packet, and see what the tap has seen."""
    tap = Tap(SRT_PORT, SRTLA_PORT, HERE)
    for first, address in enumerate(HERE):
        send(address, range(first * PACKETS, (first + 1) * PACKETS), respond)
    now_s = time.time()
    tap.drain(now_s)
    tap.close()
    for link in tap.links.values():
        assert socket.if_nametoindex("uplink0") == link.interface
        packets = link.packets
        assert (PACKETS, PACKETS * (28 + LENGTH), PACKETS) == (packets.sent, packets.sent_bytes, packets.acked)
        assert (True, 1) == (link.is_up(now_s), link.registrations)
        assert 0 < (link.trips.median_ms(now_s) or 0) < 5_000


def send(address: str, numbers: range, respond: Callable[[Callable[[bytes], bytes | None]], None]) -> None:
    """Register a link and send packets over it, as srtla_send does, to a receiver that answers."""
    arrived: list[int] = []

    def answer(packet: bytes) -> bytes | None:
        if packet[0] & 0x80:
            return struct.pack(">H", REG3)
        arrived.append(int.from_bytes(packet[:4], "big"))
        return None if len(arrived) % ACKED else srt_packets.answer(arrived[-ACKED:])

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind((address, 0))
        sender.settimeout(5)
        sender.sendto(struct.pack(">H", REG2), (THERE, SRTLA_PORT))
        respond(answer)
        sender.recv(2048)
        for number in numbers:
            sender.sendto(srt_packets.data(number).ljust(LENGTH, b"\0"), (THERE, SRTLA_PORT))
            respond(answer)
        for _ in range(len(numbers) // ACKED):
            sender.recv(2048)
