"""Upkeep of a database in a process of its own, for tests that kill it: steps until nothing is left to do."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from buffer.retention.archive import Archiver, Space
from buffer.retention.archive_folder import ArchiveFolder
from buffer.retention.context import Context
from buffer.retention.retention import RetentionRound
from buffer.retention.size_cap import SizeCap
from buffer.storage.store import Store
from common.instruments import Instruments
from common.log import Log
from common.settings import Storage


def main() -> int:
    """Step through every task in small slices; print a line when the work begins."""
    parser = argparse.ArgumentParser()
    parser.add_argument("database", type=Path)
    parser.add_argument("--now-ms", type=int, required=True)
    parser.add_argument("--max-size", type=int, default=1 << 40)
    parser.add_argument("--rows", type=int, default=50)
    options = parser.parse_args()
    config = replace(Storage(), path=options.database, max_size=options.max_size)
    store, folder, instruments, log = (
        Store(config, "d"),
        ArchiveFolder(options.database.parent / "archive"),
        Instruments(),
        Log("t"),
    )
    context = Context(store, folder, lambda: config, instruments, log)
    size_cap = SizeCap(context, lambda _: None)
    archive = Archiver(context, Space(lambda: None, lambda: 0))
    retention = RetentionRound(store, lambda: config.retention, instruments)
    print("stepping", flush=True)
    for task in (size_cap, archive, retention):
        task.pace.rows = options.rows
        while task.step(options.now_ms):
            pass
    store.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
