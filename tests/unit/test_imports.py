"""The table of who may import whom, and what else must not be in which folder."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

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


@cache
def parsed(path: Path) -> ast.Module:
    """Return a file's syntax tree."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imported(tree: ast.Module) -> Iterator[str]:
    """Yield the full names of imported modules; relative imports as they are written."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")


def package_of(path: Path) -> str:
    """Return the folder a file belongs to."""
    return path.relative_to(ROOT).parts[0]


def test_imports_are_the_table() -> None:
    """A folder imports common and itself, never a sibling; each installed package has its one place."""
    for path in FILES:
        own = package_of(path)
        for name in imported(parsed(path)):
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
        calls = [node.func for node in ast.walk(parsed(path)) if isinstance(node, ast.Call)]
        names = {call.id for call in calls if isinstance(call, ast.Name)}
        names |= {call.attr for call in calls if isinstance(call, ast.Attribute) and call.attr == "import_module"}
        allowed = {"import_module"} if path.relative_to(ROOT) == Path("collectors/registry.py") else set()
        assert names & {"__import__", "import_module", "eval", "exec"} <= allowed, path


def catch_alls(tree: ast.Module) -> Iterator[ast.ExceptHandler]:
    """Yield handlers that catch every exception there is and never raise it again."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.ExceptHandler):
            continue
        kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
        names = {kind.id for kind in kinds if isinstance(kind, ast.Name)}
        raises = any(isinstance(inner, ast.Raise) and inner.exc is None for inner in ast.walk(node))
        if (node.type is None or names & {"Exception", "BaseException"}) and not raises:
            yield node


def test_bugs_are_caught_at_the_boundaries_alone() -> None:
    """`except Exception` hides bugs; elsewhere it may clean up and raise again, no more."""
    found = {path.relative_to(ROOT): len(list(catch_alls(parsed(path)))) for path in FILES}
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
    assert [1, 1, 1, 1] == [len(list(catch_alls(ast.parse(f"try: pass\n{text}")))) for text in caught]
    assert [0, 0] == [len(list(catch_alls(ast.parse(f"try: pass\n{text}")))) for text in free]
