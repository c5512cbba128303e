"""The folder of sockets, locks and spools, `run.dir`: for one user."""

from __future__ import annotations

import stat
from pathlib import Path

from common.config import ConfigError


def make(directory: Path) -> None:
    """Make it, accessible to this user only: its sockets accept samples from anybody who can open them.

    Raises:
        ConfigError: it cannot be made, or belongs to everybody.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = directory.stat().st_mode
        if mode & stat.S_ISVTX:
            raise ConfigError([f"run.dir: expected a directory of our own, got {str(directory)!r}"])
        if mode & 0o077:
            directory.chmod(0o700)
    except OSError as error:
        raise ConfigError([f"run.dir: {error.strerror}, got {str(directory)!r}"]) from error
