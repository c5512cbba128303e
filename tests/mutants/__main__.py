"""Change the modules that decide delivery, one place at a time, and see whether their tests notice.

Prints the share of changes that a test noticed, by module, and each change that none did. A change that makes no
difference stands in equivalent.txt with its reason, and counts for nothing.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tests.mutants import changes, reach, trial
from tests.mutants.changes import Mutant
from tests.mutants.table import MODULES

ENOUGH_PERCENT = 90.0
EQUIVALENT = Path(__file__).with_name("equivalent.txt")


class Outcome(NamedTuple):
    """What became of a module's mutants."""

    module: str
    killed: int
    survivors: list[Mutant]
    seconds: float

    @property
    def percent(self) -> float:
        """Return the share that was noticed; all of none."""
        total = self.killed + len(self.survivors)
        return 100 * self.killed / total if total else 100.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; return 1 if a module's share is not enough."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("words", nargs="*", help="modules whose path has one of these words; all without")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="trials at once")
    options = parser.parse_args(arguments)
    modules = [name for name in MODULES if not options.words or any(word in name for word in options.words)]
    trial.warm()
    with tempfile.TemporaryDirectory(prefix="bm-mutants-") as folder:
        trees = [trial.copy_tree(Path(folder, str(number))) for number in range(options.jobs)]
        outcomes = [_print(_module(name, trees)) for name in modules]
    weak = [outcome for outcome in outcomes if outcome.percent < ENOUGH_PERCENT]
    print(f"{len(outcomes) - len(weak)} of {len(outcomes)} modules have {ENOUGH_PERCENT:g} % or more")
    return 1 if weak else 0


def _print(outcome: Outcome) -> Outcome:
    total = outcome.killed + len(outcome.survivors)
    print(f"{outcome.percent:5.1f} %  {outcome.module}  {outcome.killed} of {total} in {outcome.seconds:.0f} s")
    for mutant in outcome.survivors:
        print(f"           line {mutant.place.first}  {mutant.key}")
    sys.stdout.flush()
    return outcome


def _module(module: str, trees: list[Path]) -> Outcome:
    """Try every mutant of a module."""
    began_s = time.monotonic()
    source = (trees[0] / module).read_text(encoding="utf-8")
    equivalent = _equivalent(module)
    todo = [mutant for mutant in changes.mutants(source) if mutant.key not in equivalent]
    _complain_of(module, equivalent - {mutant.key for mutant in changes.mutants(source)})
    known = _first_run(module, trees[0])
    survivors = _trials(module, todo, known, trees)
    for tree in trees:
        (tree / module).write_text(source, encoding="utf-8")
    return Outcome(module, len(todo) - len(survivors), survivors, time.monotonic() - began_s)


def _first_run(module: str, tree: Path) -> reach.Reach:
    """Run the tests without a change; what they reach decides who judges a mutant."""
    output = tree / "reach.json"
    began = trial.start(tree, MODULES[module], reach.Recorder(tree / module, output), usual_s=100.0)
    if trial.result(began, block=True) != trial.SURVIVED:
        sys.exit(f"the tests of {module} fail without any change:\n{(tree / 'trial.log').read_text()}")
    return reach.read(output)


def _trials(module: str, todo: list[Mutant], known: reach.Reach, trees: list[Path]) -> list[Mutant]:
    """Return the mutants that no test notices, in the order of their lines."""
    waiting, free, survivors = deque(todo), deque(trees), []
    running: dict[Path, tuple[Mutant, trial.Trial]] = {}
    while waiting or running:
        while waiting and free:
            mutant = waiting.popleft()
            names = known.all() if mutant.place.imported else known.of(mutant.place.first, mutant.place.last)
            if names:
                tree = free.popleft()
                running[tree] = mutant, _start(module, mutant, names, known, tree)
            else:
                survivors.append(mutant)
        for tree, (mutant, began) in list(running.items()):
            status = trial.result(began)
            if status is not None:
                del running[tree]
                free.append(tree)
                survivors += [mutant] if status == trial.SURVIVED else []
        time.sleep(0.005)
    return sorted(survivors, key=lambda mutant: mutant.place.first)


def _start(module: str, mutant: Mutant, names: list[str], known: reach.Reach, tree: Path) -> trial.Trial:
    (tree / module).write_text(mutant.source, encoding="utf-8")
    for compiled in (tree / module).parent.glob(f"__pycache__/{Path(module).stem}.*.pyc"):
        compiled.unlink()  # its time and size may be those of the mutant before
    files = sorted({name.partition("::")[0] for name in names})
    return trial.start(tree, files, reach.Chosen(names), sum(known.tests[name] for name in names))


def _equivalent(module: str) -> set[str]:
    """Return the keys of a module's mutants that make no difference."""
    rows = [
        line.removeprefix(f"{module} | ")
        for line in EQUIVALENT.read_text(encoding="utf-8").splitlines()
        if line.startswith(f"{module} | ")
    ]
    return {row.rpartition(" | ")[0] for row in rows}


def _complain_of(module: str, keys: set[str]) -> None:
    for key in sorted(keys):
        print(f"equivalent.txt has what is no mutant of {module} any more: {key}")


if __name__ == "__main__":
    sys.exit(main())
