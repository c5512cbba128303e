"""A set of row ids that takes a bit for each: a database has millions, in runs."""

from __future__ import annotations

BLOCK = 1 << 15


class RowIds:
    """Which ids were seen."""

    def __init__(self) -> None:
        self._blocks: dict[int, bytearray] = {}
        self._count = 0

    def add(self, number: int) -> bool:
        """Add an id; return whether it is new."""
        block, place = divmod(number, BLOCK)
        bits = self._blocks.get(block)
        if bits is None:
            bits = self._blocks[block] = bytearray(BLOCK // 8)
        bit = 1 << (place & 7)
        if bits[place >> 3] & bit:
            return False
        bits[place >> 3] |= bit
        self._count += 1
        return True

    @property
    def holes(self) -> int:
        """How many ids between the lowest and the highest were not seen."""
        if not self._blocks:
            return 0
        lowest, highest = min(self._blocks), max(self._blocks)
        first = BLOCK * lowest + _bits(self._blocks[lowest]).index("1")
        last = BLOCK * highest + _bits(self._blocks[highest]).rindex("1")
        return last - first + 1 - self._count


def _bits(block: bytearray) -> str:
    """Return a block as text, a letter for each id."""
    return "".join(f"{byte:08b}"[::-1] for byte in block)
