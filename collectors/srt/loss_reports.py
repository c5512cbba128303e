"""Which packets the receiver has reported lost; a part of the SRT connection. Pure.

What is kept is of a fixed size, whatever is reported: a flag for each of the last `WINDOW` numbers, and the heads of
the last reports, by which the copies that come over the other links are known.
Source: draft-sharabayko-srt-01 section 3.2.5, srtcore/core.cpp (processCtrlLossReport).
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterator, Sequence

SEQUENCES = 1 << 31  # numbers wrap here
WINDOW = 1 << 15  # more than libsrt's largest flow window of 25,600 packets

_WORD = struct.Struct(">I")
_HEAD_BYTES = 16
_COPIES = 32  # reports remembered


class LossReports:
    """The reports of one connection after the other.

    Attributes:
        lost: packets named since the start; one that is reported again counts again, as in libsrt.
        reported: the same, each packet once.
    """

    def __init__(self) -> None:
        self.lost = self.reported = 0
        self._flags = bytearray(WINDOW)  # by number modulo WINDOW
        self._copies: deque[bytes] = deque(maxlen=_COPIES)

    def begin(self) -> None:
        """Forget what was reported of the connection before."""
        self._flags = bytearray(WINDOW)

    def has(self, number: int) -> bool:
        """Return whether a packet was reported lost, one of the last `WINDOW` sent."""
        return bool(self._flags[number % WINDOW])

    def among(self, numbers: Sequence[int]) -> list[int]:
        """Return those of some packets that were reported lost."""
        flags = self._flags
        return [number for number in numbers if flags[number % WINDOW]]

    def is_copy(self, payload: bytes) -> bool:
        """Return whether a report has come before, over another link; remember it."""
        head = payload[4:32]  # its time, and what it begins with
        if head in self._copies:
            return True
        self._copies.append(head)
        return False

    def take(self, payload: bytes, oldest: int, newest: int) -> None:
        """Take in what a report names, as far as it can have been lost.

        Args:
            payload: of the whole control packet.
            oldest: number of the first packet that may be missed.
            newest: and of the last.
        """
        left = WINDOW
        for low, high in _ranges(payload[_HEAD_BYTES:]):
            behind, count = distance(low, newest), distance(low, high) + 1
            if count > behind + 1 or behind >= WINDOW or count > left or distance(oldest, low) >= WINDOW:
                continue
            left -= count
            self.lost += count
            self.reported += self._flag(low % WINDOW, count)

    def forget(self, number: int, count: int) -> None:
        """Forget what was reported of the numbers that a round ago stood where new ones come."""
        for low, high in _pieces(number % WINDOW, count):
            self._flags[low:high] = bytes(high - low)

    def _flag(self, begin: int, count: int) -> int:
        """Flag packets as reported; return how many were not."""
        fresh = 0
        for low, high in _pieces(begin, count):
            fresh += (high - low) - self._flags.count(1, low, high)
            self._flags[low:high] = b"\1" * (high - low)
        return fresh


def distance(first: int, last: int) -> int:
    """Return how far a number is behind another one; numbers wrap."""
    return (last - first) % SEQUENCES


def _pieces(begin: int, count: int) -> Iterator[tuple[int, int]]:
    """Give the slices of the flags that a range covers: one, or two where it wraps."""
    end = begin + count
    yield begin, min(end, WINDOW)
    if end > WINDOW:
        yield 0, end - WINDOW


def _ranges(words: bytes) -> Iterator[tuple[int, int]]:
    """Give first and last of each range of a loss list."""
    numbers = iter(number for (number,) in _WORD.iter_unpack(words[: len(words) // 4 * 4]))
    for number in numbers:
        if number >> 31:
            last = next(numbers, None)
            if last is not None:
                yield number % SEQUENCES, last % SEQUENCES
        else:
            yield number, number
