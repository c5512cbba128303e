"""The folder `archive` beside the database: which files are in it, how much they take, which one is oldest.

`archive/<YYYY-MM-DD>/metrics-<hh>.db.gz` and `events-<hh>.log.gz`, named after the start of their span in
UTC. Files of any other name are not ours: they are not counted and not deleted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

_NAME = re.compile(r"(?:metrics-(\d\d)\.db|events-(\d\d)\.log)(?:\.gz)?(?:\.tmp)?(?:-journal)?")


class ArchivedFile(NamedTuple):
    """One file of the archive.

    Attributes:
        start_ms: where its span starts, Unix milliseconds.
        path: the file.
        size_bytes: what it takes.
    """

    start_ms: int
    path: Path
    size_bytes: int

    @property
    def is_finished(self) -> bool:
        """Tell whether it has its final name."""
        return self.path.suffix == ".gz"


class ArchiveFolder:
    """The archive's folder; it need not exist.

    Attributes:
        path: where it is.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def file(self, kind: str, start_ms: int) -> Path:
        """Return the final path of a span's file; kind is ``metrics-{}.db.gz`` or ``events-{}.log.gz``."""
        start = datetime.fromtimestamp(start_ms / 1000, tz=timezone.utc)
        return self.path / f"{start:%Y-%m-%d}" / kind.format(f"{start:%H}")

    def files(self) -> list[ArchivedFile]:
        """Return all files, finished or not, oldest span first."""
        return sorted(self._walk())

    def size_bytes(self) -> int:
        """Return what all files take together."""
        return sum(file.size_bytes for file in self._walk())

    def drop(self, file: ArchivedFile) -> None:
        """Delete a file, and its folder if it was the last in it."""
        file.path.unlink(missing_ok=True)
        try:
            file.path.parent.rmdir()
        except OSError:
            pass  # something else is in it

    def _walk(self) -> Iterator[ArchivedFile]:
        for day in _names(self.path):
            for name in _names(self.path / day):
                match = _NAME.fullmatch(name)
                start_ms = None if match is None else _start_ms(day, match[1] or match[2])
                if start_ms is not None:
                    path = self.path / day / name
                    yield ArchivedFile(start_ms, path, path.stat().st_size)


def _names(folder: Path) -> list[str]:
    try:
        return [entry.name for entry in folder.iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _start_ms(day: str, hour: str) -> int | None:
    try:
        start = datetime.strptime(f"{day} {hour} +0000", "%Y-%m-%d %H %z")
    except ValueError:
        return None
    return int(start.timestamp() * 1000)
