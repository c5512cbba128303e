"""Small changes to SQL: a condition that always holds, another comparison, order, number or NULL."""

from __future__ import annotations

import re
from collections.abc import Iterator

IS_SQL = re.compile(r"\b(SELECT|INSERT|UPDATE|DELETE|WHERE|BETWEEN|ORDER BY|IS NULL|SET)\b|[<>=] \?")
# A condition up to what may follow it; of BETWEEN the AND belongs to it.
_CONDITION = re.compile(
    r"(?P<before>\b(?:WHERE|AND|WHEN)\s+)"
    r"(?P<condition>[\w.]+ (?:BETWEEN \S+ AND \S+|IN \([^()]*\)|[^()]*?))"
    r"(?=\s+(?:AND|OR|ORDER|GROUP|LIMIT|RETURNING|ON|DO|THEN)\b|\s*\)|\s*$)"
)
_SWAPS = (
    (re.compile(r" < "), " <= "),
    (re.compile(r" <= "), " < "),
    (re.compile(r" > "), " >= "),
    (re.compile(r" >= "), " > "),
    (re.compile(r" \+ "), " - "),
    (re.compile(r" - "), " + "),
    (re.compile(r"\bIS NOT NULL\b"), "IS NULL"),
    (re.compile(r"\bIS NULL\b"), "IS NOT NULL"),
    (re.compile(r"\bIS NOT \?"), "IS ?"),
    (re.compile(r"\bmin\("), "max("),
    (re.compile(r"\bmax\("), "min("),
    (re.compile(r"\bDESC\b"), "ASC"),
    (re.compile(r"(?<=ORDER BY )(\w+)(?! DESC)\b"), r"\1 DESC"),
)
_NUMBER = re.compile(r"(?<!LIMIT )(?<!SELECT )(?<![\w?{])\d+\b")  # nobody looks at what SELECT 1 gives


def changes(text: str) -> Iterator[str]:
    """Yield each text that differs from a piece of SQL in one place; parameters keep their number."""
    for found in _CONDITION.finditer(text):
        if found["condition"].split()[0].isupper() or "BETWEEN" in text[: found.start("before")].split()[-2:]:
            continue
        start, end = found.span("condition")
        yield f"{text[:start]}({found['condition']} OR 1){text[end:]}"
    for pattern, other in _SWAPS:
        for found in pattern.finditer(text):
            yield text[: found.start()] + found.expand(other) + text[found.end() :]
    for found in _NUMBER.finditer(text):
        yield f"{text[: found.start()]}{int(found[0]) + 1}{text[found.end() :]}"
