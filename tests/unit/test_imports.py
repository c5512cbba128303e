"""The table of who may import whom, and what else must not be in which folder."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from tests.harness import ROOT

PACKAGES = ("collectors", "buffer", "shipper", "healthd", "common")
# Who may use what is installed besides Python, in the running system: packages, a folder, or one file.
INSTALLED = {
    "zmq": set(PACKAGES),
    "msgpack": {"common"},
    "yaml": {"common"},
    "apsw": {"buffer/storage", "healthd/recorded/database.py"},  # one writer, one reader
    "requests": {"shipper"},
    "urllib3": {"shipper"},  # what requests is made of
    "idna": {"shipper/http/__init__.py"},  # which has it come later
    "prometheus_client": {"healthd"},
    "jeepney": {"collectors/modem/modem_manager.py"},
}
# A collector reads files and yields samples: it starts nothing, waits for nothing and stores nothing.
NOT_IN_COLLECTORS = {
    "subprocess", "threading", "_thread", "asyncio", "sched", "multiprocessing", "concurrent", "signal",
    "sqlite3", "zmq",
}  # fmt: skip
NOWHERE = {"pickle", "marshal", "shelve"}
# The boundaries that count and report what nobody foresaw, and go on: one collect, one HTTP request.
BOUNDARIES = {Path("collectors/schedule.py"), Path("healthd/http/server.py")}

FILES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


class Seen(NamedTuple):
    """What a file has of what is asked for here.

    Attributes:
        imported: full names of modules; relative imports as they are written.
        called: names of functions, and of methods called `import_module`.
        catches: how many handlers catch every exception there is and never raise it again.
    """

    imported: list[str]
    called: set[str]
    catches: int


@cache
def seen(path: Path) -> Seen:
    """Look at a file once; its syntax tree is not kept."""
    return look(path.read_text(encoding="utf-8"))


def look(text: str) -> Seen:
    """Return what a file's text has."""
    nodes = list(ast.walk(ast.parse(text)))
    calls = [node.func for node in nodes if isinstance(node, ast.Call)]
    names = {call.id for call in calls if isinstance(call, ast.Name)}
    names |= {call.attr for call in calls if isinstance(call, ast.Attribute) and call.attr == "import_module"}
    return Seen(list(imported(nodes)), names, sum(map(catches_all, nodes)))


def imported(nodes: Iterable[ast.AST]) -> Iterator[str]:
    """Yield the names of imported modules."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")


def catches_all(node: ast.AST) -> bool:
    """Tell whether a node is a handler that catches every exception there is and never raises it again."""
    if not isinstance(node, ast.ExceptHandler):
        return False
    kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
    names = {kind.id for kind in kinds if isinstance(kind, ast.Name)}
    raises = any(isinstance(inner, ast.Raise) and inner.exc is None for inner in ast.walk(node))
    return (node.type is None or bool(names & {"Exception", "BaseException"})) and not raises


def package_of(path: Path) -> str:
    """Return the folder a file belongs to."""
    return path.relative_to(ROOT).parts[0]


def test_imports_are_the_table() -> None:
    """A folder imports common and itself, never a sibling; each installed package has its one place."""
    for path in FILES:
        own = package_of(path)
        for name in seen(path).imported:
            top, place = name.partition(".")[0], f"{path}: {name}"
            assert not name.startswith("."), f"{place}: relative"
            if top in PACKAGES:
                assert top in {own, "common"}, place
            elif top not in sys.stdlib_module_names:
                places = {own, str(path.relative_to(ROOT)), str(path.relative_to(ROOT).parent)}
                assert places & INSTALLED.get(top, set()), place
            assert top not in NOWHERE, place
            assert own != "collectors" or top not in NOT_IN_COLLECTORS, place


def test_nobody_imports_by_another_way() -> None:
    """Only the collectors' registry imports by name, which the table above would not see; nobody runs text."""
    for path in FILES:
        allowed = {"import_module"} if path.relative_to(ROOT) == Path("collectors/registry.py") else set()
        assert seen(path).called & {"__import__", "import_module", "eval", "exec"} <= allowed, path


def test_bugs_are_caught_at_the_boundaries_alone() -> None:
    """`except Exception` hides bugs; elsewhere it may clean up and raise again, no more."""
    found = {path.relative_to(ROOT): seen(path).catches for path in FILES}
    assert dict.fromkeys(BOUNDARIES, 1) == {path: number for path, number in found.items() if number}


def test_every_spelling_of_a_catch_all_is_found() -> None:
    """The check above sees what it looks for, and nothing else."""
    caught = [
        "except: pass",
        "except Exception: pass",
        "except BaseException as e: print(e)",
        "except (X, Exception): pass",
    ]
    free = ["except OSError: pass", "except BaseException:\n    print()\n    raise"]
    assert [1, 1, 1, 1] == [look(f"try: pass\n{text}").catches for text in caught]
    assert [0, 0] == [look(f"try: pass\n{text}").catches for text in free]
