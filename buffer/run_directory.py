"""Check the free space of the run directory, where producers spool unacked batches so that a kill does not lose them.

Reads the file system's free space and the folder `spool`. Without space producers keep their batches in memory only,
and a process that is killed loses its unacked batches.
"""

from __future__ import annotations

from pathlib import Path

from buffer import free_space

LEAST_BYTES = 256 * 1024  # of a tmpfs: a few collects of every producer


def trouble(run_dir: Path) -> str | None:
    """Return why producers cannot spool, None if they can."""
    free, spool = free_space.free_bytes(run_dir / "spool"), run_dir / "spool"
    if not spool.is_dir():
        why = f"{spool} is gone, it is made again with the next samples"
    elif not any(spool.glob("*.batches")):  # the buffer itself has one
        why = f"the files in {spool} are gone, they are made again with the next samples"
    elif free is not None and free < LEAST_BYTES:
        why = f"the file system of {run_dir} is full; free space there"
    else:
        return None
    return f"unacked samples are kept in memory only: {why}"
