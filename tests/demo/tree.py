"""Files of the played board: each written whole and renamed, so that nobody reads half of one."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from pathlib import Path

MARK = ".played"  # a folder with this file is a play's own and may be replaced


class Tree:
    """A copy of a recorded board, to be written to."""

    def __init__(self, recorded: Path, root: Path, without: Collection[str] = ()) -> None:
        """Copy the recorded board to `root`, some paths left out; an earlier play there is replaced, nothing else.

        Raises:
            OSError: the recorded tree is not there, `root` is somebody else's folder, or the copy does not fit.
        """
        self.root = root
        self._put: dict[str, str] = {}
        if (root / MARK).exists():
            shutil.rmtree(root)
        left_out = {str(recorded / path) for path in without}
        shutil.copytree(
            recorded, root, symlinks=True,
            ignore=lambda folder, names: [name for name in names if str(Path(folder, name)) in left_out],
        )  # fmt: skip
        (root / MARK).touch()

    def read(self, path: str) -> str:
        """Return what a file holds now."""
        return (self.root / path).read_text()

    def put(self, path: str, content: str) -> None:
        """Replace a file, if it is not so already."""
        if self._put.get(path) == content:
            return
        self._put[path] = content
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.with_name(f".{target.name}.new")
        draft.write_text(content)
        draft.replace(target)

    def remove(self, path: str) -> None:
        """Take away a file or a folder; nothing is fine too."""
        self._put = {name: content for name, content in self._put.items() if not f"{name}/".startswith(f"{path}/")}
        target = self.root / path
        if target.is_dir():
            shutil.rmtree(target)
        else:
            target.unlink(missing_ok=True)
