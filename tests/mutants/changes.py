"""Small changes to Python: what a module would be if one decision in it were another.

Reads a module's source; yields mutants, each the whole source with one change. Left alone: documentation, types,
decorators, what is logged or raised for people, and asserts.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from itertools import takewhile
from typing import NamedTuple

from tests.mutants import sql

_COMPARED: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_CALCULATED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Add,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.Pow: ast.Mult,
}
_LOGGED = frozenset({"debug", "info", "warning", "error", "exception", "throttled_warning"})
_PLAIN = (ast.Name, ast.Attribute, ast.Call)  # a condition without an operator that could be changed
_LONG, _WORDS_AROUND = 60, 3  # of a longer text only what differs is shown, and so many words around it
_SMALL = 3  # a number up to this becomes the next one, a larger one twice as large


class Place(NamedTuple):
    """Where in a module something can be changed.

    Attributes:
        node: what is changed.
        function: qualified name of the function or class around it, "" at the top.
        first, last: lines of the statement, of a compound one its head.
        imported: it is evaluated when the module is imported.
    """

    node: ast.AST
    function: str
    first: int
    last: int
    imported: bool


class Mutant(NamedTuple):
    """A module with one change: its source, where the change is, and how it reads."""

    source: str
    place: Place
    before: str
    after: str

    @property
    def key(self) -> str:
        """Name it so that the name survives changes elsewhere in the file."""
        return f"{self.place.function}: {self.before} -> {self.after}"


def mutants(source: str) -> list[Mutant]:
    """Return every mutant of a module, in the order of its lines."""
    return list(_mutants(source))


def _mutants(source: str) -> Iterator[Mutant]:
    tree: ast.AST = ast.parse(source)
    for place in list(_places(tree, "", 0, 0, imported=True)):
        for other in list(_others(place.node)):
            changed = _Put(place.node, other).visit(tree)
            text = ast.unparse(ast.fix_missing_locations(changed))
            tree = _Put(other, place.node).visit(changed)
            yield Mutant(text, place, *_shown(place.node, other))


class _Put(ast.NodeTransformer):
    """Puts one node in the place of another."""

    def __init__(self, old: ast.AST, new: ast.AST) -> None:
        self._old = old
        self._new = new

    def visit(self, node: ast.AST) -> ast.AST:
        return self._new if node is self._old else self.generic_visit(node)


def _shown(node: ast.AST, other: ast.AST) -> tuple[str, str]:
    """Return a node and what stands in its place as one line each, of a long text what differs."""
    before, after = _line(node), _line(other)
    if len(before) <= _LONG or not isinstance(node, (ast.Constant, ast.JoinedStr)):
        return before, after
    old, new = before.split(), after.split()
    start = _alike(old, new)
    end = _alike(old[start:][::-1], new[start:][::-1])
    start, end = max(0, start - _WORDS_AROUND), max(0, end - _WORDS_AROUND)
    return " ".join(old[start : len(old) - end]), " ".join(new[start : len(new) - end])


def _alike(some: list[str], others: list[str]) -> int:
    """Return with how many equal words two texts begin."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(some, others, strict=False)))


def _line(node: ast.AST) -> str:
    """Return a node as one line, of an if or while its condition."""
    if isinstance(node, (ast.If, ast.While)):
        return f"if {ast.unparse(node.test)}"
    return " ".join(ast.unparse(node).split())


def _places(node: ast.AST, function: str, first: int, last: int, *, imported: bool) -> Iterator[Place]:
    """Walk what may be changed, with the lines of the statement around it."""
    if isinstance(node, ast.stmt):
        first, last = node.lineno, _head_end(node)
    yield Place(node, function, first, last, imported)
    for name, child in _children(node):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and name == "body":
            inner = f"{function}.{node.name}".lstrip(".")
            inside = imported and isinstance(node, ast.ClassDef)
            yield from _places(child, inner, first, last, imported=inside)
        elif not _is_for_people(child):
            yield from _places(child, function, first, last, imported=imported)


