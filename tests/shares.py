"""Run short tests in several processes, each with its share of the files: `python -m tests.shares 2 tests/unit`.

Most of them take less than it costs to hand them out one by one, and to have each process collect all of them, as
pytest-xdist does. Options behind the folders are pytest's; ``{share}`` in them is the number of the share, from 1.
"""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path

from tests.scratch import MEMORY, scratch

ROOM_BYTES = 1 << 30
SHARE = "TESTS_SHARE"  # "1/2 tests/unit tests/fuzz": which share of how many, of which folders


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave out the files of other shares: a hook of pytest."""
    if not collection_path.name.startswith("test_"):
        return None
    own, *folders = os.environ[SHARE].split()
    number, count = map(int, own.split("/"))
    return None if collection_path in share(folders, number, count) else True


def pytest_collection_finish() -> None:
    """Spare the garbage collector what stays to the end: all tests and what they have imported; a hook of pytest."""
    gc.collect()
    gc.freeze()


def share(folders: Sequence[str], number: int, count: int) -> set[Path]:
    """Return the test files of a share: each has as many, and as large ones."""
    files = [file for folder in folders for file in Path(folder).resolve().rglob("test_*.py")]
    return set(sorted(files, key=lambda file: (file.stat().st_size, file))[number - 1 :: count])


def main(count: int, arguments: Sequence[str]) -> int:
    """Run all shares at once, print what each one printed, the first one's at once; return the worst exit code.

    What they write is in memory: no test is about the disk that it is on.
    """
    with scratch(MEMORY if _has_room(MEMORY) else Path("/tmp")) as place:
        running = [_start(number, count, arguments, place) for number in range(1, count + 1)]
        codes = [process.wait() for process in running]
        for output in sorted(place.glob("*.out")):
            print(output.read_text(encoding="utf-8", errors="replace"), end="", flush=True)
    return max(map(abs, codes))


def _has_room(place: Path) -> bool:
    """Return whether all that the tests write fits: in a container, /dev/shm often has 64 MB."""
    return place.is_dir() and shutil.disk_usage(place).free >= ROOM_BYTES


def _start(number: int, count: int, arguments: Sequence[str], place: Path) -> subprocess.Popen[bytes]:
    folders = takewhile(lambda argument: not argument.startswith("-"), arguments)
    own = {"PYTEST_DEBUG_TEMPROOT": str(place), SHARE: " ".join([f"{number}/{count}", *folders])}
    command = [sys.executable, "-m", "pytest", "-p", "tests.shares", "-p", "no:cacheprovider"]
    command += [argument.replace("{share}", str(number)) for argument in arguments]
    if number == 1:
        return subprocess.Popen(command, env={**os.environ, **own})
    with (place / f"{number}.out").open("wb") as output:
        return subprocess.Popen(command, env={**os.environ, **own}, stdout=output, stderr=output)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
