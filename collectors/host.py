"""The machine under measurement: its files below a root, so that a recorded tree can stand in for it.

Reads with `os.read`: Python's buffered readers turn a driver's EAGAIN into a TypeError, which would end a whole
collect because of one offline sensor. An absent file is None; a file that exists but cannot be read is None too, and
recorded as a fault.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from common.sample import MAX_INTEGER

READ_BYTES = 64 * 1024
MAX_BYTES = 4 * 1024 * 1024  # no file of /proc or /sys that is read here comes near; more is a fault
BELAUI = "opt/belaUI"  # who owns it starts encoder and sender

# The device or the kernel's feature is not there (any more); everything else is a fault. EOPNOTSUPP is
# what read(2) of /proc/pressure says where pressure accounting is built in and switched off (psi=0).
ABSENT = frozenset({errno.ENOENT, errno.ENODEV, errno.ENXIO, errno.ENOTDIR, errno.EOPNOTSUPP})

Parsed = TypeVar("Parsed")


@dataclass
class Host:
    """Files below a root.

    Attributes:
        root: where /proc and /sys are looked for.
        now_s: monotonic time of the current collect, the same for all of its readings.
        absent: what was looked for and not found in this collect.
        faults: what was found and could not be read in this collect, with the reason.
        notes: a sentence for people about an item, which is no fault; reported once.
        on_read: called with each path before it is read, in case the read hangs.
    """

    root: Path = Path("/")
    now_s: float = 0.0
    absent: set[str] = field(default_factory=set)
    faults: dict[str, str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    on_read: Callable[[str], None] = field(default=lambda _path: None)
    _trusted: frozenset[int] | None = field(default=None, init=False)
    _prefix: str = field(default="", init=False)

    def __post_init__(self) -> None:
        self._prefix = str(self.root).rstrip("/")

    def begin(self, now_s: float | None = None) -> None:
        """Begin a collect: read the clock once, and clear the faults of the last collect."""
        self.now_s = time.monotonic() if now_s is None else now_s
        self.absent = set()
        self.faults = {}
        self.notes = {}
        self._trusted = None

    def text(self, path: str) -> str | None:
        """Return a file's content, or None where it is absent or unreadable.

        Args:
            path: relative to the root, e.g. ``proc/meminfo``.
        """
        try:
            return read(self._below(path)).decode("utf-8", "replace")
        except (OSError, ValueError) as error:
            self._unreadable(path, error)
            return None

    def trusted_text(self, path: str) -> str | None:
        """Return the content of a file where anybody can put one (/tmp), or None where it is absent or not to be read.

        It is read where it is a regular file, no link, and belongs to one of `trusted_users`.

        Args:
            path: relative to the root.
        """
        try:
            return read(self._below(path), self.trusted_users()).decode("utf-8", "replace")
        except (OSError, ValueError) as error:
            self._unreadable(path, error)
            return None

    def tail(self, path: str, max_bytes: int) -> str | None:
        """Return the last lines of a file that grows, whole ones alone; conditions as for `trusted_text`.

        Args:
            path: relative to the root.
            max_bytes: how much of its end is read; a first line that is cut there is left out.
        """
        try:
            content, is_cut = read_end(self._below(path), max_bytes, self.trusted_users())
        except (OSError, ValueError) as error:
            self._unreadable(path, error)
            return None
        text = content.decode("utf-8", "replace")
        return text.partition("\n")[2] if is_cut else text

    def trusted_users(self) -> frozenset[int]:
        """Return the users whose programs and files in /tmp are believed: root, belaUI's, this process' own."""
        if self._trusted is None:  # asked once a collect
            users = {os.geteuid()}
            for path in ("", BELAUI):  # the root itself is root's; a recorded tree is of whoever has it here
                with suppress(OSError):
                    users.add(os.stat(os.path.join(self.root, path)).st_uid)
            self._trusted = frozenset(users)
        return self._trusted

    def parse(self, path: str, parser: Callable[[list[str]], Parsed | None]) -> Parsed | None:
        """Return what a parser makes of a file's lines, or None where that is nothing.

        A last line without its newline was cut, perhaps inside a number, and is not handed over.

        Args:
            path: relative to the root.
            parser: takes the lines without their newlines; returns None for what it does not understand.
        """
        text = self.text(path)
        if text is None:
            return None
        *lines, rest = text.split("\n")
        if rest:
            self.fault(path, "ends inside a line")
        parsed = parser(lines)
        if parsed is None:
            self.faults.setdefault(path, "not understood" if text else "empty")
        return parsed

    def integer(self, path: str) -> int | None:
        """Return the number a file holds, or None where it is absent, unreadable, empty or no number."""
        text = self.text(path)
        if text is None:
            return None
        try:
            value = int(text)
        except ValueError:
            value = None
        if value is None or abs(value) > MAX_INTEGER:
            self.fault(path, f"not a number: {text.strip()[:40]!r}")
            return None
        return value

    def names(self, directory: str) -> list[str]:
        """Return what a directory holds, sorted; nothing where it is absent or unreadable."""
        try:
            return sorted(os.listdir(self._below(directory)))
        except (OSError, ValueError) as error:
            self._unreadable(directory, error)
            return []

    def numbered(self, directory: str, prefix: str) -> list[str]:
        """Return what is called ``<prefix><number>`` in a directory, 2 before 10."""
        numbers = (name.removeprefix(prefix) for name in self.names(directory) if name.startswith(prefix))
        return [f"{prefix}{number}" for number in sorted(filter(str.isdecimal, numbers), key=int)]

    def exists(self, path: str) -> bool:
        """Return whether a path is there."""
        return os.path.exists(self._below(path))

    def age_s(self, path: str) -> float | None:
        """Return how long ago a file was written by the wall clock, None where it is absent or unreadable."""
        try:
            return time.time() - os.stat(self._below(path)).st_mtime
        except (OSError, ValueError) as error:
            self._unreadable(path, error)
            return None

    def link(self, path: str) -> str:
        """Return where a symbolic link leads, "" where there is none."""
        try:
            return os.readlink(self._below(path))
        except (OSError, ValueError):
            return ""

    def file_system(self, mountpoint: str) -> os.statvfs_result | None:
        """Return the size and use of a mounted file system, or None where it cannot be asked.

        A path where nothing is mounted (any more) is absent: it would tell of the file system around it.
        In a recorded tree nothing is mounted; what statvfs(2) said is in its file `statvfs`.
        """
        path = self._below(mountpoint)
        try:
            if os.path.isfile(path):
                self.absent.add(mountpoint)  # a file that is mounted (a container's /etc/hosts) is no file system
                return None
            if os.path.ismount(path):
                return os.statvfs(path)
        except (OSError, ValueError) as error:
            self._unreadable(mountpoint, error)
            return None
        recorded = self._recorded().get(mountpoint)
        if recorded is None:
            self.absent.add(mountpoint)
        return recorded

    def _recorded(self) -> dict[str, os.statvfs_result]:
        """Return what a recorded tree has in its file `statvfs`: the ten numbers of Python's `os.statvfs`, a path."""
        if self.root == Path("/") or not self.exists("statvfs"):
            return {}
        rows = [line.split(maxsplit=10) for line in (self.text("statvfs") or "").splitlines()]
        return {path: os.statvfs_result(map(int, numbers)) for *numbers, path in rows}

    def fault(self, path: str, reason: str) -> None:
        """Note something that is there and cannot be understood; it costs that item only."""
        self.faults[path] = reason

    def note(self, item: str, sentence: str) -> None:
        """Note in a sentence what is not there; it stands for the paths at which that was looked for."""
        self.notes[item] = sentence
        self.absent = set()

    def _below(self, path: str) -> str:
        """Return a path, one from a configuration may begin with a slash, below the root."""
        self.on_read(path)
        return f"{self._prefix}/{path.lstrip('/')}"

    def _unreadable(self, path: str, error: OSError | ValueError) -> None:
        if not isinstance(error, OSError):  # a NUL in a name
            self.fault(path, str(error))
        elif error.errno in ABSENT:
            self.absent.add(path)
        elif error.errno == errno.ELOOP:
            self.fault(path, "is a link, which is not followed here")
        else:
            self.fault(path, error.strerror or str(error))


