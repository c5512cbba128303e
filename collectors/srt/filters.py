"""Which packets of a stream the tap looks at, and how much of each.

Offsets are those of an IPv4 packet without options: 20 address ports, 28 begins the payload. Of a data packet no
more than its header leaves the kernel. What strangers can send is kept out here as far as the stream's own packets
say how: packets over the links by the receiver's address, SRT's control packets by the encoder's socket number.

Source: the SRT protocol's draft-sharabayko-srt-01; srtla's protocol in common.h, srtla_send.c and srtla_rec.c.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence

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
from collectors.srt.ring import OUTGOING

HANDSHAKE, SRT_KEEPALIVE, ACK, NAK, SHUTDOWN, DROP_REQUEST = 0x8000, 0x8001, 0x8002, 0x8003, 0x8005, 0x8007
KEEPALIVE, SRTLA_ACK = 0x9000, 0x9100
REG1, REG2, REG3, REG_ERR, REG_NGP, REG_NAK = 0x9200, 0x9201, 0x9202, 0x9210, 0x9211, 0x9212

CONTROL_BIT = 0x8000_0000
RETRANSMITTED_BIT = 0x0400_0000
# A sample of what comes too often, by the low bits of its number: about 50 data packets a second at 8 Mbit/s, and
# 25 acknowledgements, so that the encoder's controller can be followed.
DATA_SAMPLE, ACK_SAMPLE = 0xF, 0x3
FULL_ACK_BYTES = 8 + 44  # of UDP: a light ACK is shorter and says nothing but its number

_SOURCE, _TARGET, _SOURCE_PORT, _TARGET_PORT, _UDP_LENGTH = 12, 16, 20, 22, 24
_PAYLOAD, _SECOND_WORD, _SOCKET_NUMBER = 28, 32, 40
HEADER_BYTES = 44  # of IP, UDP and SRT; a keepalive with its time
CONTROL_BYTES = 420
ANSWER_BYTES = 44  # kind and ten numbers


def control(
    loopback: int, srt_port: int, srtla_port: int,
    receiver: str | None = None, encoder: int | None = None, *, samples: bool = True,
) -> bytes:  # fmt: skip
    """Return the program that picks control packets, and samples of data packets on `lo` where these are asked for.

    Args:
        loopback: index of the interface `lo`.
        srt_port: where srtla_send listens, on `lo`.
        srtla_port: the receiver's.
        receiver: its address, where it is known: others are not listened to.
        encoder: number of its SRT socket, where it is known: what is meant for another is not looked at.
        samples: whether to pick data packets too: where the links do not show what was sent.
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
            *_from_encoder(loopback, samples=samples),
            *_to_encoder(loopback, encoder),
            *_to_receiver(),
            *_from_receiver(receiver),
            *_ends(),
        ]
    )


def uplink(address: str, srtla_port: int) -> bytes:
    """Return the program that picks the header of each data packet that leaves over a link for the receiver."""
    return assemble(
        [
            *_udp(),
            Step(LOAD_HALF, _TARGET_PORT),
            Step(JUMP_EQUAL, srtla_port, otherwise="drop"),
            Step(LOAD_BYTE, PACKET_TYPE),
            Step(JUMP_EQUAL, OUTGOING, otherwise="drop"),
            Step(LOAD_WORD, _SOURCE),
            Step(JUMP_EQUAL, _number(address), otherwise="drop"),
            Step(LOAD_WORD, _PAYLOAD),
            Step(JUMP_SET, CONTROL_BIT, "drop", "header"),
            *_ends(),
        ]
    )


def answers(srtla_port: int, receiver: str | None = None) -> bytes:
    """Return the program that picks the receiver's answers to data packets; its address, where it is known."""
    return assemble(
        [
            *_udp(),
            Step(LOAD_HALF, _SOURCE_PORT),
            Step(JUMP_EQUAL, srtla_port, otherwise="drop"),
            Step(LOAD_HALF, _PAYLOAD),
            Step(JUMP_EQUAL, SRTLA_ACK, otherwise="drop"),
            Step(LOAD_HALF, _UDP_LENGTH),
            Step(JUMP_GREATER_EQUAL, 8 + ANSWER_BYTES, otherwise="drop"),
            *_not_of_others(receiver),
            Step(RETURN, 28 + ANSWER_BYTES),
            *_ends(),
        ]
    )


def starts(loopback: int) -> bytes:
    """Return the program that picks what a stream begins with, whatever its ports: registrations and handshakes."""
    return assemble(
        [
            *_udp(),
            Step(LOAD_HALF, _PAYLOAD),
            Step(JUMP_EQUAL, REG1, "registration"),
            Step(JUMP_EQUAL, REG2, "registration"),
            Step(JUMP_EQUAL, HANDSHAKE, otherwise="drop"),
            *_on_loopback(loopback),
            Step(LOAD_HALF, _UDP_LENGTH),
            Step(JUMP_GREATER_EQUAL, 8 + 64, "control", "drop"),
            label("registration"),
            Step(LOAD_HALF, _UDP_LENGTH),
            Step(JUMP_GREATER_EQUAL, 8 + 258, otherwise="drop"),
            Step(LOAD_BYTE, PACKET_TYPE),
            Step(JUMP_EQUAL, OUTGOING, "header", "drop"),
            *_ends(),
        ]
    )


def encoder_data(loopback: int, srt_port: int, *, retransmitted: bool) -> bytes:
    """Return the program that matches each data packet of the encoder, sent for the first time or not."""
    is_again = ("header", "drop") if retransmitted else ("drop", "header")
    return assemble(
        [
            *_udp(),
            Step(LOAD_HALF, _TARGET_PORT),
            Step(JUMP_EQUAL, srt_port, otherwise="drop"),
            *_on_loopback(loopback),
            Step(LOAD_WORD, _PAYLOAD),
            Step(JUMP_SET, CONTROL_BIT, "drop"),
            Step(LOAD_WORD, _SECOND_WORD),
            Step(JUMP_SET, RETRANSMITTED_BIT, *is_again),
            *_ends(),
        ]
    )


