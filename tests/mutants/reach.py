"""Which tests run which lines of a module, and how long each takes: pytest plugins for the first run and the trials."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import coverage
import pytest

from tests.mutants.changes import Place


class Reach(NamedTuple):
    """What the first run of a module's tests found.

    Attributes:
        tests: seconds that each took, by its name.
        lines: names of the tests that run a line, by the line.
    """

    tests: dict[str, float]
    lines: dict[int, list[str]]

    def judges(self, place: Place) -> list[str]:
        """Return the tests that run any of a place's lines, all for what is evaluated at the import; quickest first."""
        lines = range(place.first, place.last + 1)
        names = set(self.tests) if place.imported else {name for line in lines for name in self.lines.get(line, ())}
        return sorted(names & self.tests.keys(), key=lambda name: self.tests[name])

    def seconds(self, names: Sequence[str]) -> float:
        """Return how long some tests took."""
        return sum(self.tests[name] for name in names)


class Recorder:
    """Watches the first run: a test is a context of coverage's."""

    def __init__(self, module: Path, output: Path) -> None:
        self._module = module
        self._output = output
        self._tests: dict[str, float] = {}
        self._coverage = coverage.Coverage(data_file=None, include=[str(module)], config_file=False)

    def pytest_sessionstart(self) -> None:
        """Begin before the module is imported."""
        self._coverage.start()

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Measure a test with its fixtures."""
        self._coverage.switch_context(item.nodeid)
        began_s = time.monotonic()
        yield
        self._tests[item.nodeid] = time.monotonic() - began_s
        self._coverage.switch_context("")

    def pytest_sessionfinish(self) -> None:
        """Write what was found."""
        self._coverage.stop()
        lines = self._coverage.get_data().contexts_by_lineno(str(self._module))
        self._output.write_text(json.dumps({"tests": self._tests, "lines": lines}), encoding="utf-8")


class Chosen:
    """Has a trial run some tests only, in their order."""

    def __init__(self, names: list[str]) -> None:
        self._places = {name: place for place, name in enumerate(names)}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Keep what was chosen."""
        items[:] = sorted(
            (item for item in items if item.nodeid in self._places), key=lambda item: self._places[item.nodeid]
        )


def read(path: Path) -> Reach:
    """Return what a recorder wrote."""
    found = json.loads(path.read_text(encoding="utf-8"))
    return Reach(found["tests"], {int(line): names for line, names in found["lines"].items()})
