"""Small trees for a trap that no recorded host has, and collects from them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from collectors.host import Host

Values = dict[tuple[str, str], Any]


def write(root: Path, files: Mapping[str, str]) -> Host:
    """Write files below a root; return the host they make."""
    for path, content in files.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content, encoding="utf-8")
    return Host(root)


def failing(number: int) -> Callable[..., bytes]:
    """Return a `collectors.host.read` that fails with an errno."""

    def read(*_: object) -> bytes:
        raise OSError(number, os.strerror(number))

    return read


class Collector:
    """A collector with its state, collected from a host at given times."""

    def __init__(self, module: ModuleType, host: Host, **config: Any) -> None:
        self._module, self.host = module, host
        self._config, self._state = module.Config(**config), module.State()

    def at(self, now_s: float) -> Values:
        """Collect; return the values by metric and the value of its only label ("" without one)."""
        self.host.begin(now_s)
        samples = self._module.collect(self.host, self._config, self._state)
        return {(sample.name, "/".join(sample.tags.values())): sample.value for sample in samples}
