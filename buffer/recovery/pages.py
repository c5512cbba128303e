"""SQLite's database file, read without SQLite: the records in a file that SQLite refuses.

Reads a database and its write-ahead log, emits the records page by page; what links the pages, the first
one included, may be damaged. Damage is the expected input: what cannot be read is left out and counted,
never an exception. Source: https://www.sqlite.org/fileformat2.html
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, TypeAlias

from buffer.recovery.frames import PAGE_SIZES, WriteAheadLog, is_page_size, open_or_none, read_at

Value: TypeAlias = int | float | str | bytes | None

INDEX_INNER, TABLE_INNER, INDEX_LEAF, TABLE_LEAF = RECORDS = 2, 5, 10, 13
FILE_HEADER = 100  # bytes of page 1 before its page header
FRACTIONS = b"\x40\x20\x20"  # bytes 21-23 of every file
MAX_PAGES = 1 << 22  # 16 GiB: a header that says more is damaged
MAX_PAYLOAD = 1 << 20  # the largest sample on the wire has 45 KB
SAMPLED_PAGES = 64
MAX_CELLS = 65_536 // 2  # a cell has a pointer of two bytes
MAX_LAYOUTS = 10_000  # a file of ours has a few hundred; garbage has any number

_INTEGER_BYTES = (0, 1, 2, 3, 4, 6, 8)
_DOUBLE = struct.Struct(">d")
_Place = tuple[int, int, int]  # serial type, first byte, end
_Layout = tuple[list[_Place], int]  # where the columns are, and the record's length


class Record(NamedTuple):
    """One row of a table, or one entry of an index.

    Attributes:
        rowid: of the row; None in an index and in a table without rowids.
        values: its columns; the one that stands for the rowid is None. Text is bytes where it is no UTF-8.
    """

    rowid: int | None
    values: tuple[Value, ...]


class File:
    """A database file with its log on top.

    Args:
        path: the database; it may be missing, and so may its log.
        first_frame: frames of the log before this one are left out.

    Attributes:
        log: the write-ahead log; what its `read` has not reached is not seen.
        reused: pages that are free where SQLite would look, and in use again in the hidden part of the log.
    """

    def __init__(self, path: Path, first_frame: int = 0) -> None:
        self._fd = open_or_none(path)
        self.log = WriteAheadLog(path.with_name(f"{path.name}-wal"), first_frame)
        stored = int.from_bytes(self._read(2, 16), "big")
        stored = 65_536 if stored == 1 else stored
        sizes = [stored] if is_page_size(stored) else []
        # A damaged header may say a wrong one.
        self.page_bytes = max([*sizes, self.log.page_bytes, *PAGE_SIZES], key=self._share_of_records)
        self._layouts: dict[bytes, _Layout | None] = {}
        self.reused: set[int] = set()

    @property
    def pages(self) -> int:
        """How many pages there are."""
        size = 0 if self._fd is None else os.fstat(self._fd).st_size
        here = -(-size // self.page_bytes)
        return min(MAX_PAGES, max(here, max(self.log.pages, default=0), max(self.log.hidden, default=0)))

    @property
    def is_log_alone(self) -> bool:
        """Whether there is no database below the log: a page that the log does not have is in the one in use."""
        return self._fd is None

    @property
    def missing_pages(self) -> int:
        """How many more the file's header says there were."""
        said = int.from_bytes(self._header()[28:32], "big")
        return max(0, said - self.pages) if said <= MAX_PAGES else 0

    def contents(self, number: int) -> list[bytes]:
        """Return a page as SQLite would see it, and as it stands in the hidden part of the log."""
        newest, hidden = self.log.pages.get(number), self.log.hidden.get(number)
        seen = self._read(self.page_bytes, (number - 1) * self.page_bytes) if newest is None else b""
        logged = [self.log.content(offset) for offset in (newest, hidden) if offset is not None]
        found = [content.ljust(self.page_bytes, b"\0") for content in (seen, *logged) if content]
        return found[-1:] if number in self.reused else found

    def free_pages(self, version: int = 0) -> Iterator[int]:
        """Yield the pages that hold nothing any more, as far as their list can be read.

        Args:
            version: 0 for what SQLite would see, -1 for the end of the log's hidden part.
        """
        trunk = int.from_bytes(self._header(version)[32:36], "big")
        for _ in range(self.pages):  # a damaged list may run in a circle
            contents = self.contents(trunk) if trunk else []
            if not contents:
                return
            yield trunk
            content = contents[version]
            trunk, count = struct.unpack_from(">2I", content)
            if count <= self.page_bytes // 4 - 2:
                yield from struct.unpack_from(f">{count}I", content, 8)

    def records(self, content: bytes, number: int, most: int = MAX_CELLS) -> list[Record] | None:
        """Return the records in a page that can be read; None for what is no page of records.

        Args:
            content: the page.
            number: which page it is.
            most: how many of its records are wanted, from all over it.
        """
        start = FILE_HEADER if number == 1 else 0
        kind, count = content[start], int.from_bytes(content[start + 3 : start + 5], "big")
        first = start + (12 if kind in {INDEX_INNER, TABLE_INNER} else 8)
        if kind not in RECORDS or first + 2 * count > self.page_bytes:
            return None
        if kind == TABLE_INNER:
            return []
        pointers = struct.unpack_from(f">{count}H", content, first)[:: -(-count // most) or 1]
        mask = self.page_bytes - 1  # as SQLite does
        return [record for at in pointers if (record := self._record(content, kind, at & mask)) is not None]

    def close(self) -> None:
        """Close both files."""
        self.log.close()
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _header(self, version: int = 0) -> bytes:
        """Return the file's header, or nothing where there is none."""
        contents = self.contents(1)
        header = contents[version][:FILE_HEADER] if contents else b""
        return header if header[21:24] == FRACTIONS else b""

    def _share_of_records(self, size: int) -> float:
        """Return which share of pages from all over the file holds records that fill it, if pages had that size."""
        pages = 0 if self._fd is None else os.fstat(self._fd).st_size // size
        step = max(1, pages // SAMPLED_PAGES) | 1  # odd: of each two pages of half the size, either one
        contents = [self._read(size, number * size) for number in range(1, pages, step)]
        return sum(map(_is_filled, contents)) / max(1, len(contents))

    def _record(self, content: bytes, kind: int, pointer: int) -> Record | None:
        try:
            rowid = None
            length, offset = varint(content, pointer + (4 if kind == INDEX_INNER else 0))
            if kind == TABLE_LEAF:
                rowid, offset = varint(content, offset)
            header = content[offset : offset + varint(content, offset)[0]]
            if header not in self._layouts:
                if len(self._layouts) >= MAX_LAYOUTS:
                    self._layouts.clear()
                self._layouts[header] = _layout(header)
            layout = self._layouts[header]
            if layout is None:
                return None
            payload = content[offset : offset + layout[1]]  # the length says the same, or is damaged
            if layout[1] > self.page_bytes - 35:
                payload = self._with_overflow(content, offset, length)
            if len(payload) < layout[1]:
                return None
            return Record(rowid, tuple([_value(payload, *place) for place in layout[0]]))
        except (IndexError, struct.error):
            return None  # the cell is damaged

    def _with_overflow(self, content: bytes, offset: int, length: int) -> bytes:
        """Return a payload that is larger than its page; a broken chain gives less of it."""
        if length > MAX_PAYLOAD:
            return b""
        least = (self.page_bytes - 12) * 32 // 255 - 23
        local = least + (length - least) % (self.page_bytes - 4)
        local = least if local > self.page_bytes - 35 else local
        parts, missing = [content[offset : offset + local]], length - local
        following = int.from_bytes(content[offset + local : offset + local + 4], "big")
        while missing > 0 and following and (contents := self.contents(following)):
            parts.append(contents[0][4 : 4 + missing])
            missing -= len(parts[-1])
            following = int.from_bytes(contents[0][:4], "big")
        return b"".join(parts)

    def _read(self, length: int, offset: int) -> bytes:
        return read_at(self._fd, length, offset)


def _is_filled(content: bytes) -> bool:
    """Return whether a page is one of records up to its end, where the first one is put."""
    kind, count = content[0], int.from_bytes(content[3:5], "big")
    first = 12 if kind in {INDEX_INNER, TABLE_INNER} else 8
    if kind not in RECORDS or not count or first + 2 * count > len(content):
        return False
    pointers: tuple[int, ...] = struct.unpack_from(f">{count}H", content, first)
    return len(content) // 2 <= max(pointers) < len(content)


def is_overflow(content: bytes) -> bool:
    """Tell whether a page may be the rest of a long record: the number of the next such page, and text."""
    return content[0] == 0 and any(content)


def varint(content: bytes, offset: int) -> tuple[int, int]:
    """Return the variable-length integer at an offset, and the offset behind it.

    Raises:
        IndexError: the content ends in the middle of it.
    """
    number = 0
    for position in range(offset, offset + 8):
        byte = content[position]
        if byte < 0x80:
            return number << 7 | byte, position + 1
        number = number << 7 | byte & 0x7F
    return number << 8 | content[offset + 8], offset + 9


def _layout(header: bytes) -> _Layout | None:
    """Return what a record's header says of its columns; None if it is no header."""
    places: list[_Place] = []
    position, offset = varint(header, 0)[1], len(header)
    while position < len(header):
        kind, position = varint(header, position)
        if kind in {10, 11}:
            return None
        length = _INTEGER_BYTES[kind] if kind < 7 else 8 if kind == 7 else max(0, (kind - 12) // 2)
        places.append((kind, offset, offset + length))
        offset += length
    return (places, offset) if position == len(header) and places else None


def _value(payload: bytes, kind: int, first: int, end: int) -> Value:
    if kind in {8, 9}:
        return kind - 8
    if kind < 7:
        return int.from_bytes(payload[first:end], "big", signed=True) if kind else None
    if kind == 7:
        number: float = _DOUBLE.unpack_from(payload, first)[0]
        return number
    content = payload[first:end]
    if kind & 1:
        try:
            return content.decode()
        except UnicodeDecodeError:
            pass  # damaged
    return content
