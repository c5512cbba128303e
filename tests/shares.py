"""Run unit tests in several processes, each with its share of the files: `python -m tests.shares 2 tests/unit`.

Most unit tests take less than it costs to hand them out one by one, and to have each process collect all of them, as
pytest-xdist does. Options behind the folder are pytest's; ``{share}`` in them is the number of the share, from 1.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path

from tests.scratch import MEMORY, scratch

SHARE = "TESTS_SHARE"  # "1/2 tests/unit": which share of how many, of which folder


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave out the files of other shares: a hook of pytest."""
    if not collection_path.name.startswith("test_"):
        return None
    number, folder = os.environ[SHARE].split(" ", 1)
    first, count = map(int, number.split("/"))
    return None if collection_path in share(Path(folder), first, count) else True


def pytest_collection_finish() -> None:
    """Spare the garbage collector what stays to the end: all tests and what they have imported; a hook of pytest."""
    gc.collect()
    gc.freeze()


def share(folder: Path, number: int, count: int) -> set[Path]:
    """Return the test files of a share: each has as many, and as large ones."""
    files = sorted(folder.resolve().rglob("test_*.py"), key=lambda file: (file.stat().st_size, file))
    return set(files[number - 1 :: count])


def main(count: int, folder: str, options: list[str]) -> int:
    """Run all shares at once, print what each one printed, the first one's at once; return the worst exit code.

    What they write is in memory: no test is about the disk that it is on.
    """
    with scratch(MEMORY if MEMORY.is_dir() else Path("/tmp")) as place:
        running = [_start(number, f"{number}/{count} {folder}", options, place) for number in range(1, count + 1)]
        codes = [process.wait() for process in running]
        for output in sorted(place.glob("*.out")):
            print(output.read_text(encoding="utf-8", errors="replace"), end="", flush=True)
    return max(map(abs, codes))


def _start(number: int, own: str, options: list[str], place: Path) -> subprocess.Popen[bytes]:
    folder = own.partition(" ")[2]
    command = [sys.executable, "-m", "pytest", "-p", "tests.shares", "-p", "no:cacheprovider", folder]
    command += [option.format(share=number) for option in options]
    environment = {**os.environ, "PYTEST_DEBUG_TEMPROOT": str(place), SHARE: own}
    if number == 1:
        return subprocess.Popen(command, env=environment)
    with (place / f"{number}.out").open("wb") as output:
        return subprocess.Popen(command, env=environment, stdout=output, stderr=output)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2], sys.argv[3:]))
