"""Upkeep of a database in a process of its own, for tests that kill it: steps until nothing is left to do."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from buffer.store import Store
from buffer.upkeep.archive import Archive, Space
from buffer.upkeep.retention import Retention
from buffer.upkeep.sacrifice import Sacrifice
from buffer.upkeep.shelf import Shelf
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
    store, shelf, instruments, log = (
        Store(config, "d"),
        Shelf(options.database.parent / "archive"),
        Instruments(),
        Log("t"),
    )
    sacrifice = Sacrifice(store, shelf, lambda: config, instruments, log, lambda _: None)
    archive = Archive(store.connection, shelf, lambda: config, instruments, log, Space(lambda: None, lambda: 0))
    retention = Retention(store.connection, lambda: config.retention, instruments)
    print("stepping", flush=True)
    for task in (sacrifice, archive, retention):
        task.pace.rows = options.rows
        while task.step(options.now_ms):
            pass
    store.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
