"""The changes that `make mutants` makes: each decision is tried, and nothing that is no decision."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from tests.mutants import changes, judge, sql
from tests.mutants.table import MODULES

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("line", "others"),
    [
        ("return a < b", {"a <= b", "a >= b"}),
        ("return a and not b", {"a or not b", "b"}),
        ("return a if b else c", {"a if not b else c"}),
        ("return a + 10", {"a - 10", "20"}),
        ("return min(a, b)", {"max(a, b)"}),
        ("a.b += c", {"pass", "a.b -= c"}),
        ("a.send(b)", {"pass"}),
        ("del a[b]", {"pass"}),
        ("return [a for a in b if c(a)]", {"for a in b if not c(a)"}),
        ("if a:\n        return b", {"if not a"}),
        ('a.log.info("text", count=1)', set()),
        ('raise ValueError(f"{a} is not 1")', set()),
        ("assert a < b", set()),
        ("a: int = key(number(0, 1), '5', 'text')", set()),
    ],
)
def test_a_decision_has_its_changes(line: str, others: set[str]) -> None:
    """Each place that decides something is changed, and nothing else is."""
    found = changes.mutants(f"def f(a, b, c):\n    {line}\n")
    assert others == {mutant.after for mutant in found}


def test_a_mutant_is_the_module_with_one_change() -> None:
    """A mutant's source differs in its own place only."""
    found = changes.mutants("def f(a):\n    return a < 1\n\ndef g(a):\n    return a\n")
    assert [
        "def f(a):\n    return a <= 1\n\ndef g(a):\n    return a",
        "def f(a):\n    return a >= 1\n\ndef g(a):\n    return a",
        "def f(a):\n    return a < 2\n\ndef g(a):\n    return a",
    ] == [mutant.source for mutant in found]


SOURCE = """
from contextlib import contextmanager

class C:
    @property
    def a(self):
        return 1

    @classmethod
    def b(cls):
        return 1

@contextmanager
def c():
    yield 1
"""


def test_a_function_is_given_the_code_of_a_mutant() -> None:
    """In a class or below a decorator: who has it already runs the changed one."""
    module = ModuleType("m")
    module.__file__ = "m.py"
    exec(SOURCE, vars(module))
    held = module.c

    def values() -> list[int]:
        with held() as given:
            return [module.C().a, module.C.b(), given]

    for mutant in changes.mutants(SOURCE):
        function, code = judge.found(module, mutant)
        function.__code__ = code
    assert [2, 2, 2] == values()


@pytest.mark.parametrize(
    ("text", "others"),
    [
        (
            "WHERE id = ? AND chunk IS NULL",
            {
                "WHERE (id = ? OR 1) AND chunk IS NULL",
                "WHERE id = ? AND (chunk IS NULL OR 1)",
                "WHERE id = ? AND chunk IS NOT NULL",
            },
        ),
        (
            "WHERE time BETWEEN ? AND ? ORDER BY time",
            {"WHERE (time BETWEEN ? AND ? OR 1) ORDER BY time", "WHERE time BETWEEN ? AND ? ORDER BY time DESC"},
        ),
        ("SET count = max(0, count - ?)", {f"SET count = {new}" for new in (
            "min(0, count - ?)", "max(1, count - ?)", "max(0, count + ?)")}),
    ],
)  # fmt: skip
def test_sql_has_its_changes(text: str, others: set[str]) -> None:
    """Each condition, order, comparison and number of a statement is changed once."""
    assert others == set(sql.changes(text))


def test_the_table_names_what_exists() -> None:
    """Who moves a module or its tests moves its row."""
    named = [*MODULES, *(test for tests in MODULES.values() for test in tests)]
    assert [] == [name for name in named if not (ROOT / name).is_file()]
