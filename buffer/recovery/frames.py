"""SQLite's write-ahead log, read without SQLite: pages that are in it, also behind a damaged frame.

A frame's checksum continues the one of the frame before it, and SQLite stops at the first that does not:
one flipped bit hides everything committed after it. But each frame also stores its sum, so that the next
but one can be checked again. What follows such a break is read as well, beside what SQLite would see and
not instead of it: it may be left over from a transaction that was rolled back.
Source: https://www.sqlite.org/fileformat2.html#the_write_ahead_log
"""

from __future__ import annotations

import os
import struct
import sys
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PAGE_SIZES = (1024, 4096)  # what our files have, and those of version 0.1
FRAMES_PER_TURN = 128  # checking as many takes about 10 ms here

_HEADER = struct.Struct(">8I")  # magic, format, page size, sequence, salt 1 and 2, checksum 1 and 2
_MAGIC_BIG_ENDIAN = 0x377F0683  # checksums over big-endian words; one less: over little-endian ones

_Pair = tuple[int, int]


class Frame(NamedTuple):
    """A frame's header.

    Attributes:
        page: number of the page it holds.
        commit: pages of the database after this commit; 0 where the transaction goes on.
        salts: of this lap of the log.
        sums: the checksum up to and with this frame.
    """

    page: int
    commit: int
    salts: _Pair
    sums: _Pair


class WriteAheadLog:
    """The pages in a write-ahead log.

    Args:
        path: the log; it may be missing.
        first_frame: frames before this one are left out.

    Attributes:
        frames: how many there are.
        pages: page number to where its newest content begins, of those that SQLite would see.
        hidden: the same, of those that SQLite would not see.
    """

    def __init__(self, path: Path, first_frame: int = 0) -> None:
        self._fd = open_or_none(path)
        self._first_frame = first_frame
        header = self._read(_HEADER.size, 0)
        magic, _, size, _, *pairs = _HEADER.unpack(header) if len(header) == _HEADER.size else (0,) * 8
        self._big_endian = magic == _MAGIC_BIG_ENDIAN
        self._seed: _Pair = pairs[2], pairs[3]
        self._salts: _Pair = pairs[0], pairs[1]
        self.page_bytes = size if is_page_size(size) else PAGE_SIZES[0]
        self._frame_bytes = 24 + self.page_bytes
        log_bytes = 0 if self._fd is None else os.fstat(self._fd).st_size
        self.frames = max(0, log_bytes - _HEADER.size) // self._frame_bytes
        if self._seed != checksum(header[:24], (0, 0), big_endian=self._big_endian):
            first = [self.frame(number).salts for number in range(min(3, self.frames))]
            self._salts = max(first, key=first.count, default=(0, 0))
        self.pages: dict[int, int] = {}
        self.hidden: dict[int, int] = {}

    def frame(self, number: int) -> Frame:
        """Return the header of a frame, counted from 0."""
        header = self._read(24, self._offset(number))
        page, commit, *pairs = struct.unpack(">6I", header) if len(header) == 24 else (0,) * 6
        return Frame(page, commit, (pairs[0], pairs[1]), (pairs[2], pairs[3]))

    def has_commit_after(self, frame: int) -> bool:
        """Return whether a commit lies behind the valid frames, where SQLite does not see it."""
        headers = (self.frame(number) for number in range(frame, self.frames))
        return any(header.commit and header.salts == self._salts for header in headers)

    def read(self) -> Iterator[None]:
        """Find the newest frame of each page; yield now and then."""
        seed, found = self._seed, self.hidden if self._first_frame else self.pages
        for number in range(self.frames):
            header, offset = self.frame(number), self._offset(number) + 24
            if number >= self._first_frame and header.salts == self._salts:
                if self._is_good(number, seed, header):
                    found[header.page] = offset
                else:
                    found = self.hidden
            seed = header.sums
            if number % FRAMES_PER_TURN == 0:
                yield

    def content(self, offset: int) -> bytes:
        """Return the page that begins there."""
        return self._read(self.page_bytes, offset)

    def close(self) -> None:
        """Close the file."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _is_good(self, number: int, seed: _Pair, header: Frame) -> bool:
        frame = self._read(self._frame_bytes, self._offset(number))
        sums = checksum(frame[:8], seed, big_endian=self._big_endian)
        return header.sums == checksum(frame[24:], sums, big_endian=self._big_endian)

    def _offset(self, number: int) -> int:
        return _HEADER.size + number * self._frame_bytes

    def _read(self, length: int, offset: int) -> bytes:
        return read_at(self._fd, length, offset)


def checksum(content: bytes, seed: _Pair, *, big_endian: bool) -> _Pair:
    """Return the log's checksum of some 8-byte units, continuing an earlier one."""
    words = array("I", content)
    if big_endian != (sys.byteorder == "big"):
        words.byteswap()
    first, second = seed
    pairs = iter(words)
    for word in pairs:
        first = (first + word + second) & 0xFFFFFFFF
        second = (second + next(pairs) + first) & 0xFFFFFFFF
    return first, second


def is_page_size(number: int) -> bool:
    """Tell whether SQLite could have pages of that many bytes."""
    return 512 <= number <= 65_536 and number & (number - 1) == 0


def read_at(descriptor: int | None, length: int, offset: int) -> bytes:
    """Return what can be read there: nothing in a bad sector, or without a file."""
    try:
        return b"" if descriptor is None else os.pread(descriptor, length, offset)
    except OSError:
        return b""


def open_or_none(path: Path) -> int | None:
    """Open a file for reading; None if it is not there."""
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
