"""The batches a producer has published and nobody has acked yet, in memory and in a spool file.

Batches flow in from the publisher and out by ack. The spool holds the same payloads, appended before
the first send, so that a producer killed with batches in flight resends them at its next start; with
the run directory on a tmpfs this costs no flash. Bounded: when full, the oldest batch of the lowest
priority is dropped and returned to be counted.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

Key: TypeAlias = tuple[str, int]

RECORD = struct.Struct("<II")  # length and CRC-32 of the payload that follows
COMPACT_BYTES = 1024 * 1024  # rewrite the spool when this much of it is acked already


@dataclass
class Entry:
    """One batch waiting for its ack.

    Attributes:
        key: (epoch, seq).
        priority: the most important priority among its samples.
        samples: how many samples it holds.
        payload: the encoded batch, byte for byte what is sent and resent.
        sent_s: monotonic time of the last send, or None if it was not sent to this buffer yet.
    """

    key: Key
    priority: int
    samples: int
    payload: bytes
    sent_s: float | None = None


class Window:
    """Unacked batches in order of publication.

    Args:
        spool: the file that outlives the process, or None to keep them in memory alone.
        max_samples: bound on the sum of samples; a single batch may exceed it.
    """

    def __init__(self, spool: Path | None, max_samples: int) -> None:
        self._max_samples = max_samples
        self._entries: dict[Key, Entry] = {}
        self._fd = None if spool is None else os.open(spool, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        self._spooled_bytes = 0
        self.samples = 0

    def __len__(self) -> int:
        return len(self._entries)

    def entries(self) -> list[Entry]:
        """Return what is unacked, oldest first."""
        return list(self._entries.values())

    def get(self, key: Key) -> Entry | None:
        """Return an unacked batch, or None once it is acked or dropped."""
        return self._entries.get(key)

    def read_spool(self) -> Iterator[bytes]:
        """Yield the payloads an earlier process left behind, up to the first torn record."""
        if self._fd is None:
            return
        content = os.pread(self._fd, os.fstat(self._fd).st_size, 0)
        offset = 0
        while offset + RECORD.size <= len(content):
            length, checksum = RECORD.unpack_from(content, offset)
            payload = content[offset + RECORD.size : offset + RECORD.size + length]
            if len(payload) < length or zlib.crc32(payload) != checksum:
                return
            yield payload
            offset += RECORD.size + length

    def restore(self, entries: Iterable[Entry]) -> None:
        """Take over what `read_spool` gave, and write the spool anew without what was torn."""
        for entry in entries:
            self._insert(entry)
        self._rewrite()

    def add(self, entry: Entry) -> list[Entry]:
        """Append a batch.

        Returns:
            The batches dropped to make room for it, to be counted as lost.

        Raises:
            OSError: the spool cannot be written; the batch is in the window all the same.
        """
        self._insert(entry)
        dropped = self._make_room(entry)
        self._append(entry)
        return dropped

    def ack(self, epoch: str, seqs: Iterable[int]) -> int:
        """Forget committed batches; return how many of them were here."""
        acked = 0
        for seq in seqs:
            entry = self._entries.pop((epoch, seq), None)
            if entry is not None:
                self.samples -= entry.samples
                acked += 1
        if acked:
            self._shrink()
        return acked

    def close(self) -> None:
        """Close the spool; what is unacked stays in it."""
        if self._fd is not None:
            os.close(self._fd)

    def _insert(self, entry: Entry) -> None:
        self._entries[entry.key] = entry
        self.samples += entry.samples

    def _make_room(self, newest: Entry) -> list[Entry]:
        dropped = []
        while self.samples > self._max_samples and len(self._entries) > 1:
            victim = max(
                (entry for entry in self._entries.values() if entry is not newest),
                key=lambda entry: entry.priority,  # the first of equals: the oldest
            )
            del self._entries[victim.key]
            self.samples -= victim.samples
            dropped.append(victim)
        return dropped

    def _append(self, entry: Entry) -> None:
        if self._fd is None:
            return
        record = RECORD.pack(len(entry.payload), zlib.crc32(entry.payload)) + entry.payload
        os.write(self._fd, record)
        self._spooled_bytes += len(record)

    def _shrink(self) -> None:
        if not self._entries:
            self._truncate()
        elif self._spooled_bytes > COMPACT_BYTES + 2 * sum(len(e.payload) for e in self._entries.values()):
            self._rewrite()

    def _rewrite(self) -> None:
        self._truncate()
        for entry in self._entries.values():
            self._append(entry)

    def _truncate(self) -> None:
        if self._fd is not None:
            os.ftruncate(self._fd, 0)
            self._spooled_bytes = 0
