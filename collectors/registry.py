"""Which collectors there are: the modules of this folder besides its framework; what they are made of is in `parts`."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path
from types import ModuleType
from typing import Any

FOLDER = Path(__file__).parent
FRAMEWORK = frozenset({"__main__", "host", "registry", "stage"})


def names() -> list[str]:
    """Return the names of all collectors, sorted, without importing any."""
    modules = (module.name for module in pkgutil.iter_modules([str(FOLDER)]) if not module.ispkg)
    return sorted(name for name in modules if name not in FRAMEWORK)


def load(name: str) -> ModuleType:
    """Import one collector.

    Raises:
        ModuleNotFoundError: there is none of that name.
    """
    return importlib.import_module(f"collectors.{name}")


def sections(own: str | None = None) -> dict[str, type[Any] | None]:
    """Return the `Config` of every collector by name; with `own`, only that one's, the others as None."""
    return {name: load(name).Config if own in (None, name) else None for name in names()}