def srt_acks(address: str, srtla_port: int, receiver: str, interface: int) -> bytes:
    """Return the program that matches each full acknowledgement of SRT that comes over one link."""
    return assemble(
        [
            *_udp(),
            Step(LOAD_WORD, INTERFACE_INDEX),
            Step(JUMP_EQUAL, interface, otherwise="drop"),
            Step(LOAD_HALF, _SOURCE_PORT),
            Step(JUMP_EQUAL, srtla_port, otherwise="drop"),
            Step(LOAD_BYTE, PACKET_TYPE),
            Step(JUMP_EQUAL, OUTGOING, "drop"),
            Step(LOAD_WORD, _TARGET),
            Step(JUMP_EQUAL, _number(address), otherwise="drop"),
            Step(LOAD_WORD, _SOURCE),
            Step(JUMP_EQUAL, _number(receiver), otherwise="drop"),
            Step(LOAD_HALF, _PAYLOAD),
            Step(JUMP_EQUAL, ACK, otherwise="drop"),
            Step(LOAD_HALF, _UDP_LENGTH),
            Step(JUMP_GREATER_EQUAL, FULL_ACK_BYTES, "header", "drop"),
            *_ends(),
        ]
    )


def _number(address: str) -> int:
    return int(ipaddress.IPv4Address(address))


def _udp() -> Iterator[Step]:
    """Let UDP over IPv4 pass, whole and without options."""
    yield Step(LOAD_BYTE, 0)
    yield Step(JUMP_EQUAL, 0x45, otherwise="drop")
    yield Step(LOAD_BYTE, 9)
    yield Step(JUMP_EQUAL, 17, otherwise="drop")
    yield Step(LOAD_HALF, 6)
    yield Step(JUMP_SET, 0x1FFF, "drop")


def _on_loopback(loopback: int) -> Iterator[Step]:
    """Let what is received on `lo` pass: there each packet is seen twice."""
    yield Step(LOAD_WORD, INTERFACE_INDEX)
    yield Step(JUMP_EQUAL, loopback, otherwise="drop")
    yield Step(LOAD_BYTE, PACKET_TYPE)
    yield Step(JUMP_EQUAL, OUTGOING, "drop")


def _ends() -> Iterator[Step]:
    yield label("control")
    yield Step(RETURN, CONTROL_BYTES)
    yield label("header")
    yield Step(RETURN, HEADER_BYTES)
    yield label("drop")
    yield Step(RETURN, 0)


def _kinds(kinds: Sequence[int], target: str) -> Iterator[Step]:
    """Jump for each of some kinds of control packets; the last one that is none of them goes on."""
    yield Step(LOAD_HALF, _PAYLOAD)
    for kind in kinds:
        yield Step(JUMP_EQUAL, kind, target)


def _from_encoder(loopback: int, *, samples: bool) -> Iterator[Step]:
    """Pick what the encoder says to srtla_send."""
    yield label("to sender")
    yield from _on_loopback(loopback)
    yield from _kinds((HANDSHAKE, SHUTDOWN, DROP_REQUEST), "control")
    if samples:
        yield Step(LOAD_WORD, _PAYLOAD)
        yield Step(JUMP_SET, CONTROL_BIT | DATA_SAMPLE, "drop", "header")
    yield Step(RETURN, 0)


def _to_encoder(loopback: int, encoder: int | None) -> Iterator[Step]:
    """Pick what srtla_send passes on to the encoder, which anybody can have sent to one of its ports."""
    yield label("from sender")
    yield from _on_loopback(loopback)
    yield from _kinds((HANDSHAKE,), "control")
    if encoder is not None:
        yield Step(LOAD_WORD, _SOCKET_NUMBER)
        yield Step(JUMP_EQUAL, encoder, otherwise="drop")
    yield from _kinds((NAK, SHUTDOWN, SRT_KEEPALIVE), "control")
    yield Step(JUMP_EQUAL, ACK, otherwise="drop")
    yield Step(LOAD_HALF, _UDP_LENGTH)
    yield Step(JUMP_GREATER_EQUAL, FULL_ACK_BYTES, otherwise="drop")
    yield Step(LOAD_WORD, _SECOND_WORD)
    yield Step(JUMP_SET, ACK_SAMPLE, "drop", "control")


def _to_receiver() -> Iterator[Step]:
    """Pick what srtla_send asks the receiver over the links."""
    yield label("to receiver")
    yield Step(LOAD_BYTE, PACKET_TYPE)
    yield Step(JUMP_EQUAL, OUTGOING, otherwise="drop")
    yield from _kinds((KEEPALIVE, REG1, REG2), "header")
    yield Step(RETURN, 0)


def _from_receiver(receiver: str | None) -> Iterator[Step]:
    """Pick what the receiver answers over the links."""
    yield label("from receiver")
    yield from _not_of_others(receiver)
    yield from _kinds((KEEPALIVE, REG2, REG3, REG_ERR, REG_NGP, REG_NAK), "header")
    yield Step(RETURN, 0)


def _not_of_others(receiver: str | None) -> Iterator[Step]:
    """Let what has come pass; where the receiver is known, from that alone."""
    yield Step(LOAD_BYTE, PACKET_TYPE)
    yield Step(JUMP_EQUAL, OUTGOING, "drop")
    if receiver is not None:
        yield Step(LOAD_WORD, _SOURCE)
        yield Step(JUMP_EQUAL, _number(receiver), otherwise="drop")
