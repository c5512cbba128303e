"""Which sources there are: the modules with a `Config` in the folders below this one, a folder for each collector."""

from __future__ import annotations

import importlib
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

FOLDER = Path(__file__).parent


@lru_cache(maxsize=1)
def _folders() -> dict[str, str]:
    """Return the collector of each source, sorted by source, without importing any."""
    files = FOLDER.glob("*/*.py")
    found = {file.stem: file.parent.name for file in files if b"\nclass Config" in file.read_bytes()}
    return dict(sorted(found.items()))


def names() -> list[str]:
    """Return the names of all sources, sorted, without importing any."""
    return list(_folders())


def load(name: str) -> ModuleType:
    """Import one source.

    Raises:
        ModuleNotFoundError: there is none of that name.
    """
    collector = _folders().get(name)
    if collector is None:
        raise ModuleNotFoundError(f"no source {name!r}")
    return importlib.import_module(f"collectors.{collector}.{name}")


def sections(own: str | None = None) -> dict[str, type[Any] | None]:
    """Return the `Config` of every source by name; with `own`, only that one's, the others as None."""
    return {name: load(name).Config if own in (None, name) else None for name in names()}
