"""Which packets of a stream the tap looks at, and how much of each; a part of the SRT collector.

Offsets are those of an IPv4 packet without options: 20 address ports, 28 begins the payload. Of a data packet
no more than its header leaves the kernel. Source: the SRT protocol's draft-sharabayko-srt-01, srtla's protocol
in srtla_send.c and srtla_rec.c.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from collectors.srt.bpf import (
    INTERFACE_INDEX,
    JUMP_EQUAL,
    JUMP_GREATER_EQUAL,
    JUMP_SET,
    LOAD_BYTE,
    LOAD_HALF,
    LOAD_WORD,
    PACKET_TYPE,
    RETURN,
    Step,
    assemble,
    label,
)

OUTGOING = 4  # PACKET_OUTGOING
HANDSHAKE, ACK, NAK, SHUTDOWN, DROP_REQUEST = 0x8000, 0x8002, 0x8003, 0x8005, 0x8007
KEEPALIVE, SRTLA_ACK = 0x9000, 0x9100

CONTROL_BIT = 0x8000_0000
RETRANSMITTED_BIT = 0x0400_0000
# A sample of what comes too often, by the low bits of its number.
DATA_SAMPLE, ACK_SAMPLE, UPLINK_SAMPLE = 0xF, 0x7, 0x3
FULL_ACK_BYTES = 8 + 44  # of UDP: a light ACK is shorter and says nothing but its number

_SOURCE, _SOURCE_PORT, _TARGET_PORT, _UDP_LENGTH, _PAYLOAD, _SECOND_WORD = 12, 20, 22, 24, 28, 32
HEADER_BYTES = 36
CONTROL_BYTES = 420


def stream(loopback: int, srt_port: int, srtla_port: int) -> bytes:
    """Return the program that picks what is read: control packets, and samples of the rest.

    Args:
        loopback: index of the interface `lo`.
        srt_port: where srtla_send listens, on `lo`.
        srtla_port: the receiver's.
    """
    return assemble(
        [
            *_udp(),
            Step(LOAD_HALF, _TARGET_PORT),
            Step(JUMP_EQUAL, srtla_port, "to receiver"),
            Step(JUMP_EQUAL, srt_port, "to sender"),
            Step(LOAD_HALF, _SOURCE_PORT),
            Step(JUMP_EQUAL, srtla_port, "from receiver"),
            Step(JUMP_EQUAL, srt_port, "from sender", "drop"),
            *_on_loopback(loopback),
            *_on_uplinks(),
            label("control"),
            Step(RETURN, CONTROL_BYTES),
            label("header"),
            Step(RETURN, HEADER_BYTES),
            label("drop"),
            Step(RETURN, 0),
        ]
    )


def data(loopback: int, srt_port: int, *, retransmitted: bool) -> bytes:
    """Return the program that matches each data packet of the encoder, sent anew or not."""
    is_again = ("count", "drop") if retransmitted else ("drop", "count")
    return assemble(
        [
            *_udp(),
            Step(LOAD_HALF, _TARGET_PORT),
            Step(JUMP_EQUAL, srt_port, otherwise="drop"),
            Step(LOAD_WORD, INTERFACE_INDEX),
            Step(JUMP_EQUAL, loopback, otherwise="drop"),
            Step(LOAD_BYTE, PACKET_TYPE),
            Step(JUMP_EQUAL, OUTGOING, "drop"),  # on lo each packet is seen twice
            Step(LOAD_WORD, _PAYLOAD),
            Step(JUMP_SET, CONTROL_BIT, "drop"),
            Step(LOAD_WORD, _SECOND_WORD),
            Step(JUMP_SET, RETRANSMITTED_BIT, *is_again),
            *_count(),
        ]
    )


def uplink(address: str, srtla_port: int) -> bytes:
    """Return the program that matches each data packet that leaves over one link."""
    return assemble(
        [
            *_udp(),
            Step(LOAD_HALF, _TARGET_PORT),
            Step(JUMP_EQUAL, srtla_port, otherwise="drop"),
            Step(LOAD_BYTE, PACKET_TYPE),
            Step(JUMP_EQUAL, OUTGOING, otherwise="drop"),
            Step(LOAD_WORD, _SOURCE),
            Step(JUMP_EQUAL, int(ipaddress.IPv4Address(address)), otherwise="drop"),
            Step(LOAD_WORD, _PAYLOAD),
            Step(JUMP_SET, CONTROL_BIT, "drop", "count"),
            *_count(),
        ]
    )


def _udp() -> Iterator[Step]:
    """Let UDP over IPv4 pass, whole and without options."""
    yield Step(LOAD_BYTE, 0)
    yield Step(JUMP_EQUAL, 0x45, otherwise="drop")
    yield Step(LOAD_BYTE, 9)
    yield Step(JUMP_EQUAL, 17, otherwise="drop")
    yield Step(LOAD_HALF, 6)
    yield Step(JUMP_SET, 0x1FFF, "drop")


def _count() -> Iterator[Step]:
    yield label("count")
    yield Step(RETURN, 1)
    yield label("drop")
    yield Step(RETURN, 0)


def _on_loopback(loopback: int) -> Iterator[Step]:
    """Pick what belacoder and srtla_send say to each other."""
    yield label("to sender")
    yield Step(LOAD_WORD, INTERFACE_INDEX)
    yield Step(JUMP_EQUAL, loopback, otherwise="drop")
    yield Step(LOAD_BYTE, PACKET_TYPE)
    yield Step(JUMP_EQUAL, OUTGOING, "drop")
    yield Step(LOAD_HALF, _PAYLOAD)
    for kind in (HANDSHAKE, SHUTDOWN, DROP_REQUEST):
        yield Step(JUMP_EQUAL, kind, "control")
    yield Step(LOAD_WORD, _PAYLOAD)
    yield Step(JUMP_SET, CONTROL_BIT, "drop")
    yield Step(LOAD_WORD, _SECOND_WORD)
    yield Step(JUMP_SET, RETRANSMITTED_BIT, "drop")
    yield Step(LOAD_WORD, _PAYLOAD)
    yield Step(JUMP_SET, DATA_SAMPLE, "drop", "header")
    yield label("from sender")
    yield Step(LOAD_WORD, INTERFACE_INDEX)
    yield Step(JUMP_EQUAL, loopback, otherwise="drop")
    yield Step(LOAD_BYTE, PACKET_TYPE)
    yield Step(JUMP_EQUAL, OUTGOING, "drop")
    yield Step(LOAD_HALF, _PAYLOAD)
    for kind in (HANDSHAKE, NAK, SHUTDOWN):
        yield Step(JUMP_EQUAL, kind, "control")
    yield Step(JUMP_EQUAL, ACK, otherwise="drop")
    yield Step(LOAD_HALF, _UDP_LENGTH)
    yield Step(JUMP_GREATER_EQUAL, FULL_ACK_BYTES, otherwise="drop")
    yield Step(LOAD_WORD, _SECOND_WORD)
    yield Step(JUMP_SET, ACK_SAMPLE, "drop", "control")


def _on_uplinks() -> Iterator[Step]:
    """Pick what srtla_send and the receiver say to each other over the links."""
    yield label("to receiver")
    yield Step(LOAD_BYTE, PACKET_TYPE)
    yield Step(JUMP_EQUAL, OUTGOING, otherwise="drop")
    yield Step(LOAD_HALF, _PAYLOAD)
    yield Step(JUMP_EQUAL, KEEPALIVE, "header")
    yield Step(LOAD_WORD, _PAYLOAD)
    yield Step(JUMP_SET, CONTROL_BIT, "drop")
    yield Step(JUMP_SET, UPLINK_SAMPLE, "drop", "header")
    yield label("from receiver")
    yield Step(LOAD_BYTE, PACKET_TYPE)
    yield Step(JUMP_EQUAL, OUTGOING, "drop")
    yield Step(LOAD_HALF, _PAYLOAD)
    yield Step(JUMP_EQUAL, KEEPALIVE, "header")
    yield Step(JUMP_EQUAL, SRTLA_ACK, "control", "drop")
