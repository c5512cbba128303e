"""Every panel, documented query and required metric has data: the real server, fed by a stream that is played."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import time
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest

from common import catalog
from deploy.grafana.__main__ import files
from deploy.grafana.boards import DASHBOARDS
from tests import documents, requirements_page
from tests.chaos.server import RealServer
from tests.harness import ROOT, Pipeline, require, wait_for

INSTANTS = 20
TOGETHER = 100  # of 16 KiB, which a query may be long
TYPES = ROOT / "tests/browser/node_modules"
# An enumeration of TypeScript takes no plain text. A mark's `expr` belongs to the data source, not to the schema.
SCHEMA = """import type { Dashboard } from "@grafana/schema";
type Plain<T> = T extends string ? `${T}` : T extends (infer U)[] ? Plain<U>[]
  : T extends object ? { [K in keyof T]: Plain<T[K]> } : T;
"""


def documented() -> list[str]:
    """Return the queries of docs/victoriametrics.md."""
    text = (ROOT / "docs/victoriametrics.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```promql\n(.*?)```", text, re.DOTALL)
    lines = [line.strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def panels() -> list[str]:
    """Return the queries of every dashboard that VictoriaMetrics answers."""
    shown = [panel for board in DASHBOARDS for panel in board.panels if panel.kind != "logs"]
    found = [query.expr for panel in shown for query in panel.queries]
    return [*found, *(board.marks for board in DASHBOARDS if board.marks)]


def test_the_committed_files_are_what_the_table_gives() -> None:
    """`python -m deploy.grafana` writes them anew."""
    for path, text in files().items():
        assert text == path.read_text(encoding="utf-8"), path.name


@pytest.mark.parametrize("expr", sorted({*panels(), *documented()}))
def test_every_name_is_in_the_catalogue(expr: str) -> None:
    """A metric that is called otherwise by now would be an empty panel."""
    known = {row.export for row in catalog.METRICS.values()} | {"device_id"}
    plain = re.sub(r'"[^"]*"', '""', expr)
    names = {name for name in re.findall(r"[a-z_][a-z0-9_]*", plain) if "_" in name}
    functions = {
        "max_over_time",
        "avg_over_time",
        "quantile_over_time",
        "tlast_over_time",
        "tfirst_over_time",
        "group_left",
        "vector",
        "topk_max",
        "bottomk_min",
    }
    suffixed = {f"{row.export}{suffix}" for row in catalog.METRICS.values() for suffix in ("_bucket", "_sum", "_count")}
    labels = {label for row in catalog.METRICS.values() for label in row.labels}
    assert names - known - functions - suffixed - labels == set()


def test_grafana_s_own_schema_takes_the_dashboards(tmp_path: Path) -> None:
    """Every field is one that Grafana knows, with a value that it allows; so says its package for TypeScript."""
    if not (TYPES / "@grafana/schema").exists():
        message = f"{TYPES}/@grafana/schema is not there (`make test` installs it where there is npm): NOT TESTED"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    (tmp_path / "node_modules").symlink_to(TYPES)
    for path, text in files().items():
        code = f"{SCHEMA}export const board: Plain<Dashboard> = {text};\n"
        (tmp_path / f"{path.stem}.ts").write_text(code, encoding="utf-8")
    compiler = [require("node"), str(TYPES / "typescript/bin/tsc"), "--noEmit", "--strict", "--skipLibCheck"]
    done = subprocess.run(
        [*compiler, "--module", "esnext", "--moduleResolution", "bundler", *map(str, tmp_path.glob("*.ts"))],
        capture_output=True, text=True, check=False, timeout=120, cwd=tmp_path,
    )  # fmt: skip
    assert [] == [line for line in done.stdout.splitlines() if """'"expr"' does not exist""" not in line]


def required() -> list[str]:
    """Return what docs/requirements.md says the demo shows to this user, as the server calls it."""
    shown = {"yes", *(["yes, as root"] if os.geteuid() == 0 else [])}
    names = {name for row in requirements_page.rows() if row.demo in shown for name in row.metrics}
    return [catalog.METRICS[name].export for name in sorted(names)]


def demanded() -> list[str]:
    """Return the queries of the requirement documents, as the server has them; of an alert, what it looks at."""
    here = [re.sub(r" [<>] [\d.*]+$", "", row.here) for row in documents.rows("promql")]
    return [expr.replace("belabox-001", "played") for expr in here]


def without_data(url: str, queries: list[str]) -> set[str]:
    """Return those of the queries that give nothing at this instant: as many in one as the server takes."""
    if len(queries) > TOGETHER:
        return without_data(url, queries[:TOGETHER]) | without_data(url, queries[TOGETHER:])
    numbered = [f'label_set(({expr}), "query", "{number}")' for number, expr in enumerate(queries)]
    body = urlencode({"query": f"union({', '.join(numbered)})", "nocache": "1"}).encode()
    try:
        with urlopen(f"{url}/api/v1/query", body, timeout=20) as answer:
            given = {int(series["metric"]["query"]) for series in json.load(answer)["data"]["result"]}
    except HTTPError as error:
        with error:
            pytest.fail(error.read().decode())
    return {expr for number, expr in enumerate(queries) if number not in given}


def test_every_query_has_data(run_dir: Path, server: RealServer, quick: dict[str, str]) -> None:
    """Within the first minutes of a stream on which a link is lost; a documented one then at whatever instant.

    Long because some queries look at what the uploads and the audit of a first minute leave.
    """
    cue = run_dir / "cue"
    environment = {**quick, "DEMO": f"--cue {cue}", "BELABOX_DEVICE__ID": "played"}
    steady = sorted({*documented(), *demanded()})
    queries = [expr.replace("$device", "played") for expr in {*panels(), *steady, *required()}]
    waiting: set[str] = set(queries)
    cue.write_text("stop", encoding="ascii")
    with Pipeline(run_dir / "p", f"{server.url}/api/v1/import", environment) as pipeline:
        wait_for("all processes", pipeline.all_running, 60)
        cue.write_text("", encoding="ascii")  # the stream begins when everybody looks, its handshake is seen
        wait_for("the stream", lambda: not without_data(server.url, ["srt_rtt_ms"]), 60)
        cue.write_text("link", encoding="ascii")

        def all_have() -> bool:
            waiting.intersection_update(without_data(server.url, sorted(waiting)))
            return not waiting

        try:
            wait_for("data for every query", all_have, 100)
            for _ in range(INSTANTS):
                time.sleep(random.uniform(0.0, 0.3))
                assert set() == without_data(server.url, steady)
        finally:
            print(f"{len(queries)} queries; without data: {waiting}")
