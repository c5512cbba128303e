"""What the two requirement documents print to be typed: commands, queries, schema, unit.

`python -m tests.documents PRD.md MILESTONE-2.md` compares them with what is known of them.

Reads: the documents, which are not part of this tree, and `tests/fixtures/documents.yaml`, which has all that was cut
    out of them.
Emits: a table: rows, as written, replaced. A replaced one names its row of docs/acceptance.md, which has the reason.
Fails: exit 1 with what a document has and the fixture has not, or the other way round.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import yaml

from common import catalog
from tests.harness import ROOT

FIXTURE = ROOT / "tests/fixtures/documents.yaml"
COMMAND = re.compile(r"sudo |sqlite3 |curl .*http|journalctl |systemctl |docker ps|ls |date ")
TEXTS = ("Description=", "Documentation=")
DOTS = "MILESTONE-2, names with dots in its PromQL"


class Row(NamedTuple):
    """One thing that a document prints.

    Attributes:
        kind: command, promql, column or unit.
        text: as printed.
        here: what does it here; the text itself where that works.
        why: the first cell of its row of the answer sheet; "" for what works as written.
    """

    kind: str
    text: str
    here: str
    why: str


def rows(kind: str = "") -> list[Row]:
    """Return the rows of the fixture, of one kind or of all."""
    found = yaml.safe_load(FIXTURE.read_text(encoding="utf-8"))
    return [_row(name, entry) for name, entries in found.items() for entry in entries if kind in {"", name}]


def _row(kind: str, entry: str | dict[str, str]) -> Row:
    if isinstance(entry, dict):
        return Row(kind, entry["text"], entry.get("here", ""), entry["why"])
    here = exported(entry) if kind == "promql" else entry
    return Row(kind, entry, here, "" if here == entry else DOTS)


def exported(promql: str) -> str:
    """Return a query with each stored name (`cpu.usage_percent`) as the server has it."""
    return re.sub(r"\b[a-z_]+\.[a-z0-9_.]+", lambda name: catalog.find(name[0]).export, promql)


def cut(document: str) -> Iterator[tuple[str, str]]:
    """Yield kind and text of all that a document prints to be typed."""
    blocks = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
    for language, block in blocks.findall(document):
        if language in CUTTERS:
            kind, cutter = CUTTERS[language]
            yield from ((kind, text) for text in cutter(block))
    for code in re.findall(r"`([^`\n]+)`", blocks.sub("", document)):
        if COMMAND.match(code):
            yield "command", code


def _lines(block: str) -> Iterator[str]:
    return (line for line in map(str.strip, block.splitlines()) if line and not line.startswith("#"))


def _queries(block: str) -> Iterator[str]:
    """Yield each query on one line; a comment or an empty line ends one."""
    for chunk in re.split(r"(?m)^\s*(?:#.*)?$", block):
        query = " ".join(re.sub(r"\s+#.*", "", line).strip() for line in chunk.strip().splitlines())
        if query:
            yield query


def _columns(block: str) -> Iterator[str]:
    """Yield table.column of each table, and the name of each index."""
    for table, inner in re.findall(r"CREATE TABLE (?:IF NOT EXISTS )?(\w+) \((.*?)\n\);", block, re.DOTALL):
        yield from (f"{table}.{column}" for column in re.findall(r"(?m)^\s+(\w+) [A-Z]", inner))
    yield from re.findall(r"INDEX (?:IF NOT EXISTS )?(\w+)", block)


def _settings(block: str) -> Iterator[str]:
    return (line for line in _lines(block) if re.match(r"[A-Z]\w+=", line) and not line.startswith(TEXTS))


CUTTERS: dict[str, tuple[str, Callable[[str], Iterator[str]]]] = {
    "bash": ("command", _lines),
    "promql": ("promql", _queries),
    "sql": ("column", _columns),
    "ini": ("unit", _settings),
}


def main() -> int:
    """Compare the documents with the fixture, and print the table."""
    printed = {pair for file in sys.argv[1:] for pair in cut(Path(file).read_text(encoding="utf-8"))}
    known = {(row.kind, row.text) for row in rows()}
    wrong = [f"not in {FIXTURE.name}: {kind}: {text}" for kind, text in sorted(printed - known)]
    wrong += [f"in no document: {kind}: {text}" for kind, text in sorted(known - printed)] if printed else []
    print(f"{'':8} {'rows':>5} {'as written':>11} {'replaced':>9}")
    for kind, _ in CUTTERS.values():
        found = rows(kind)
        replaced = sum(bool(row.why) for row in found)
        print(f"{kind:8} {len(found):5} {len(found) - replaced:11} {replaced:9}")
    print("\n".join(wrong), end="\n" if wrong else "")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
