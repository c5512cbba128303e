"""Follow the systemd journal; used by the events collector.

Reads: var/log/journal and run/log/journal below a root, through libsystemd, from their end on.
Source: sd-journal(3). The library is on every machine that has a journal; its Python binding has to be compiled there.
Any program can write to the journal and choose its identifier and fields; fields that begin with _ are set by journald
from what the kernel reports. Only those decide which program wrote a line.

Errors: without the library, or without a file that this user may read (group systemd-journal), there is no journal.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from collectors.host import unsigned

MAX_ENTRIES = 1000  # of one look, so that a flood does not keep the others waiting
MAX_FIELD_BYTES = 4096
KERNEL = "kernel"

_LOCAL_ONLY, _SYSTEM, _OS_ROOT = 1 << 0, 1 << 2, 1 << 4  # systemd/sd-journal.h
_FIELDS = ("MESSAGE", "SYSLOG_IDENTIFIER", "_TRANSPORT", "PRIORITY", "_UID")


Matches = tuple[tuple[str, ...], ...]


class JournalError(Exception):
    """The journal cannot be followed."""


class JournalEntry(NamedTuple):
    """One entry.

    Attributes:
        message: its text, cut after `MAX_FIELD_BYTES`.
        identifier: as what it calls itself, e.g. ``mpp``.
        is_kernel: it comes from the kernel.
        level: 0 emergency to 7 debug.
        user: who says it, by his number; -1 where that is not known.
    """

    message: str
    identifier: str
    is_kernel: bool
    level: int
    user: int


class Journal:
    """The journal, open between two looks.

    Args:
        root: ``/``, or a tree that has a journal.
        matches: groups of ``FIELD=value``; an entry is read that has all of any group.

    Raises:
        JournalError: there is no library, or it refuses.
    """

    def __init__(self, root: Path, matches: Matches) -> None:
        self._library = _library()
        self._handle = ctypes.c_void_p()
        if root == Path("/"):
            self._call("sd_journal_open", ctypes.byref(self._handle), _LOCAL_ONLY | _SYSTEM)
        else:
            self._call("sd_journal_open_directory", ctypes.byref(self._handle), str(root).encode(), _OS_ROOT)
        try:
            self._begin(matches)
        except JournalError:
            self.close()
            raise

    def entries(self) -> Iterator[JournalEntry]:
        """Yield the entries since the last call.

        Raises:
            JournalError: it cannot be read on.
        """
        self._call("sd_journal_process", self._handle)
        for _ in range(MAX_ENTRIES):
            if self._call("sd_journal_next", self._handle) == 0:
                return
            message, identifier, transport, level, user = map(self._field, _FIELDS)
            yield JournalEntry(message, identifier, transport == KERNEL, _number(level, 6), _number(user, -1))

    def is_readable(self) -> bool:
        """Return whether there is a file that this user may read."""
        opened_bytes = ctypes.c_uint64()
        self._call("sd_journal_get_usage", self._handle, ctypes.byref(opened_bytes))
        return opened_bytes.value > 0

    def close(self) -> None:
        """Close the journal."""
        self._library.sd_journal_close(self._handle)
        self._handle = ctypes.c_void_p()  # closing nothing is allowed

    def _begin(self, matches: Matches) -> None:
        self._call("sd_journal_set_data_threshold", self._handle, ctypes.c_size_t(MAX_FIELD_BYTES))
        self._call("sd_journal_get_fd", self._handle)  # from here on it notices new files
        for group in matches:
            for data in (match.encode() for match in group):
                self._call("sd_journal_add_match", self._handle, data, ctypes.c_size_t(len(data)))
            self._call("sd_journal_add_disjunction", self._handle)
        self._call("sd_journal_seek_tail", self._handle)
        self._call("sd_journal_previous", self._handle)  # or `next` would give the last entry again

    def _field(self, name: str) -> str:
        data, length = ctypes.c_void_p(), ctypes.c_size_t()
        found = self._library.sd_journal_get_data(self._handle, name.encode(), ctypes.byref(data), ctypes.byref(length))
        if found < 0 or not data.value:
            return ""
        content = ctypes.string_at(data.value, length.value)
        return content[len(name) + 1 :].decode("utf-8", "replace")

    def _call(self, name: str, *arguments: Any) -> int:
        result: int = getattr(self._library, name)(*arguments)
        if result < 0:
            raise JournalError(f"{name}: errno {-result}")
        return result


def _number(text: str, otherwise: int) -> int:
    number = unsigned(text)
    return otherwise if number is None else number


def _library() -> ctypes.CDLL:
    try:
        return ctypes.CDLL("libsystemd.so.0")
    except OSError as error:
        raise JournalError("no libsystemd") from error
