"""What the tasks that give up or write old samples have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from buffer.retention.archive_folder import ArchiveFolder
from buffer.storage.store import Store
from common import settings
from common.instruments import Instruments
from common.log import Log


class Context(NamedTuple):
    """What a task works on, and where it says so.

    Attributes:
        store: the database.
        folder: the archive.
        config: returns the section in force.
        instruments, log: take what was done.
    """

    store: Store
    folder: ArchiveFolder
    config: Callable[[], settings.Storage]
    instruments: Instruments
    log: Log
