"""What many packets of a ring have in common, as columns: a loop over each of them would be most of the tap's work.

Pure: takes frames as the kernel lays them out. A column is one field of all packets, in the order in which they came.
Source: include/uapi/linux/if_packet.h (tpacket2_hdr, sockaddr_ll), RFC 791; srtla_rec.c (register_packet).
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Iterator, Sequence
from itertools import compress
from typing import NamedTuple

from collectors.srt.ring import DATA_AT

_LENGTH, _STAMP, _INTERFACE = 4, 16, 36
_SOURCE, _TARGET, _PAYLOAD = DATA_AT + 12, DATA_AT + 16, DATA_AT + 28
_ANSWERED, _NAMED = _PAYLOAD + 4, struct.Struct(">10I")  # the numbers of ten packets
_STAMPED, _TIME = struct.Struct("=Q"), struct.Struct("=II")


class SentPackets(NamedTuple):
    """Data packets of a link in the order in which they left.

    Attributes:
        stamps: when, see `seconds`.
        interfaces: index of the interface that each was seen on.
        numbers: their first words.
        lengths: of the whole IP packets, bytes.
    """

    stamps: array[int]
    interfaces: array[int]
    numbers: array[int]
    lengths: array[int]

    def which(self, flags: Sequence[bool]) -> SentPackets:
        """Return some of them, by a flag for each."""
        return self if all(flags) else SentPackets(*(_some(column, flags) for column in self))


class Answers(NamedTuple):
    """The SRTLA receiver's answers, each to ten data packets, in the order in which they came.

    Attributes:
        stamps, interfaces: as for `SentPackets`.
        named: the ten numbers.
    """

    stamps: array[int]
    interfaces: array[int]
    named: Sequence[tuple[int, ...]]

    def which(self, flags: Sequence[bool]) -> Answers:
        """Return some of them, by a flag for each."""
        if all(flags):
            return self
        stamps, interfaces = (_some(column, flags) for column in (self.stamps, self.interfaces))
        return Answers(stamps, interfaces, list(compress(self.named, flags)))


class AnswerColumns(NamedTuple):
    """Answers of several links.

    Attributes:
        answers: as they came.
        sources, targets: their addresses, as this machine reads the bytes.
    """

    answers: Answers
    sources: array[int]
    targets: array[int]


def sent_packets(frames: memoryview, frame_bytes: int) -> SentPackets:
    """Return the data packets in some frames of a ring."""
    numbers = _column(frames, frame_bytes, _PAYLOAD)
    if sys.byteorder == "little":
        numbers.byteswap()
    stamps, interfaces = _stamps(frames, frame_bytes), _column(frames, frame_bytes, _INTERFACE)
    return SentPackets(stamps, interfaces, numbers, _column(frames, frame_bytes, _LENGTH))


def answer_columns(frames: memoryview, frame_bytes: int) -> AnswerColumns:
    """Return the answers in some frames of a ring."""
    named = [_NAMED.unpack_from(frames, at) for at in range(_ANSWERED, len(frames), frame_bytes)]
    answers = Answers(_stamps(frames, frame_bytes), _column(frames, frame_bytes, _INTERFACE), named)
    return AnswerColumns(answers, *(_column(frames, frame_bytes, at) for at in (_SOURCE, _TARGET)))


def is_all(column: array[int], value: int) -> bool:
    """Return whether every number of a column is this one.

    Columns are compared and searched as bytes where that does: a loop over their numbers takes ten times as long.
    """
    return column == array(column.typecode, [value]) * len(column)


def total(column: array[int]) -> int:
    """Return the sum of a column, whose numbers are often the same."""
    return len(column) * column[0] if column and is_all(column, column[0]) else sum(column)


def places(column: array[int], value: int) -> Iterator[int]:
    """Give the places at which a number is in a column."""
    among, wanted = column.tobytes(), array(column.typecode, [value]).tobytes()
    at = among.find(wanted)
    while at >= 0:
        place, rest = divmod(at, column.itemsize)
        if not rest:
            yield place
        at = among.find(wanted, at + 1)


def _some(column: array[int], flags: Sequence[bool]) -> array[int]:
    return array(column.typecode, compress(column, flags))


def _stamps(frames: memoryview, frame_bytes: int) -> array[int]:
    return array("Q", frames.cast("Q")[_STAMP // 8 :: frame_bytes // 8].tobytes())


def _column(frames: memoryview, frame_bytes: int, at: int) -> array[int]:
    return array("I", frames.cast("I")[at // 4 :: frame_bytes // 4].tobytes())


def seconds(stamp: int) -> float:
    """Return the time in a kernel's stamp, seconds: worked out for a few packets alone, as it costs most of all."""
    whole, nanoseconds = _TIME.unpack(_STAMPED.pack(stamp))
    return float(whole + nanoseconds * 1e-9)
