"""What can happen to a file, seeded: flipped bits, zeroed and overwritten stretches, cut and grown ends."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

SECTOR = 512


class Damage(NamedTuple):
    """What was done.

    Attributes:
        kind: name of the function that did it.
        places: how many separate places were hit; at each, two rows at most can be altered unseen.
    """

    kind: str
    places: int


def flip(path: Path, chance: random.Random) -> int:
    """Flip single bits."""
    places = chance.choice((1, 1, 1, 5, 50))
    for _ in range(places):
        flip_one(path, chance, path.stat().st_size)
    return places


def flip_one(path: Path, chance: random.Random, size: int) -> None:
    """Flip one bit of the first bytes of a file."""
    with path.open("r+b") as file:
        offset = chance.randrange(size)
        file.seek(offset)
        byte = (file.read(1) or b"\0")[0]
        file.seek(offset)
        file.write(bytes([byte ^ 1 << chance.randrange(8)]))


def zero(path: Path, chance: random.Random) -> int:
    """Zero whole sectors, as a card does that lost them."""
    return _overwrite(path, chance, lambda length: b"\0" * length)


def garbage(path: Path, chance: random.Random) -> int:
    """Overwrite sectors with noise."""
    return _overwrite(path, chance, chance.randbytes)


def moved(path: Path, chance: random.Random) -> int:
    """Put a stretch of the file in another place of it, as a card does that mixes up its blocks."""
    size = path.stat().st_size
    content = path.read_bytes()
    length = min(size, SECTOR * chance.choice((1, 8, 8, 16)))
    source = chance.randrange(max(1, size - length) // SECTOR + 1) * SECTOR
    return _overwrite(path, chance, lambda wanted: content[source : source + wanted].ljust(wanted, b"\0"))


def truncate(path: Path, chance: random.Random) -> int:
    """Cut the end off, anywhere."""
    os.truncate(path, chance.choice((0, chance.randrange(path.stat().st_size), SECTOR * chance.randrange(1, 16))))
    return 1


def append(path: Path, chance: random.Random) -> int:
    """Let something else follow the end."""
    with path.open("ab") as file:
        file.write(chance.randbytes(chance.choice((1, 24, 4096, 4120, 50_000))))
    return 1


def header(path: Path, chance: random.Random) -> int:
    """Flip a bit in the first bytes, which say how to read the rest."""
    flip_one(path, chance, 100)
    return 1


KINDS: tuple[Callable[[Path, random.Random], int], ...] = (flip, flip, zero, garbage, moved, truncate, append, header)
IN_PLACE = (flip, zero, garbage, moved)  # what leaves the size as it is: a mapped file that shrinks is a SIGBUS


def do(path: Path, chance: random.Random, *, in_place: bool = False) -> Damage:
    """Damage a file in a random way; an empty or missing one stays as it is."""
    kind = chance.choice(IN_PLACE if in_place else KINDS)
    if not path.exists() or not path.stat().st_size:
        return Damage("nothing", 0)
    return Damage(kind.__name__, kind(path, chance))


def one_bit(path: Path, chance: random.Random) -> Damage:
    """Flip a single bit, anywhere; an empty or missing file stays as it is."""
    if not path.exists() or not path.stat().st_size:
        return Damage("nothing", 0)
    flip_one(path, chance, path.stat().st_size)
    return Damage("one bit", 1)


def _overwrite(path: Path, chance: random.Random, content: Callable[[int], bytes]) -> int:
    places = chance.choice((1, 1, 3, 10))
    size = path.stat().st_size
    with path.open("r+b") as file:
        for _ in range(places):
            length = SECTOR * chance.choice((1, 1, 8, 8, 40))
            offset = chance.randrange(size // SECTOR + 1) * SECTOR
            file.seek(offset)
            file.write(content(max(0, min(length, size - offset))))
    return places
