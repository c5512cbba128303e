"""A producer's unacked batches, in memory and in a spool file.

Batches flow in from the publisher and out by ack. The spool holds the same payloads, appended before
the first send, so that a producer killed with batches in flight resends them at its next start; with
the run directory on a tmpfs this costs no flash. A spool that was deleted is made again with the next batch, one that
could not be written (a full disk) is written as a whole later. Bounded: when full, the oldest batch of the lowest
priority is dropped and returned to be counted.
"""

from __future__ import annotations

import errno
import os
import struct
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

from common import catalog
from common.sample import Sample

Key: TypeAlias = tuple[str, int]

RECORD = struct.Struct("<II")  # length and CRC-32 of the payload that follows
COMPACT_BYTES = 1024 * 1024  # rewrite the spool when this much of it is acked or dropped already


@dataclass
class Entry:
    """One batch waiting for its ack.

    Attributes:
        key: (epoch, seq).
        by_priority: how many of its samples have each priority.
        payload: the encoded batch, byte for byte what is sent and resent.
        sent_s: monotonic time of the last send, or None if it was not sent to this buffer yet.
    """

    key: Key
    by_priority: Counter[int]
    payload: bytes
    sent_s: float | None = None

    @cached_property
    def priority(self) -> int:
        """Return the most important priority among its samples, 0 (critical) where it has none."""
        return min(self.by_priority, default=0)

    @cached_property
    def samples(self) -> int:
        """Return how many samples it holds."""
        return self.by_priority.total()


class Outbox:
    """Unacked batches in order of publication.

    Args:
        spool: the file that outlives the process, or None to keep them in memory alone.
        max_samples: bound on the sum of samples; a single batch may exceed it.

    Attributes:
        unacked: samples, by priority.

    Raises:
        OSError: the spool cannot be opened.
    """

    def __init__(self, spool: Path | None, max_samples: int) -> None:
        self._max_samples = max_samples
        self._entries: dict[Key, Entry] = {}
        self._spool = spool
        self._fd = None if spool is None else os.open(spool, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._spooled_bytes = 0  # whole records; the next one goes here, over what may be torn
        self._is_behind = False  # a batch is in memory alone
        self._unacked_bytes = 0
        self.unacked: Counter[int] = Counter()

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def samples(self) -> int:
        """Return how many samples are unacked."""
        return self.unacked.total()

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
        while self._spooled_bytes + RECORD.size <= len(content):
            length, checksum = RECORD.unpack_from(content, self._spooled_bytes)
            begin = self._spooled_bytes + RECORD.size
            payload = content[begin : begin + length]
            if len(payload) < length or zlib.crc32(payload) != checksum:
                return
            yield payload
            self._spooled_bytes = begin + length

    def restore(self, entries: Iterable[Entry]) -> None:
        """Add the batches that `read_spool` returned; they are in the spool already."""
        for entry in entries:
            if entry.key not in self._entries:
                self._insert(entry)

    def add(self, entry: Entry) -> list[Entry]:
        """Append a batch.

        Returns:
            The batches dropped to make room for it, to be counted as lost.
        """
        self._insert(entry)
        return self._make_room(entry)

    def spool(self, entry: Entry) -> None:
        """Write a batch of the outbox to the spool.

        Raises:
            OSError: the spool cannot be written; the batch is in the outbox all the same.
        """
        if self._fd is None:
            return
        was_behind, self._is_behind = self._is_behind, True
        if not self._is_in_place():
            self._rewrite()
            return
        record = _record(entry)
        _write(self._fd, record, self._spooled_bytes)
        self._spooled_bytes += len(record)
        self._is_behind = was_behind
        self.shrink()

    def respool(self) -> None:
        """Write what could not be written to the spool before, or is gone with it.

        Raises:
            OSError: it still cannot be written.
        """
        if self._fd is not None and (self._is_behind or not self._is_in_place()):
            self._rewrite()

    def ack(self, epoch: str, seqs: Iterable[int]) -> int:
        """Forget committed batches, which stay in the spool until `shrink`; return how many of them were here."""
        return len([self._remove((epoch, seq)) for seq in seqs if (epoch, seq) in self._entries])

    def shrink(self) -> None:
        """Rewrite the spool without acked batches, once they are most or all of it."""
        if self._entries and self._spooled_bytes <= COMPACT_BYTES + 2 * self._unacked_bytes:
            return
        try:
            if self._entries:
                self._rewrite()
            elif self._fd is not None and self._spooled_bytes:
                os.ftruncate(self._fd, 0)
                self._spooled_bytes, self._is_behind = 0, False
        except OSError:
            pass  # a full disk: the old spool has all of it and more, and redelivery is harmless

    def close(self) -> None:
        """Close the spool; what is unacked stays in it."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _insert(self, entry: Entry) -> None:
        self._entries[entry.key] = entry
        self.unacked += entry.by_priority
        self._unacked_bytes += RECORD.size + len(entry.payload)

    def _remove(self, key: Key) -> Entry:
        entry = self._entries.pop(key)
        self.unacked -= entry.by_priority
        self._unacked_bytes -= RECORD.size + len(entry.payload)
        return entry

    def _make_room(self, newest: Entry) -> list[Entry]:
        dropped = []
        while self.samples > self._max_samples and len(self._entries) > 1:
            victim = max(
                (entry for entry in self._entries.values() if entry is not newest),
                key=lambda entry: entry.priority,  # the first of equals: the oldest
            )
            dropped.append(self._remove(victim.key))
        return dropped

    def _rewrite(self) -> None:
        """Replace the spool atomically: after a kill either the old or the new one is there."""
        if self._fd is None or self._spool is None:
            return
        self._spool.parent.mkdir(mode=0o700, exist_ok=True)
        fresh = self._spool.with_suffix(".new")
        content = b"".join(map(_record, self._entries.values()))
        descriptor = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            _write(descriptor, content, 0)
            fresh.replace(self._spool)
        except OSError:
            os.close(descriptor)
            fresh.unlink(missing_ok=True)
            raise
        os.close(self._fd)
        self._fd, self._spooled_bytes = descriptor, len(content)
        self._is_behind = False

    def _is_in_place(self) -> bool:
        """Return whether the open spool still has its name."""
        try:
            return self._fd is not None and os.path.samestat(Path(self._spool or "").stat(), os.fstat(self._fd))
        except FileNotFoundError:
            return False
        except OSError:  # not allowed to look: what is open can be written all the same
            return True


def by_priority(samples: Iterable[Sample]) -> Counter[int]:
    """Count samples by their priority."""
    return Counter(catalog.find(sample.name).priority for sample in samples)


def _record(entry: Entry) -> bytes:
    return RECORD.pack(len(entry.payload), zlib.crc32(entry.payload)) + entry.payload


def _write(descriptor: int, content: bytes, offset: int) -> None:
    if os.pwrite(descriptor, content, offset) < len(content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
