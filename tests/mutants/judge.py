"""Judge many mutants by tests that are collected once: a fork for each, in which one function has the changed code.

Only what is evaluated at the import of the module cannot be changed so, and code that has no function of its own name.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import pytest
from _pytest.main import pytest_runtestloop

from tests.mutants import trial
from tests.mutants.changes import Mutant
from tests.mutants.reach import Reach


class Judge:
    """A pytest plugin that tries mutants instead of running the tests once.

    Args:
        module: its path below the tree.
        mutants: to be tried, none of which changes what is evaluated at the import.
        known: which tests reach which lines.
        output: takes as JSON the places of those that no test noticed, and of those that could not be tried here.
        jobs: trials at once.
    """

    def __init__(self, module: str, mutants: Sequence[Mutant], known: Reach, output: Path, jobs: int) -> None:
        self._name = module.removesuffix(".py").replace("/", ".")
        self._mutants = mutants
        self._known = known
        self._output = output
        self._jobs = jobs

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Try each mutant; write which survived."""
        waiting, survivors, untried = deque(range(len(self._mutants))), list[int](), list[int]()
        running: dict[int, trial.Trial] = {}
        while waiting or running:
            while waiting and len(running) < self._jobs:
                number = waiting.popleft()
                if not (names := self._known.judges(self._mutants[number].place)):
                    survivors.append(number)
                    continue
                try:
                    running[number] = self._start(session, number, names)
                except LookupError:
                    untried.append(number)
            for number, began in list(running.items()):
                status = trial.result(began)
                if status is not None:
                    del running[number]
                    survivors += [number] if status == trial.SURVIVED else []
            time.sleep(0.002)
        self._output.write_text(json.dumps([survivors, untried]), encoding="utf-8")
        return True

    def _start(self, session: pytest.Session, number: int, names: Sequence[str]) -> trial.Trial:
        mutant = self._mutants[number]
        module = import_module(self._name)
        function, code = found(module, mutant)

        def run() -> int:
            function.__code__ = code
            places = {name: place for place, name in enumerate(names)}
            chosen = [item for item in session.items if item.nodeid in places]
            session.items[:] = sorted(chosen, key=lambda item: places[item.nodeid])
            try:
                pytest_runtestloop(session)
            except session.Failed:
                pass  # at the first
            return int(session.testsfailed > 0)

        return trial.start(run, self._output.with_name(f"trial-{number % self._jobs}.log"), self._known.seconds(names))


def read(output: Path, mutants: Sequence[Mutant]) -> list[list[Mutant]]:
    """Return what a judge wrote: the survivors, and the untried."""
    return [[mutants[number] for number in numbers] for numbers in json.loads(output.read_text(encoding="utf-8"))]


def found(module: ModuleType, mutant: Mutant) -> tuple[FunctionType, CodeType]:
    """Return the function that a mutant changes, and its changed code.

    Raises:
        LookupError: it is not found by its name.
    """
    owner: Any = module
    code = compile(mutant.source, str(module.__file__), "exec")
    for name in mutant.place.function.split("."):
        codes = [one for one in code.co_consts if isinstance(one, CodeType) and one.co_name == name]
        if len(codes) != 1 or name not in vars(owner):
            raise LookupError(f"{mutant.place.function} of {module.__name__}")
        owner, code = _plain(vars(owner)[name]), codes[0]
        if isinstance(owner, FunctionType):
            return owner, code
    raise LookupError(f"{mutant.place.function} of {module.__name__} is no function")


def _plain(owner: Any) -> Any:
    """Return what is below a property or another decorator."""
    for name in ("fget", "func", "__wrapped__", "__func__"):
        owner = getattr(owner, name, owner) if not isinstance(owner, (type, FunctionType)) else owner
    return getattr(owner, "__wrapped__", owner)
