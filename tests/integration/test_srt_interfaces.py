"""The tap on real interfaces: those that stand on others show a packet several times, and it counts once.

Needs root: each test has network namespaces of its own.
"""

from __future__ import annotations

import ctypes
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
from collectors.srt.tap import Tap
from tests import srt_packets

HERE, THERE = "10.9.0.2", "10.9.0.1"
SRT_PORT, SRTLA_PORT = 9000, 5000
NEW_NETWORK = 0x4000_0000  # CLONE_NEWNET
LIBC = ctypes.CDLL(None, use_errno=True)
PACKETS, LENGTH = 40, 1332

# On `low`, one end of a cable: what carries the address is called `uplink0`.
STACKS = {
    "cable": "ip link set low name uplink0",
    "bridge": "ip link add uplink0 type bridge; ip link set low master uplink0 up",
    "macvlan": "ip link set low up; ip link add uplink0 link low type macvlan mode bridge",
}


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
        run(f"ip address add {HERE}/24 dev uplink0; ip link set uplink0 up")
        run(f"nsenter --net={far} sh -ec 'ip address add {THERE}/24 dev far; ip link set far up'")
        receiver.bind((THERE, SRTLA_PORT))
        receiver.settimeout(5)

        def respond(answer: Callable[[bytes], bytes | None]) -> None:
            packet, sender = receiver.recvfrom(2048)
            if said := answer(packet):
                receiver.sendto(said, sender)

        play(respond)


def play(respond: Callable[[Callable[[bytes], bytes | None]], None]) -> None:
    """Send over the link, have the other end respond to each packet, and see what the tap has seen."""
    tap = Tap(SRT_PORT, SRTLA_PORT, [HERE])
    link, arrived = tap.links[HERE], []

    def answer(packet: bytes) -> bytes | None:
        if packet[0] & 0x80:
            return struct.pack(">H", REG3)
        arrived.append(int.from_bytes(packet[:4], "big"))
        return None if len(arrived) % ACKED else srt_packets.answer(arrived[-ACKED:])

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind((HERE, 0))
        sender.settimeout(5)
        sender.sendto(struct.pack(">H", REG2), (THERE, SRTLA_PORT))
        respond(answer)
        sender.recv(2048)
        for number in range(PACKETS):
            sender.sendto(srt_packets.data(number).ljust(LENGTH, b"\0"), (THERE, SRTLA_PORT))
            respond(answer)
        for _ in range(PACKETS // ACKED):
            sender.recv(2048)
    tap.drain(time.time())
    tap.close()
    assert socket.if_nametoindex("uplink0") == link.interface
    assert (PACKETS, PACKETS * (28 + LENGTH), PACKETS) == (
        link.packets.sent,
        link.packets.sent_bytes,
        link.packets.acked,
    )
    assert (True, 1) == (link.is_up(time.time()), link.registrations)
    assert 0 < (link.trips.median_ms(time.time()) or 0) < 5_000
