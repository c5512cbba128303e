"""Run short tests in several processes, each of which takes file after file: `python -m tests.shares 2 tests/unit`.

Most of them take less than it costs to hand them out one by one, and to have each process import all of them, as
pytest-xdist does: here a file is imported by the one process that runs it. Options behind the folders are pytest's;
``{share}`` in them is the number of the process, from 1.
"""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, pairwise
from pathlib import Path
from typing import TypeVar

import pytest

from tests.scratch import MEMORY, scratch

ROOM_BYTES = 1 << 30
# Nobody knows how many tests there are, so the output tells no percentage.
OPTIONS = ("-p", "no:cacheprovider", "-p", "no:xdist", "-o", "console_output_style=classic")
CLAIMS = "TESTS_CLAIMS"  # the folder in which a process claims a file
FILES = pytest.StashKey[list[pytest.File]]()
File = TypeVar("File")


def pytest_collection(session: pytest.Session) -> bool:
    """Find the files, and import none of them: a hook of pytest."""
    gc.set_threshold(20_000)  # what a file leaves is collected with its end
    session.perform_collect(genitems=False)
    return True


def pytest_collection_modifyitems(session: pytest.Session, items: list[pytest.Collector]) -> None:
    """Note the files, large ones first; a hook of pytest, at whose end no `conftest.py` may be unread."""
    files = [file for item in items for file in _files(item)]
    files.sort(key=_size, reverse=True)
    session.stash[FILES] = files


def pytest_runtestloop(session: pytest.Session) -> bool:
    """Run the tests of each file that no other process has claimed: a hook of pytest."""
    for item, following in pairwise(chain(_claimed_tests(session), [None])):
        session.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        if session.shouldfail:
            raise session.Failed(session.shouldfail)
        if session.shouldstop:
            raise session.Interrupted(session.shouldstop)
    return True


def _claimed_tests(session: pytest.Session) -> Iterator[pytest.Item]:
    """Yield the tests of files that this process claims; a file is imported before the last test of the one before."""
    files = session.stash[FILES]
    for file in claimed(files, Path(os.environ[CLAIMS])):
        tests = list(session.genitems(file))
        session.testscollected += len(tests)
        gc.collect()
        gc.freeze()  # what a file imports stays to the end
        yield from tests


def _files(node: pytest.Item | pytest.Collector) -> Iterator[pytest.File]:
    """Yield the test files below a folder, none of them imported."""
    if isinstance(node, pytest.Directory):
        node.ihook.pytest_collectstart(collector=node)
        for child in node.ihook.pytest_make_collect_report(collector=node).result:
            yield from _files(child)
    elif isinstance(node, pytest.File):
        yield node


def _size(file: pytest.File) -> int:
    return file.path.stat().st_size


def claimed(files: Iterable[File], claims: Path) -> Iterator[File]:
    """Yield the files that no other process has taken before."""
    for number, file in enumerate(files):
        try:
            (claims / str(number)).touch(exist_ok=False)
        except FileExistsError:
            continue
        yield file


def main(count: int, arguments: Sequence[str]) -> int:
    """Run all processes, print what each one printed, the first one's at once; return the worst exit code.

    What they write is in memory: no test is about the disk that it is on.
    """
    with scratch(MEMORY if _has_room(MEMORY) else Path("/tmp")) as place:
        (place / "claims").mkdir()
        running = [_start(number, arguments, place) for number in range(1, count + 1)]
        codes = [process.wait() for process in running]
        for output in sorted(place.glob("*.out")):
            print(output.read_text(encoding="utf-8", errors="replace"), end="", flush=True)
    return max(map(abs, set(codes) - {pytest.ExitCode.NO_TESTS_COLLECTED}), default=pytest.ExitCode.NO_TESTS_COLLECTED)


def _has_room(place: Path) -> bool:
    """Return whether all that the tests write fits: in a container, /dev/shm often has 64 MB."""
    return place.is_dir() and shutil.disk_usage(place).free >= ROOM_BYTES


def _start(number: int, arguments: Sequence[str], place: Path) -> subprocess.Popen[bytes]:
    own = {"PYTEST_DEBUG_TEMPROOT": str(place), CLAIMS: str(place / "claims")}
    command = [sys.executable, "-m", "pytest", "-p", "tests.shares", *OPTIONS]
    command += [argument.replace("{share}", str(number)) for argument in arguments]
    if number == 1:
        return subprocess.Popen(command, env={**os.environ, **own})
    with (place / f"{number}.out").open("wb") as output:
        return subprocess.Popen(command, env={**os.environ, **own}, stdout=output, stderr=output)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
