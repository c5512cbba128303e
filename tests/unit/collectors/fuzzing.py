"""A machine in memory whose files can be changed byte by byte, fast enough for a hundred thousand readings of a source.

What `Host` does with real files is fuzzed in `test_anything.py`; here it is what the sources make of their content.
"""

from __future__ import annotations

import os
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path, PurePosixPath

from collectors.host import Host

# What drivers, programs and people write, what looks like it, and what no number may become.
ODD = [
    *(b"0", b"1", b"-1", b"42", b"2147483647", b"-2147483648", b"4294967295", b"9223372036854775807", b"9" * 20),
    *(b"18446744073709551615", b"9" * 400, b"-" + b"9" * 400, b"0.00", b"3.14", b"1e999", b"nan", b"-inf", b"0x10"),
    *(b"1_000", "\u0663".encode(), "\u00b2".encode(), b"", b"\0", b"\x85", b"\xe2\x80\xa8", b"\xff\xfe"),
    *(b"\xed\xa0\x80", b"a" * 5000),
    *(b"{", b"}", b"[" * 200, b'"', b"null", b"true", b"Infinity", b"\\ud800", b"</a>", b"&#x110000;", b"&amp;", b":"),
    *(b"|", b"(sd-pam)", b"eth0:1", b"/", b"../..", b"\x1b]0;x\x07", b"closed", b"RUNNING", b"XRUN", b"-274000"),
    *(b"3892313987", b"126000000", b"<unknown>", b"LTE", b"19", b"\n", b"\r\n", b" ", b"\t"),
]  # fmt: skip
_WORDS = re.compile(rb"([\s:=,\"{}\[\]<>|]+)")


@dataclass
class MemoryHost(Host):
    """A host whose files are in memory.

    Attributes:
        files: content by path.
        links: where symbolic links lead, by path.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)

    def text(self, path: str) -> str | None:
        """Return a file's content as the real one does."""
        content = self.files.get(path.lstrip("/"))
        if content is None:
            self.absent.add(path)
            return None
        return content.decode("utf-8", "replace")

    def trusted_text(self, path: str) -> str | None:
        """Return a file's content; all of them are trusted."""
        return self.text(path)

    def tail(self, path: str, max_bytes: int) -> str | None:
        """Return the end of a file."""
        text = self.text(path)
        return None if text is None else text[-max_bytes:]

    def names(self, directory: str) -> list[str]:
        """Return what a directory holds."""
        prefix = f"{directory.strip('/')}/"
        paths = (*self.files, *self.links)
        return sorted({path[len(prefix) :].partition("/")[0] for path in paths if path.startswith(prefix)})

    def exists(self, path: str) -> bool:
        """Tell whether a path is there."""
        return path in self.files or bool(self.names(path))

    def age_s(self, path: str) -> float | None:
        """Return that every file was just written."""
        return 0.0 if path in self.files else None

    def link(self, path: str) -> str:
        """Return where a link leads."""
        return self.links.get(path, "")

    def file_system(self, mountpoint: str) -> os.statvfs_result | None:
        """Return a file system of odd sizes."""
        seed = random.Random(mountpoint)
        return os.statvfs_result([seed.choice((0, 1, 512, 4096, 2**31, 2**63, 2**64 - 1)) for _ in range(10)])


def load(root: Path) -> MemoryHost:
    """Return a recorded tree in memory."""
    files, links = _read(root)
    return MemoryHost(root, files=dict(files), links=links)


@cache
def _read(root: Path) -> tuple[dict[str, bytes], dict[str, str]]:
    """Read a recorded tree; links to directories are followed, as the kernel's are."""
    files, links = {}, {}
    for folder, folders, names in os.walk(root, followlinks=True):
        for name in (*folders, *names):
            path = Path(folder, name)
            key = PurePosixPath(path.relative_to(root)).as_posix()
            if path.is_symlink():
                links[key] = str(path.readlink())
            if path.is_file() and not key.startswith("expected/"):
                files[key] = path.read_bytes()
    return files, links


def mutated(content: bytes, chance: random.Random) -> bytes:
    """Return what a file may hold instead: words, lines or bytes exchanged, cut, doubled, left out, or anything."""
    kind = chance.randrange(8)
    if kind == 0:
        return content[: chance.randint(0, len(content))]
    if kind == 1:
        return chance.randbytes(chance.randint(0, 200))
    if kind == 2:
        return chance.choice(ODD) + chance.choice((b"", b"\n"))
    if kind == 3:
        lines = content.splitlines(keepends=True)
        chance.shuffle(lines)
        return b"".join(lines[: chance.randint(0, len(lines))] * chance.randint(1, 3))
    if kind == 4 and content:
        at = chance.randrange(len(content))
        return content[:at] + chance.randbytes(chance.randint(1, 4)) + content[at + chance.randint(0, 4) :]
    words = _WORDS.split(content)
    for _ in range(chance.randint(1, 6)):
        words[chance.randrange(len(words))] = chance.choice(ODD)
    return b"".join(words)
