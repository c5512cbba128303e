"""A disk that remembers: every write, truncation and sync of SQLite, and what a power cut would leave of them.

The recorder is an SQLite VFS on top of the real one. Of what was written since a file's last sync, the
disk may have kept any part: each sector of 512 bytes has one of the contents it had since then, whatever
the order, or garbage where it was being written; a file's length follows its truncations in their order, as
on a journalling file system. That a write leaves bytes alone which it does not write is SQLite's assumption
too (powersafe overwrite).
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import apsw

SECTOR = 512
GARBAGE = 0.01  # share of sectors that the cut caught half written


class Event(NamedTuple):
    """Something that happened to a file.

    Attributes:
        kind: open, write, truncate, sync or delete.
        name: of the file.
        offset: of a write; the new length for truncate; 1 where a deletion is on the disk at once.
        content: of a write.
    """

    kind: str
    name: str
    offset: int = 0
    content: bytes = b""


class _File(apsw.VFSFile):
    def __init__(self, recorder: Recorder, name: Any, flags: list[int]) -> None:
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        self._recorder = recorder
        self.name = Path(path or "temporary").name
        super().__init__("unix", name, flags)

    def xWrite(self, data: Any, offset: int) -> None:  # noqa: N802 - apsw's name
        self._recorder.note(Event("write", self.name, offset, bytes(data)))
        super().xWrite(data, offset)

    def xTruncate(self, size: int) -> None:  # noqa: N802
        self._recorder.note(Event("truncate", self.name, size))
        super().xTruncate(size)

    def xSync(self, _flags: int) -> None:  # noqa: N802
        self._recorder.note(Event("sync", self.name))


class Recorder(apsw.VFS):
    """SQLite's way to the disk, recorded.

    Attributes:
        events: what happened, in order.
    """

    def __init__(self) -> None:
        self.events: list[Event] = []
        super().__init__("recorder", "unix", makedefault=True)

    def note(self, event: Event) -> None:
        """Add what happened."""
        if "-shm" not in event.name and not event.name.startswith("etilqs"):
            self.events.append(event)

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:  # noqa: D102, N802
        file = _File(self, name, flags)
        self.note(Event("open", file.name))
        return file

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: D102, N802
        self.note(Event("delete", Path(filename).name, int(syncdir)))
        super().xDelete(filename, syncdir)

    def fdatasync(self, descriptor: int) -> None:
        """Take the place of `os.fdatasync`."""
        self.note(Event("sync", Path(f"/proc/self/fd/{descriptor}").readlink().name))


@contextmanager
def recording() -> Iterator[Recorder]:
    """Record what SQLite and `os.fdatasync` do in this block; nothing is really synced."""
    recorder = Recorder()
    try:
        with mock.patch.object(os, "fdatasync", recorder.fdatasync):
            yield recorder
    finally:
        recorder.unregister()


@dataclass
class _State:
    """One file: what is on the disk for sure, and what happened since."""

    durable: bytes | None = None
    since: list[Event] = field(default_factory=list)

    def settle(self, events: Sequence[Event], rest: Sequence[Event] = ()) -> None:
        """Have some events on the disk."""
        self.durable = _apply(self.durable, events)
        self.since = list(rest)


class Disk:
    """What a power cut leaves.

    Args:
        files: what was there, on the disk, before the first event.
    """

    def __init__(self, files: dict[str, bytes] | None = None) -> None:
        self._files = {name: _State(content) for name, content in (files or {}).items()}
        self._opened: set[str] = set()

    def follow(self, events: Sequence[Event]) -> None:
        """Let more events happen."""
        for event in events:
            state = self._files.setdefault(event.name, _State())
            if event.kind == "open":
                self._opened.add(event.name)
            elif event.kind == "sync" or (event.kind == "delete" and event.offset):
                state.settle([*state.since, event])
                if event.name in self._opened - {event.name.removesuffix("-wal").removesuffix("-journal")}:
                    self._sync_folder()
                    self._opened.discard(event.name)
            else:
                state.since.append(event)

    def _sync_folder(self) -> None:
        """Have all deletions on the disk: at a journal's or log's first sync SQLite syncs the folder too."""
        for state in self._files.values():
            if any(event.kind == "delete" for event in state.since):
                last = max(n for n, event in enumerate(state.since) if event.kind == "delete")
                state.settle(state.since[: last + 1], state.since[last + 1 :])

    def after_a_cut(self, chance: random.Random | None) -> dict[str, bytes]:
        """Return the files after a cut: of what was not synced nothing, or by chance any part."""
        left = {}
        for name, state in self._files.items():
            content = state.durable if chance is None else _any_part(state, chance)
            if content is not None:
                left[name] = content
        return left


def _apply(content: bytes | None, events: Sequence[Event]) -> bytes | None:
    """Return what is in a file after some events, None when it is not there."""
    data = None if content is None else bytearray(content)
    for event in events:
        if event.kind == "delete":
            data = None
        elif event.kind == "truncate":
            data = (data or bytearray())[: event.offset]
            data.extend(bytes(event.offset - len(data)))
        elif event.kind == "write":
            data = bytearray() if data is None else data
            data.extend(bytes(max(0, event.offset + len(event.content) - len(data))))
            data[event.offset : event.offset + len(event.content)] = event.content
    return None if data is None else bytes(data)


def _any_part(state: _State, chance: random.Random) -> bytes | None:
    """Return one of the many contents a file may have after a cut."""
    kept, ends = state.since, [n for n, event in enumerate(state.since) if event.kind != "write"]
    # Deletions and truncations happen in order; what is written after one that did not happen is not seen.
    stop = chance.choice([*ends, len(kept)])
    first = max((n + 1 for n in ends if n < stop), default=0)
    base = _apply(state.durable, kept[:first])
    writes = kept[first:stop]
    if not writes:
        return base
    versions: dict[int, list[bytes]] = {}
    data = bytearray(base or b"")
    lengths = [len(data)]
    for event in writes:
        end = event.offset + len(event.content)
        data.extend(bytes(max(0, end - len(data))))
        data[event.offset : end] = event.content
        lengths.append(len(data))
        for sector in range(event.offset // SECTOR, (end - 1) // SECTOR + 1):
            content = data[sector * SECTOR : (sector + 1) * SECTOR]
            if chance.random() < GARBAGE:
                written = slice(max(0, event.offset - sector * SECTOR), end - sector * SECTOR)
                content[written] = chance.randbytes(len(content[written]))
            versions.setdefault(sector, []).append(bytes(content))
    return _mixed(base or b"", versions, chance.choice(lengths), chance)


def _mixed(base: bytes, versions: dict[int, list[bytes]], length: int, chance: random.Random) -> bytes:
    likely = chance.choice((0.0, 0.1, 0.5, 0.9, 0.98))  # that a sector was written at all
    result = bytearray(base[:length].ljust(length, b"\0"))
    for sector, contents in versions.items():
        if chance.random() < likely:
            content = contents[-1] if chance.random() < 0.8 else chance.choice(contents)
            result[sector * SECTOR : sector * SECTOR + len(content)] = content
    return bytes(result[:length])