def _children(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Yield the parts of a node that do something, each with its field's name."""
    for name, value in ast.iter_fields(node):
        if name in {"annotation", "returns", "decorator_list", "format_spec", "exc", "bases"}:
            continue
        children = value if isinstance(value, list) else [value]
        if isinstance(node, ast.JoinedStr):  # it is changed as a whole, not each text in it once more
            children = [child for child in children if isinstance(child, ast.FormattedValue)]
        yield from ((name, child) for child in children if isinstance(child, ast.AST) and not _is_for_people(child))


def _is_for_people(node: ast.AST) -> bool:
    """Tell documentation, logging, asserts (`strict=True` is one), and keys of the configuration; those have tests."""
    if isinstance(node, (ast.Assert, ast.Import, ast.ImportFrom)):
        return True
    if isinstance(node, ast.keyword):
        return node.arg == "strict"
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "key":
        return True
    if not isinstance(node, ast.Expr):
        return False
    value = node.value
    return isinstance(value, ast.Constant) or (
        isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute) and value.func.attr in _LOGGED
    )


def _head_end(node: ast.stmt) -> int:
    """Return a statement's last line, of a compound one its head's."""
    body = getattr(node, "body", None)
    end = node.end_lineno or node.lineno
    return max(node.lineno, body[0].lineno - 1) if isinstance(body, list) and body else end


def _others(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what may stand in a node's place."""
    yield from _conditions(node)
    yield from _statements(node)
    yield from _values(node)


def _conditions(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.Compare):
        for index, operator in enumerate(node.ops):
            for other in _COMPARED[type(operator)]:
                yield _with(node, ops=[*node.ops[:index], other(), *node.ops[index + 1 :]])
    elif isinstance(node, ast.BoolOp):
        yield _with(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And())
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield node.operand
    elif isinstance(node, (ast.If, ast.While, ast.IfExp)) and isinstance(node.test, _PLAIN):
        yield _with(node, test=ast.UnaryOp(ast.Not(), node.test))
    elif isinstance(node, ast.comprehension):
        for index, test in enumerate(node.ifs):
            if isinstance(test, _PLAIN):
                yield _with(node, ifs=[*node.ifs[:index], ast.UnaryOp(ast.Not(), test), *node.ifs[index + 1 :]])


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        yield ast.Pass()
    elif isinstance(node, (ast.Assign, ast.AugAssign)):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        if all(isinstance(target, (ast.Attribute, ast.Subscript)) for target in targets):
            yield ast.Pass()
        if isinstance(node, ast.AugAssign) and type(node.op) in _CALCULATED:
            yield _with(node, op=_CALCULATED[type(node.op)]())
    elif isinstance(node, ast.Delete):
        yield ast.Pass()
    elif isinstance(node, (ast.Continue, ast.Break)):
        yield ast.Break() if isinstance(node, ast.Continue) else ast.Continue()


def _values(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.BinOp) and type(node.op) in _CALCULATED and not _is_text(node):
        yield _with(node, op=_CALCULATED[type(node.op)]())
    elif isinstance(node, ast.Constant):
        yield from _constants(node)
    elif isinstance(node, ast.JoinedStr) and sql.IS_SQL.search(ast.unparse(node)):
        for index, piece in enumerate(node.values):
            if isinstance(piece, ast.Constant):
                for text in sql.changes(str(piece.value)):
                    values = [*node.values[:index], ast.Constant(text), *node.values[index + 1 :]]
                    yield ast.JoinedStr(values)
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"min", "max"}:
        yield _with(node, func=ast.Name("max" if node.func.id == "min" else "min", ast.Load()))


def _constants(node: ast.Constant) -> Iterator[ast.AST]:
    value = node.value
    if isinstance(value, bool):
        yield ast.Constant(not value)
    elif isinstance(value, (int, float)):
        yield ast.Constant(value + 1 if abs(value) <= _SMALL else value * 2)
    elif isinstance(value, str) and sql.IS_SQL.search(value):
        yield from map(ast.Constant, sql.changes(value))


def _is_text(node: ast.BinOp) -> bool:
    """Tell whether texts are joined: another operator there is no decision, but an error at once."""
    sides = (node.left, node.right)
    return any(isinstance(side, ast.JoinedStr) or isinstance(getattr(side, "value", None), str) for side in sides)


def _with(node: ast.AST, **fields: object) -> ast.AST:
    changed = copy.copy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed
