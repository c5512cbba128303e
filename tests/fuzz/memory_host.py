"""A machine in memory whose files can be changed byte by byte, fast enough for a hundred thousand readings of a source.

What `Host` does with real files is tested in `test_host.py`; here it is what the sources make of their content.
"""

from __future__ import annotations

import os
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from collectors.host import Host

SIZES = (0, 1, 512, 4096, 2**31, 2**63, 2**64 - 1)


class Tree(NamedTuple):
    """What a recorded tree holds, by path: contents, where links lead, and the names in each folder."""

    files: Mapping[str, bytes]
    links: Mapping[str, str]
    folders: Mapping[str, list[str]]


NOTHING = Tree({}, {}, {})


@dataclass
class MemoryHost(Host):
    """A host whose files are in memory.

    Attributes:
        tree: as recorded.
        files: what stands in its files now, by path.
        asked: the files of the tree that were read so far.
    """

    tree: Tree = NOTHING
    files: dict[str, bytes] = field(default_factory=dict)
    asked: set[str] = field(default_factory=set)

    def text(self, path: str) -> str | None:
        """Return a file's content as the real one does."""
        path = path.lstrip("/")
        content = self.files.get(path)
        if content is None:
            self.absent.add(path)
            return None
        self.asked.add(path)
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
        return list(self.tree.folders.get(directory.strip("/"), ()))

    def exists(self, path: str) -> bool:
        """Tell whether a path is there."""
        return path.strip("/") in self.files or path.strip("/") in self.tree.folders

    def age_s(self, path: str) -> float | None:
        """Return that every file was just written."""
        return 0.0 if path.lstrip("/") in self.files else None

    def link(self, path: str) -> str:
        """Return where a link leads."""
        return self.tree.links.get(path, "")

    def file_system(self, mountpoint: str) -> os.statvfs_result | None:
        """Return a file system of odd sizes."""
        chance = random.Random(mountpoint)
        return os.statvfs_result([chance.choice(SIZES) for _ in range(10)])


def load(root: Path) -> MemoryHost:
    """Return a recorded tree in memory."""
    tree = _read(root)
    return MemoryHost(root, tree=tree, files=dict(tree.files))


@cache
def _read(root: Path) -> Tree:
    """Read a recorded tree; links to directories are followed, as the kernel's are."""
    tree = Tree(files := {}, links := {}, folders := {})
    for folder, inner, names in os.walk(root, followlinks=True):
        folders[_key(Path(folder), root)] = sorted([*inner, *names])
        for path in (Path(folder, name) for name in (*inner, *names)):
            key = _key(path, root)
            if path.is_symlink():
                links[key] = str(path.readlink())
            if path.is_file() and not key.startswith("expected/"):
                files[key] = path.read_bytes()
    return tree


def _key(path: Path, root: Path) -> str:
    return PurePosixPath(path.relative_to(root)).as_posix()
