"""What the two requirement documents print to be typed: commands, queries, schema, unit, configuration.

`python -m tests.documents PRD.md MILESTONE-2.md` compares them with what is known of them.

Reads: the documents, which are not part of this tree, and `tests/fixtures/documents.yaml`, which has all that was cut
    out of them; `tests/fixtures/config/`, which has their configuration files.
Emits: a table: rows, as written, replaced. A replaced one names its row of docs/acceptance.md, which has the reason.
Fails: exit 1 with what a document has and the fixture has not, or the other way round.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from common import catalog
from common import documents as spellings
from tests.harness import ROOT

FIXTURE = ROOT / "tests/fixtures/documents.yaml"
CONFIGURATIONS = ROOT / "tests/fixtures/config"
COMMAND = re.compile(r"sudo |sqlite3 |curl .*http|journalctl |systemctl |docker ps|ls |date ")
TEXTS = ("Description=", "Documentation=")
DOTS = "MILESTONE-2, names with dots in its PromQL"
SPELT = "both, keys of their configuration files"


class Row(NamedTuple):
    """One thing that a document prints.

    Attributes:
        kind: command, promql, column, unit or key.
        text: as printed.
        here: what does it here; the text itself where that works.
        why: the first cell of its row of the answer sheet; "" for what works as written.
    """

    kind: str
    text: str
    here: str
    why: str


def rows(kind: str = "") -> list[Row]:
    """Return the rows of the fixtures, of one kind or of all."""
    found = yaml.safe_load(FIXTURE.read_text(encoding="utf-8"))
    listed = [_row(name, entry) for name, entries in found.items() for entry in entries]
    files = (file.read_text(encoding="utf-8") for file in sorted(CONFIGURATIONS.glob("*.yaml")))
    keys = dict.fromkeys(key for text in files for key in _keys(text))
    return [row for row in (*listed, *map(_key_row, keys)) if kind in {"", row.kind}]


def _row(kind: str, entry: str | dict[str, str]) -> Row:
    if isinstance(entry, dict):
        return Row(kind, entry["text"], entry.get("here", ""), entry["why"])
    here = exported(entry) if kind == "promql" else entry
    return Row(kind, entry, here, "" if here == entry else DOTS)


def _key_row(key: str) -> Row:
    """Return the row of a configuration key, by what the configuration's own reader makes of it."""
    section, name, inner = re.fullmatch(r"([\w.]+)(?:\[([\w.]+)\](.*))?", key).groups()  # type: ignore[union-attr]
    if name:
        sources = spellings.COLLECTOR_NAMES.get(name, (name,))
        return Row(
            "key", key, ", ".join(f"collectors.{source}{inner.replace('.config', '')}" for source in sources), SPELT
        )
    if section in spellings.MOVED:
        return Row("key", key, spellings.MOVED[section].new, SPELT)
    fixed = spellings.FIXED.get(section)
    return Row("key", key, fixed.why if fixed else key, SPELT if fixed else "")


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


def _keys(block: str) -> Iterator[str]:
    """Yield the path of each value of a configuration; entries of a list by their names."""
    tree = yaml.safe_load(block)
    return _leaves("", {} if "services" in tree else tree)  # that is a file of docker compose


def _leaves(path: str, node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for name, inner in node.items():
            yield from _leaves(f"{path}.{name}" if path else name, inner)
    elif isinstance(node, list) and all(isinstance(entry, dict) for entry in node):
        for entry in node:
            yield from _leaves(f"{path}[{entry['name']}]", {key: entry[key] for key in entry if key != "name"})
    else:
        yield path


def _settings(block: str) -> Iterator[str]:
    return (line for line in _lines(block) if re.match(r"[A-Z]\w+=", line) and not line.startswith(TEXTS))


CUTTERS: dict[str, tuple[str, Callable[[str], Iterator[str]]]] = {
    "bash": ("command", _lines),
    "promql": ("promql", _queries),
    "sql": ("column", _columns),
    "ini": ("unit", _settings),
    "yaml": ("key", _keys),
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
