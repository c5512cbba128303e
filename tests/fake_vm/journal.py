"""The file behind `--data`: one JSON line per stored sample.

In: parsed lines as they are stored.
Out: the same lines at the next start. A file cut short by a kill loads up to the
cut; a line that does not parse is skipped and counted.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from tests.fake_vm.imports import Line
from tests.fake_vm.store import NAME

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.fake_vm.imports import Labels
    from tests.fake_vm.store import Store


class Journal:
    """An append-only file of samples; opened by `load`, which must come first."""

    def __init__(self, path: str | Path) -> None:
        """Remember the path; nothing is opened yet."""
        self._path = Path(path)
        self.skipped = 0

    def load(self, store: Store) -> None:
        """Fill the store, and end the file after its last whole line."""
        self._path.touch()
        whole = 0
        with self._path.open("rb") as file:
            for raw in file:
                if not raw.endswith(b"\n"):
                    break
                whole += len(raw)
                self._load_line(raw, store)
        with self._path.open("r+b") as file:
            file.truncate(whole)

    def append(self, lines: Iterable[Line], received_s: float) -> None:
        """Write all samples of the lines; they survive a kill, not a power cut."""
        with self._path.open("a", encoding="ascii") as file:
            for line in lines:
                head = _head(line.labels)
                for timestamp, value in zip(line.timestamps, line.values, strict=True):
                    file.write(_tail(head, timestamp, value, received_s))

    def rewrite(self, store: Store) -> None:
        """Make the file hold exactly what the store holds."""
        with store.lock, self._path.open("w", encoding="ascii") as file:
            for series in store.select(lambda _: True):
                head = _head(tuple(series.labels.items()))
                for row in series.receipts():
                    file.write(_tail(head, *row))

    def _load_line(self, raw: bytes, store: Store) -> None:
        try:
            row = json.loads(raw)
            labels = {**row["labels"], **({NAME: row["name"]} if row["name"] else {})}
            key = tuple(sorted(labels.items()))
            line = Line(key, [int(row["timestamp_ms"])], [float(row["value"])])
            received_s = float(row["received_s"])
        except (ValueError, KeyError, TypeError):
            self.skipped += 1
        else:
            store.add([line], received_s)


def _head(labels: Labels) -> str:
    others = {k: v for k, v in labels if k != NAME}
    name = dict(labels).get(NAME, "")
    return f'{{"name":{json.dumps(name)},"labels":{json.dumps(others)},'


def _tail(head: str, timestamp: int, value: float, received_s: float) -> str:
    number = json.dumps(value)  # writes Infinity, which json.loads takes back
    return f'{head}"timestamp_ms":{timestamp},"value":{number},"received_s":{received_s:.6f}}}\n'
