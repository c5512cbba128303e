"""Record in a small file what a process is doing, so that after a hang one can see where it hung.

Writes: RUN_DIR/activity/NAME, by way of a memory map: noting costs no system call.
Fails: if the file cannot be made, nothing is recorded.
"""

from __future__ import annotations

from pathlib import Path

from common import mapped_file

SIZE_BYTES = 256  # longer paths are cut
FOLDER = "activity"


class Activity:
    """The note of one process.

    Args:
        run_dir: below which the file is.
        name: of the process.
    """

    def __init__(self, run_dir: Path, name: str) -> None:
        self._source = b""
        self._map = mapped_file.open_or_none(run_dir / FOLDER / name, bytes(SIZE_BYTES))

    def begin(self, source: str) -> None:
        """Note which source is at work."""
        self._source = source.encode("utf-8", "replace")
        self._write(self._source)

    def reading(self, path: str) -> None:
        """Note what the source reads."""
        self._write(b"%b %b" % (self._source, path.encode("utf-8", "replace")))

    def end(self) -> None:
        """Note that none is at work."""
        self._write(b"")

    def _write(self, text: bytes) -> None:
        if self._map is not None:
            self._map[:] = text[:SIZE_BYTES].ljust(SIZE_BYTES, b"\0")


def noted(run_dir: Path, name: str) -> tuple[str, str]:
    """Return the source that is at work in a process and what it reads, each "" where nothing is noted."""
    try:
        content = (run_dir / FOLDER / name).read_bytes()
    except OSError:
        return "", ""
    source, _, path = content.rstrip(b"\0").decode("utf-8", "replace").partition(" ")
    return source, path
