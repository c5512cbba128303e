"""The series index: one row, and one number, for each (name, device, tags, number or text)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import apsw

from buffer.storage.found import Identity
from common import catalog

ROWS = "SELECT id, metric_name, device_id, tags, value_type, series_key FROM series"
MAX_KNOWN = 20_000  # series kept in memory, about 15 MB; a device has 300, a confused producer any number


class Series(NamedTuple):
    """One series.

    Attributes:
        id: its row.
        name: dotted metric name.
        device_id: label of that name at the server.
        tags: the other labels.
        priority: the catalogue's.
    """

    id: int
    name: str
    device_id: str
    tags: Mapping[str, str]
    priority: int


_Identity = tuple[str, str, tuple[tuple[str, str], ...], bool]


class SeriesIndex:
    """Find or make series; what was seen once is found without SQLite.

    Args:
        connection: where the `series` table is; a new series joins the transaction that is open.
    """

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._by_identity: dict[_Identity, Series] = {}
        self._by_id: dict[int, Series] = {}

    def find(self, name: str, device_id: str, tags: Mapping[str, str], *, is_text: bool) -> Series:
        """Return the series of a sample, making it if it is new."""
        identity = (name, device_id, tuple(sorted(tags.items())), is_text)
        known = self._by_identity.get(identity)
        if known is None:
            if len(self._by_identity) >= MAX_KNOWN:
                self._by_identity.clear()
            known = self._by_identity[identity] = self._look_up(name, device_id, tags, is_text)
        return known

    def by_id(self, series_id: int) -> Series:
        """Return the series of a row."""
        known = self._by_id.get(series_id)
        if known is None:
            if len(self._by_id) >= MAX_KNOWN:
                self._by_id.clear()
            known = self._by_id[series_id] = self._read(series_id)
        return known

    def known(self) -> dict[int, Identity]:
        """Return what is known without SQLite, by row."""
        found = [(series, False) for series in self._by_id.values()]  # asked for by the drain: numbers
        found += [(series, identity[3]) for identity, series in self._by_identity.items()]
        return {
            series.id: Identity(series.name, series.device_id, canonical_tags(series.tags), is_text)
            for series, is_text in found
        }

    def forget(self) -> None:
        """Forget what was seen: a transaction that made series was rolled back."""
        self._by_identity.clear()
        self._by_id.clear()

    def _read(self, series_id: int) -> Series:
        """Read a series by its row.

        Raises:
            apsw.CorruptError: it is not there, or its key does not prove it: its samples would go out as another's.
        """
        try:
            row: Any = self._connection.execute(f"{ROWS} WHERE id = ?", (series_id,)).fetchall()[0]
            if is_proven(row):
                _, name, device_id, tags, *_ = row
                return Series(series_id, name, device_id, json.loads(tags), catalog.find(name).priority)
        except (IndexError, ValueError):
            pass  # not there, or not even text
        raise apsw.CorruptError(f"series {series_id} is damaged")

    def _look_up(self, name: str, device_id: str, tags: Mapping[str, str], is_text: bool) -> Series:
        canonical = canonical_tags(tags)
        key = series_key(name, device_id, canonical, is_text=is_text)
        row = self._connection.execute("SELECT id FROM series WHERE series_key = ?", (key,)).fetchone()
        if row is None:
            self._connection.execute(
                "INSERT INTO series (metric_name, device_id, tags, value_type, series_key) VALUES (?, ?, ?, ?, ?)",
                (name, device_id, canonical, int(is_text), key),
            )
            row = (self._connection.last_insert_rowid(),)
        return Series(row[0], name, device_id, dict(tags), catalog.find(name).priority)


def canonical_tags(tags: Mapping[str, str]) -> str:
    """Return tags as minified JSON with sorted keys: equal tags give equal text, and no other tags do."""
    return json.dumps(dict(tags), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def is_proven(row: tuple[Any, ...]) -> bool:
    """Return whether the key of a row of `ROWS` is the hash of its other columns."""
    _, *texts, value_type, key = row
    if value_type not in {0, 1} or not all(isinstance(text, str) for text in texts):
        return False
    name, device_id, tags = texts
    return bool(key == series_key(name, device_id, tags, is_text=value_type == 1))


def series_key(name: str, device_id: str, canonical: str, *, is_text: bool) -> bytes:
    """Return the sha256 that identifies a series; with a timestamp it is a sample's dedup key."""
    parts = json.dumps([name, device_id, canonical, int(is_text)], ensure_ascii=False)
    return hashlib.sha256(parts.encode("utf-8", "surrogatepass")).digest()
