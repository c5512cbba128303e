"""The way to an open database: lock, file, and patience where its place cannot be used at the moment.

A full or read-only disk, a lost permission, a device that does not answer: the buffer starts all the same,
reports it as paused and tries again. Producers keep what they have, for nobody subscribes to it yet.
"""

from __future__ import annotations

import errno
import math
from collections.abc import Callable

import apsw

from buffer.damage import checkup
from buffer.store import Store
from common import lock
from common.config import ConfigError
from common.service import Service

RETRY_S = 1.0

# What may pass by itself or by somebody's doing; anything else is a path that cannot be right.
_PASSING = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EIO}


class Opening:
    """Open the database as soon as that is possible.

    Args:
        process: whose loop, log and facts these are.
        opened: gets the store.

    Raises:
        AlreadyRunning: another buffer has the database.
        ConfigError: there cannot be a database at that path.
    """

    def __init__(self, process: Service, opened: Callable[[Store], None]) -> None:
        self._process = process
        self._opened = opened
        self._locked = False
        self._path = process.config.settings.storage.path
        process.facts.update(kind="buffer", path=str(self._path), paused=None)
        if not self._attempt():
            self._timer = process.loop.every(RETRY_S, self._again, first_s=RETRY_S)

    def _again(self) -> None:
        if self._attempt():
            self._timer.postpone(math.inf)
            self._process.worked()
            self._process.log.info("the database is open", path=str(self._path))

    def _attempt(self) -> bool:
        try:
            self._hold()
            store = checkup.open_store(self._process)
        except OSError as error:
            if error.errno not in _PASSING:
                raise ConfigError([f"storage.path: {error.strerror}, got {str(self._path)!r}"]) from error
            self._wait(error)
            return False
        except apsw.Error as error:
            if self._path.is_dir():
                raise ConfigError([f"storage.path: {error}, got {str(self._path)!r}"]) from error
            self._wait(error)
            return False
        self._process.facts["paused"] = None
        self._opened(store)
        return True

    def _hold(self) -> None:
        """Take the place; it is kept for the life of this process."""
        if not self._locked:
            self._path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            lock.hold(self._path.with_name(self._path.name + ".lock"), f"the database {self._path}")
            self._locked = True

    def _wait(self, error: OSError | apsw.Error) -> None:
        self._process.failed(error, path=str(self._path))
        self._process.facts["paused"] = str(error)
