"""Which collectors and sources there are: a folder here is a collector, a module in it with a `Config` is a source.

Found by reading the files, not by importing them. What a source is made of stands beside it, in modules without a
`Config`; what several collectors read stands in this folder.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
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


def collectors() -> dict[str, list[str]]:
    """Return the names of each collector's sources, both sorted."""
    folders = _folders()
    return {name: [source for source in folders if folders[source] == name] for name in sorted({*folders.values()})}


def sources_of(name: str) -> list[str]:
    """Return the sources of a collector, or the one source of that name.

    Raises:
        ModuleNotFoundError: there is neither.
    """
    found = collectors().get(name) or ([name] if name in _folders() else [])
    if not found:
        raise ModuleNotFoundError(f"no collector and no source {name!r}")
    return found


def load(name: str) -> ModuleType:
    """Import one source.

    Raises:
        ModuleNotFoundError: there is none of that name.
    """
    collector = _folders().get(name)
    if collector is None:
        raise ModuleNotFoundError(f"no source {name!r}")
    return importlib.import_module(f"collectors.{collector}.{name}")


def sections(own: Iterable[str] | None = None) -> dict[str, type[Any] | None]:
    """Return the `Config` of every source by name; with `own`, only of those, the others as None."""
    wanted = names() if own is None else list(own)
    return {name: load(name).Config if name in wanted else None for name in names()}
