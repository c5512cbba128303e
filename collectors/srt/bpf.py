"""Classic BPF programs for packet sockets, written with labels; a part of the SRT tap.

Source: Documentation/networking/filter.rst, include/uapi/linux/filter.h.
"""

from __future__ import annotations

import socket
import struct
from array import array
from collections.abc import Sequence
from typing import NamedTuple

LOAD_WORD, LOAD_HALF, LOAD_BYTE = 0x20, 0x28, 0x30  # BPF_LD | BPF_ABS
JUMP_EQUAL, JUMP_GREATER_EQUAL, JUMP_SET = 0x15, 0x35, 0x45  # BPF_JMP | BPF_K
RETURN = 0x06

# SKF_AD_OFF: what the kernel knows of a packet besides its bytes.
PACKET_TYPE, INTERFACE_INDEX = 0xFFFFF004, 0xFFFFF008

SO_ATTACH_FILTER = 26
NEXT = ""  # as the target of a jump: the next instruction

_INSTRUCTION = struct.Struct("HBBI")


class Step(NamedTuple):
    """One instruction, or a label where `code` is None.

    Attributes:
        code: operation.
        value: its constant, or the label's name.
        then: label to jump to when a test holds.
        otherwise: label to jump to when it does not.
    """

    code: int | None
    value: int | str
    then: str = NEXT
    otherwise: str = NEXT


def label(name: str) -> Step:
    """Mark the next instruction."""
    return Step(None, name)


def assemble(steps: Sequence[Step]) -> bytes:
    """Return the machine code.

    Raises:
        KeyError: a jump leads to a label that is not there.
        ValueError: it leads back, or too far.
    """
    places: dict[str, int] = {}
    code: list[Step] = []
    for step in steps:
        if step.code is None:
            places[str(step.value)] = len(code)
        else:
            code.append(step)
    return b"".join(_encode(at, step, places) for at, step in enumerate(code))


def attach(sock: socket.socket, program: bytes) -> None:
    """Have the kernel run a program on every packet of a socket.

    Raises:
        OSError: the kernel does not accept it.
    """
    code = array("B", program)
    descriptor = struct.pack("HL", len(program) // _INSTRUCTION.size, code.buffer_info()[0])  # struct sock_fprog
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, descriptor)


def _encode(at: int, step: Step, places: dict[str, int]) -> bytes:
    assert step.code is not None  # noqa: S101 - labels are left out before
    jumps = [0 if name == NEXT else places[name] - at - 1 for name in (step.then, step.otherwise)]
    if not all(0 <= jump <= 255 for jump in jumps):
        raise ValueError(f"instruction {at} jumps by {jumps}")
    return _INSTRUCTION.pack(step.code, *jumps, int(step.value))
