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

from tests.mutants import changes, judge, reach, trial
from tests.mutants.changes import Mutant
from tests.mutants.judge import Judge
from tests.mutants.table import MODULES

ENOUGH_PERCENT = 90.0
EQUIVALENT = Path(__file__).with_name("equivalent.txt")


class Outcome(NamedTuple):
    """What became of a module's mutants."""

    module: str
    killed: int
    equivalent: int
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
    parser.add_argument("--jobs", type=int, default=2 * (os.cpu_count() or 1), help="trials at once; many of them wait")
    options = parser.parse_args(arguments)
    modules = [name for name in MODULES if not options.words or any(word in name for word in options.words)]
    trial.warm()
    with tempfile.TemporaryDirectory(prefix="bm-mutants-") as folder:
        trees = [trial.copy_tree(Path(folder, str(number))) for number in range(options.jobs)]
        outcomes = [_print(_module(name, trees)) for name in modules]
    _print_survivors(outcomes)
    _print_sum(outcomes)
    return int(any(outcome.percent < ENOUGH_PERCENT for outcome in outcomes))


def _print(outcome: Outcome) -> Outcome:
    total, named = outcome.killed + len(outcome.survivors), f", {outcome.equivalent} equivalent"
    share = f"{outcome.percent:5.1f} %  {outcome.module}  {outcome.killed} of {total}"
    print(f"{share}{named if outcome.equivalent else ''}, {outcome.seconds:.0f} s", flush=True)
    return outcome


def _print_survivors(outcomes: Sequence[Outcome]) -> None:
    for outcome in outcomes:
        if outcome.survivors:
            print(f"\n{outcome.module}: no test notices")
        for mutant in outcome.survivors:
            print(f"  line {mutant.place.first}  {mutant.key}")


def _print_sum(outcomes: Sequence[Outcome]) -> None:
    strong = sum(outcome.percent >= ENOUGH_PERCENT for outcome in outcomes)
    killed, survived = sum(outcome.killed for outcome in outcomes), sum(len(one.survivors) for one in outcomes)
    minutes = sum(outcome.seconds for outcome in outcomes) / 60
    print(f"\n{strong} of {len(outcomes)} modules have {ENOUGH_PERCENT:g} % or more")
    print(f"{killed} of {killed + survived} changes noticed in {minutes:.1f} min")


def _module(module: str, trees: list[Path]) -> Outcome:
    """Try every mutant of a module."""
    began_s = time.monotonic()
    source = (trees[0] / module).read_text(encoding="utf-8")
    equivalent, mutants = _equivalent(module), changes.mutants(source)
    _complain_of(module, equivalent - {mutant.key for mutant in mutants})
    todo = [mutant for mutant in mutants if mutant.key not in equivalent]
    known = _first_run(module, trees[0])
    survivors, untried = _judged(module, [mutant for mutant in todo if not mutant.place.imported], known, trees)
    untried += [mutant for mutant in todo if mutant.place.imported]
    survivors += _imported(module, untried, known, trees)
    for tree in trees:
        (tree / module).write_text(source, encoding="utf-8")
    survivors.sort(key=lambda mutant: mutant.place.first)
    killed = len(todo) - len(survivors)
    return Outcome(module, killed, len(mutants) - len(todo), survivors, time.monotonic() - began_s)


def _first_run(module: str, tree: Path) -> reach.Reach:
    """Run the tests without a change; what they reach decides who judges a mutant."""
    output = tree / "reach.json"
    _run(module, tree, reach.Recorder(tree / module, output), usual_s=100.0)
    return reach.read(output)


def _judged(module: str, todo: list[Mutant], known: reach.Reach, trees: list[Path]) -> list[list[Mutant]]:
    """Return the mutants of code in functions that no test notices, and those that need another import."""
    output = trees[0] / "survivors.json"
    usual_s = 10 + sum(known.seconds(known.judges(mutant.place)) for mutant in todo)
    _run(module, trees[0], Judge(module, todo, known, output, len(trees)), usual_s)
    return judge.read(output, todo)


def _run(module: str, tree: Path, plugin: object, usual_s: float) -> None:
    """Run the tests of a module with a plugin; the unchanged ones have to pass."""
    log = tree / "trial.log"
    if trial.wait(trial.start(lambda: trial.tests(tree, MODULES[module], plugin), log, usual_s)) != trial.SURVIVED:
        sys.exit(f"the tests of {module} fail without any change:\n{log.read_text(encoding='utf-8')}")


def _imported(module: str, todo: list[Mutant], known: reach.Reach, trees: list[Path]) -> list[Mutant]:
    """Return the mutants of what is evaluated at the import that no test notices: each needs a new one."""
    waiting, free, survivors = deque(todo), deque(trees), []
    running: dict[Path, tuple[Mutant, trial.Trial]] = {}
    while waiting or running:
        while waiting and free:
            mutant, tree = waiting.popleft(), free.popleft()
            running[tree] = mutant, _start(module, mutant, known, tree)
        for tree, (mutant, began) in list(running.items()):
            status = trial.result(began)
            if status is not None:
                del running[tree]
                free.append(tree)
                survivors += [mutant] if status == trial.SURVIVED else []
        time.sleep(0.005)
    return survivors


def _start(module: str, mutant: Mutant, known: reach.Reach, tree: Path) -> trial.Trial:
    (tree / module).write_text(mutant.source, encoding="utf-8")
    for compiled in (tree / module).parent.glob(f"__pycache__/{Path(module).stem}.*.pyc"):
        compiled.unlink()  # its time and size may be those of the mutant before
    names = known.judges(mutant.place)
    chosen = reach.Chosen(names)
    return trial.start(lambda: trial.tests(tree, MODULES[module], chosen), tree / "trial.log", known.seconds(names))


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
