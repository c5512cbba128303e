"""A consistent copy of the database while everything runs: SQLite's own backup, one snapshot.

`cp metrics.db` is not a complete copy: for up to an hour most new rows are only in `metrics.db-wal`. The copy is one
snapshot of the database; the buffer continues to write. Its WAL cannot shrink until the copy is done.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from common import config
from deploy.command.place import (
    EXIT_CONFIG,
    EXIT_NO_PERMISSION,
    EXIT_UNAVAILABLE,
    EXIT_USAGE,
    CommandError,
    PipelinePlace,
)

BUSY_S = 10.0


def backup(place: PipelinePlace, options: argparse.Namespace) -> int:
    """Copy the database into a file that is not there yet, check the copy, and say what is in it."""
    if not options.file:
        raise CommandError(EXIT_USAGE, "expected the name of a file, got ''")
    source, target = database(place), Path(options.file)
    if target.is_dir():
        target /= f"{source.stem}-backup.db"
    if target.exists():
        raise CommandError(EXIT_USAGE, f"{target} is there already; name a file that is not")
    if not source.exists():
        raise CommandError(EXIT_UNAVAILABLE, f"no database at {source}")
    part = target.with_name(f"{target.name}.part")
    try:
        samples = _copy(source, part)
        part.rename(target)
    except (sqlite3.Error, OSError) as error:
        with suppress(OSError):
            part.unlink()
        hint = "" if os.access(source, os.R_OK) else f"; try {place.prefix}belabox-metrics backup {target}"
        raise CommandError(EXIT_NO_PERMISSION, f"cannot copy {source} to {target}: {error}{hint}") from error
    print(f"{target}: {samples} samples, {target.stat().st_size / 1e6:.1f} MB, checked")
    return 0


def database(place: PipelinePlace) -> Path:
    """Return the path of the database.

    Raises:
        CommandError: the configuration cannot be used.
    """
    try:
        return config.load(place.config, os.environ).settings.storage.path
    except config.ConfigError as error:
        raise CommandError(EXIT_CONFIG, "\n".join(error.messages)) from error


def _copy(source: Path, part: Path) -> int:
    """Copy one database into a fresh file of mode 0600; return how many samples it holds."""
    part.unlink(missing_ok=True)
    os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    origin = sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_S)
    with closing(origin), closing(sqlite3.connect(part)) as copy:
        origin.backup(copy)  # all pages in one step: a copy in several would begin again with each commit
        copy.execute("PRAGMA journal_mode = DELETE")  # one file, whoever opens it
        found = copy.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise sqlite3.DatabaseError(f"the copy is damaged: {found}")
        samples: int = copy.execute("SELECT count(*) FROM metrics").fetchone()[0]
    return samples
