"""Which series a damaged row was: its key is the hash of what it says, so the right reading proves itself.

A series has thousands of samples; its row is worth some trouble. The key is stored twice, in the row and
in the index of keys, and a flipped bit in the rest is found by trying them all.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import NamedTuple

from buffer.series import canonical_tags, series_key

MAX_BYTES = 600  # of name, device and tags: trying 8 bits of each takes 30 ms here


class Identity(NamedTuple):
    """What a series is: the columns that its key is made of."""

    name: str
    device_id: str
    tags: str
    is_text: bool

    def pairs(self) -> dict[str, str]:
        """Return the tags as a map."""
        pairs: dict[str, str] = json.loads(self.tags)
        return pairs


class Reading(NamedTuple):
    """A row of `series` as it was read: text is bytes where it is no UTF-8."""

    texts: tuple[str | bytes, str | bytes, str | bytes]  # name, device, tags
    value_type: int


def proven(reading: Reading, key: bytes) -> Identity | None:
    """Return the series if the key is that of the reading."""
    return _fits(tuple(map(_raw, reading.texts)), reading.value_type, key)


def mended(reading: Reading, key: bytes) -> Identity | None:
    """Return the series if the key is that of the reading with one bit changed."""
    texts = [_raw(text) for text in reading.texts]
    if sum(map(len, texts)) > MAX_BYTES:
        return None
    for changed in _one_bit_off(texts):
        for value_type in (0, 1):
            found = _fits(changed, value_type, key)
            if found is not None:
                return found
    return None


def _one_bit_off(texts: list[bytes]) -> Iterator[tuple[bytes, ...]]:
    yield tuple(texts)
    for number, text in enumerate(texts):
        for position in range(8 * len(text)):
            changed = bytearray(text)
            changed[position // 8] ^= 1 << position % 8
            yield (*texts[:number], bytes(changed), *texts[number + 1 :])


def _fits(texts: tuple[bytes, ...], value_type: int, key: bytes) -> Identity | None:
    try:
        name, device_id, tags = (text.decode() for text in texts)
    except UnicodeDecodeError:
        return None
    if key != series_key(name, device_id, tags, is_text=bool(value_type)):
        return None
    found = Identity(name, device_id, tags, bool(value_type))
    return found if canonical_tags(found.pairs()) == tags else None


def _raw(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text
