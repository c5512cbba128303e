"""What the requirement documents print to be typed works here, or the answer sheet says what does instead, and why."""

from __future__ import annotations

import re

from common import catalog
from deploy.command.main import COMMANDS
from tests import documents
from tests.documents import Row
from tests.harness import ROOT

REPLACED = [row for row in documents.rows() if row.why]
FUNCTIONS = {"device_id", "avg_over_time", "max_over_time"}


def read(path: str) -> str:
    """Return a file of the tree."""
    return (ROOT / path).read_text(encoding="utf-8")


def test_every_replaced_one_has_its_reason_on_the_answer_sheet() -> None:
    """By the first cell of a row of its last table; each says what does it here."""
    sheet = read("docs/acceptance.md").partition("## What is otherwise, and why")[2]
    reasons = {line.split("|")[1].strip() for line in sheet.splitlines() if line.startswith("|")}
    assert len(REPLACED) > 40
    assert [] == [row for row in REPLACED if row.why not in reasons or not row.here]


def test_every_command_that_replaces_one_exists() -> None:
    """A make target, a command of belabox-metrics, a file of the tree, or a unit."""
    targets = set(re.findall(r"(?m)^([a-z-]+):", read("Makefile")))
    known = {f"make {name}" for name in targets} | {f"belabox-metrics {name}" for name in COMMANDS}
    named = (
        re.search(r"(make|belabox-metrics) [a-z-]+|deploy/\S+|[a-z-]+$", row.here)
        for row in REPLACED
        if is_command(row)
    )
    found = {it[0] for it in named if it}
    assert [] == sorted(name for name in found - known - {"belabox-metrics", "api-token"} if not (ROOT / name).exists())


def is_command(row: Row) -> bool:
    """Return whether a row is typed at a shell."""
    return row.kind == "command"


def test_every_query_is_of_metrics_that_exist() -> None:
    """As the server has their names."""
    known = {metric.export for metric in catalog.METRICS.values()} | FUNCTIONS
    plain = {row.here: set(re.findall(r"[a-z]+_[a-z0-9_]+", re.sub(r'"[^"]*"', "", row.here))) for row in queries()}
    assert {} == {query: names - known for query, names in plain.items() if names - known}


def queries() -> list[Row]:
    """Return the queries."""
    return documents.rows("promql")


def test_the_unit_has_every_line_that_is_as_written() -> None:
    """And every line that takes the place of another."""
    unit = read("deploy/systemd/belabox-metrics.service").splitlines()
    assert [] == [row.here for row in documents.rows("unit") if row.here not in unit]


DOCUMENT = """
Look with `curl http://h/` or `top`.

```bash
# the first
make run
sudo x
```

```promql
# one
a.b{c="d"}
# two
rate(x[1m]) +
rate(y[1m])  # of both
```

```sql
CREATE TABLE t (
    id INTEGER PRIMARY KEY,
    text TEXT -- a comment
);
CREATE INDEX IF NOT EXISTS i ON t(id);
```

```ini
[Service]
# why
Type=simple
Description=words
```

```yaml
remote: {upload: {interval: 30s}}
metrics:
  - name: cpu.usage
    interval: 3s
```

```yaml
services: {}
```
"""


def test_all_that_is_printed_is_cut_out() -> None:
    """Comments are not; a query of two lines is one, a table is its columns."""
    assert [
        ("command", "make run"), ("command", "sudo x"),
        ("promql", 'a.b{c="d"}'), ("promql", "rate(x[1m]) + rate(y[1m])"),
        ("column", "t.id"), ("column", "t.text"), ("column", "i"),
        ("unit", "Type=simple"),
        ("key", "remote.upload.interval"), ("key", "metrics[cpu.usage].interval"),
        ("command", "curl http://h/"),
    ] == list(documents.cut(DOCUMENT))  # fmt: skip