def read(path: str, owners: Collection[int] = ()) -> bytes:
    """Read a whole file without Python's buffering.

    Args:
        path: of the file.
        owners: where given, it has to be a regular file of one of these users, and no link.

    Raises:
        OSError: with the driver's own errno, EAGAIN included; EFBIG for one longer than `MAX_BYTES`.
    """
    descriptor = _open(path, owners)
    try:
        content = b""
        while piece := os.read(descriptor, READ_BYTES):
            content += piece
            if len(content) > MAX_BYTES:
                raise OSError(errno.EFBIG, f"longer than {MAX_BYTES} bytes")
        return content
    finally:
        os.close(descriptor)


def read_end(path: str, max_bytes: int, owners: Collection[int] = ()) -> tuple[bytes, bool]:
    """Read the end of a file; return it, and whether something was before it.

    Args:
        path: of the file.
        max_bytes: how much.
        owners: as for `read`.

    Raises:
        OSError: it cannot be read.
    """
    descriptor = _open(path, owners)
    try:
        begin = max(0, os.fstat(descriptor).st_size - max_bytes)
        return os.pread(descriptor, max_bytes, begin), begin > 0
    finally:
        os.close(descriptor)


def _open(path: str, owners: Collection[int]) -> int:
    """Open a file for reading; with owners, refuse what is not a regular file of theirs.

    Raises:
        OSError: it cannot be opened, or is refused (ELOOP for a link, EACCES).
    """
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (os.O_NOFOLLOW if owners else 0)
    descriptor = os.open(path, flags)
    status = os.fstat(descriptor)
    if owners and (status.st_uid not in owners or not stat.S_ISREG(status.st_mode)):
        os.close(descriptor)
        kind = "a file" if stat.S_ISREG(status.st_mode) else "no regular file"
        raise OSError(errno.EACCES, f"{kind} of user {status.st_uid}, not read: nobody answers for it")
    return descriptor


def unsigned(text: str) -> int | None:
    """Return the counter that a text holds, or None; no counter of the kernel has more than 20 digits."""
    return int(text) if text.isdecimal() and len(text) <= 20 else None
