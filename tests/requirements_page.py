"""docs/requirements.md as rows: what is asked for, the metrics that answer it, and whether the demo shows them."""

from __future__ import annotations

import re
from typing import NamedTuple

from tests.harness import ROOT

COLUMNS = 5


class Requirement(NamedTuple):
    """One row.

    Attributes:
        cells: as written.
        metrics: their stored names.
        demo: the last cell: yes, or why not.
    """

    cells: list[str]
    metrics: list[str]
    demo: str


def rows() -> list[Requirement]:
    """Return the rows of all tables, without their heads."""
    page = (ROOT / "docs/requirements.md").read_text(encoding="utf-8")
    split = ([cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if "|" in line)
    told = [cells for cells in split if cells[0] not in {"item", "---"}]
    return [Requirement(cells, re.findall(r"`([a-z_]+\.?[a-z0-9_]+)[`{]", cells[1]), cells[-1]) for cells in told]
