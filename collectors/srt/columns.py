"""What many packets of a ring have in common, as columns: a loop over each of them would be most of the tap's work.

Pure: takes frames as the kernel lays them out. A column is one field of all packets, in the order in which they came.
Source: include/uapi/linux/if_packet.h (tpacket2_hdr, sockaddr_ll), RFC 791; srtla_rec.c (register_packet).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from itertools import compress
from typing import NamedTuple

from collectors.srt.ring import DATA_AT

_LENGTH, _STAMP, _INTERFACE = 4, 16, 36
_SOURCE, _TARGET, _PAYLOAD = DATA_AT + 12, DATA_AT + 16, DATA_AT + 28
_ANSWERED = range(_PAYLOAD + 4, _PAYLOAD + 44, 4)  # the numbers of ten packets
_STAMPED, _TIME = struct.Struct("=Q"), struct.Struct("=II")


class SentPackets(NamedTuple):
    """Data packets of all links in the order in which they left.

    Attributes:
        stamps: when, see `seconds`.
        interfaces: index of the interface that each was seen on.
        numbers: their first words as this machine reads them.
        lengths: of the whole IP packets, bytes.
    """

    stamps: list[int]
    interfaces: list[int]
    numbers: list[int]
    lengths: list[int]


class Answers(NamedTuple):
    """The SRTLA receiver's answers, each to ten data packets, in the order in which they came.

    Attributes:
        stamps, interfaces: as for `SentPackets`.
        named: the ten numbers, as this machine reads them.
    """

    stamps: list[int]
    interfaces: list[int]
    named: list[tuple[int, ...]]

    def which(self, wanted: Iterable[bool]) -> Answers:
        """Return some of them, by a flag for each."""
        flags = list(wanted)
        stamps, interfaces = (list(compress(column, flags)) for column in (self.stamps, self.interfaces))
        return Answers(stamps, interfaces, list(compress(self.named, flags)))


class Columns:
    """Some frames of a ring.

    Args:
        frames: the frames.
        frame_bytes: length of each.

    Attributes:
        sources, targets: addresses, as this machine reads their bytes.
    """

    def __init__(self, frames: memoryview, frame_bytes: int) -> None:
        self._words, self._step = frames.cast("I"), frame_bytes // 4
        self._stamps = frames.cast("Q")[_STAMP // 8 :: frame_bytes // 8].tolist()
        self._interfaces = self._column(_INTERFACE)
        self.sources, self.targets = self._column(_SOURCE), self._column(_TARGET)

    def sent(self) -> SentPackets:
        """Return them as data packets."""
        return SentPackets(self._stamps, self._interfaces, self._column(_PAYLOAD), self._column(_LENGTH))

    def answers(self) -> Answers:
        """Return them as answers."""
        named = zip(*(self._column(at) for at in _ANSWERED), strict=True)
        return Answers(self._stamps, self._interfaces, list(named))

    def _column(self, at: int) -> list[int]:
        return self._words[at // 4 :: self._step].tolist()


def seconds(stamp: int) -> float:
    """Return the time in a kernel's stamp, seconds: worked out for a few packets alone, as it costs most of all."""
    whole, nanoseconds = _TIME.unpack(_STAMPED.pack(stamp))
    return float(whole + nanoseconds * 1e-9)
