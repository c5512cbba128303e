"""The whole pipeline on a healthy day: from /proc to the server, as `make run` starts it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from itertools import count
from pathlib import Path
from urllib.parse import quote
from urllib.request import urlopen

import pytest

from common import catalog
from tests import documents
from tests.harness import COLLECTORS, PROCESSES, ROOT, Pipeline, require, wait_for

# One metric of each collector that the recorded board has something for.
PROOF = {
    "cpu": "system_load1",
    "memory": "memory_used_bytes",
    "disk": "filesystem_size_bytes",
    "network": "network_rx_bytes_total",
    "thermal": "cpu_temperature_celsius",
    "accelerator": "gpu_frequency_hertz",
    "encoder": "encoder_bitrate_bits_per_second",
    "power": "power_online",
}
NOT_HERE = ("cd ", "docker ", "sudo ")  # without effect, without an engine, the system's own
ARRIVAL_S = 90.0  # a tenth of it on a free machine
BOARD = ROOT / "tests" / "fixtures" / "opi5plus" / "vendor-6.1.43" / "1"


_asked = count()


def query(server: str, promql: str) -> list[dict[str, object]]:
    """Return the result of an instant query, [] while the server cannot answer.

    Each has a filter that is new to the server: what a filter has matched it remembers, as long as no series is new.
    """
    new = quote(f'{{asked!="{next(_asked)}"}}')
    try:
        with urlopen(f"{server}/api/v1/query?query={quote(promql)}&extra_filters[]={new}", timeout=5) as answer:
            result: list[dict[str, object]] = json.load(answer)["data"]["result"]
            return result
    except OSError:
        return []


def server_of(pipeline: Pipeline) -> str:
    """Return the address of the server that run.sh started."""
    text = (pipeline.run_dir / "run.out").read_text(encoding="utf-8")
    found = re.search(r"http://127\.0\.0\.1:\d+", text)
    assert found, text
    return found[0]


@pytest.mark.parametrize("server_kind", ["victoria-metrics", "bundled"])
def test_samples_of_every_collector_reach_the_server(run_dir: Path, server_kind: str, quick: dict[str, str]) -> None:
    """From a start with nothing, with the real server by the default configuration; how long it took is printed.

    Long with the real server because its intervals are those of a device: half a minute between two uploads.
    """
    if server_kind == "victoria-metrics":
        require("victoria-metrics")
    began_s = time.monotonic()
    settings = quick if server_kind == "bundled" else {}
    with Pipeline(run_dir, environment={**settings, "SERVER": server_kind, "HOST_ROOT": str(BOARD)}) as pipeline:
        server = server_of(pipeline)
        first = ""
        missing = set(PROOF.values())
        while missing and time.monotonic() - began_s < ARRIVAL_S:
            arrived = {name for name in missing if query(server, name)}
            if arrived and not first:
                first = f"{time.monotonic() - began_s:.1f} s"
            missing -= arrived
            time.sleep(0.2)
        print(f"{server_kind}: first sample after {first}, all after {time.monotonic() - began_s:.1f} s")
        assert missing == set()
        assert pipeline.stop() == 0
    assert not (run_dir / "supervisor.sock").exists()


def typed(pipeline: Pipeline, server: str) -> list[str]:
    """Return the commands that the requirement documents print and that work as written, with this run's places."""
    health = (pipeline.run_dir / "healthd.address").read_text(encoding="ascii").strip()
    places = {
        "localhost:9100": health, "http://localhost:8428": server,
        "/var/lib/belabox-metrics/active/metrics.db": str(pipeline.database), " metrics.db": f" {pipeline.database}",
        "/var/lib/belabox-metrics/metrics.db": str(pipeline.database),
    }  # fmt: skip
    commands = [row.text for row in documents.rows("command") if not row.why and not row.text.startswith(NOT_HERE)]
    assert len(commands) > 10
    for program in ("curl", "jq", "sqlite3"):
        require(program)
    for printed, here in places.items():
        commands = [command.replace(printed, here) for command in commands]
    return commands


def test_documented_promql_answers_on_a_real_server(run_dir: Path, quick: dict[str, str]) -> None:
    """Every query of docs/victoriametrics.md returns data, and every command of the requirement documents works."""
    require("victoria-metrics")
    page = (ROOT / "docs" / "victoriametrics.md").read_text(encoding="utf-8")
    block = re.search(r"```promql\n(.*?)```", page, re.DOTALL)
    assert block
    with Pipeline(run_dir, environment={**quick, "SERVER": "victoria-metrics"}) as pipeline:
        server = server_of(pipeline)
        for promql in block[1].splitlines():
            wait_for(f"an answer to {promql}", lambda promql=promql: query(server, promql), 60)  # type: ignore[misc]
        for command in typed(pipeline, server):
            done = subprocess.run(["/bin/sh", "-ec", command], capture_output=True, text=True, timeout=30, check=False)
            assert (0, True) == (done.returncode, bool(done.stdout)), (command, done.stderr)
        names = json.load(urlopen(f"{server}/api/v1/label/__name__/values", timeout=5))["data"]
        known = {catalog.find(metric.name).export for metric in catalog.METRICS.values()}
        histograms = {m.export + s for m in catalog.METRICS.values() for s in catalog.HISTOGRAM_SUFFIXES}
        assert set(names) - known - histograms == set()


AFTER = {"stop": "STOPPED", "start": "RUNNING", "restart": "RUNNING"}


def test_every_recipe_of_the_operator_works(run_dir: Path, quick: dict[str, str]) -> None:
    """Each line of docs/operating.md, in order, does what it says; what is stopped is told, and logs are by process.

    Long because supervisord calls a process started after a second, and eleven processes are restarted in turn.
    """
    page = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
    recipes = re.findall(r"^    supervisorctl (.*)$", page, re.MULTILINE)
    assert len(recipes) > 12
    with Pipeline(run_dir, environment={**quick, "SERVER": "bundled"}) as pipeline:
        wait_for("all stages", pipeline.all_running)
        for recipe in recipes:
            (action, *names), old = recipe.split(), pipeline.pids()
            said = pipeline.supervisorctl(action, *names)
            assert not re.search(r"ERROR \((?!already started)|^error|Unknown|no such", said), (recipe, said)
            for name in names if action in AFTER else ():
                assert AFTER[action] == pipeline.states().get(name, AFTER[action]), recipe  # of a whole group: no name
                assert action != "restart" or old[name] != pipeline.pid(name), recipe
        wait_for("all stages", pipeline.all_running)
        assert '"msg": "started"' in pipeline.supervisorctl("tail", "-100000", "shipper")
        pipeline.ask("stopProcess", "collectors:system")
        pipeline.wait_blamed("system")
        assert "ok" != pipeline.health()[1]["status"]
        pipeline.ask("startProcess", "collectors:system")
        pipeline.wait_cleared("system")
        logs = {path.stem for path in (run_dir / "log").glob("*.log")}
        assert logs >= {"supervisord", "buffer", "shipper", "healthd", *COLLECTORS}
        assert pipeline.stop() == 0


def test_run_directory_is_private_and_for_one_run(run_dir: Path, quick: dict[str, str]) -> None:
    """Nobody else can reach a socket, the spool, the database or a log; a second run says how to end the first."""
    with Pipeline(run_dir, environment={**quick, "SERVER": "none"}) as pipeline:
        wait_for("all stages", pipeline.all_running)
        wait_for("the database", pipeline.database.exists)
        assert oct(0o700) == oct(run_dir.stat().st_mode & 0o777)
        exposed = [path for path in run_dir.rglob("*") if path.lstat().st_mode & 0o077 and path.name != "run.out"]
        assert exposed == []
        done = subprocess.run(
            [str(ROOT / "deploy" / "run.sh")],
            env={"PATH": "/usr/bin:/bin", "RUN_DIR": str(run_dir), "PYTHON": sys.executable},
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert done.returncode == 75
        assert "already running" in done.stderr
        assert pipeline.all_running()


def test_bad_configuration_starts_nothing(run_dir: Path) -> None:
    """Every error is named with its key path, and the exit code is 78."""
    config = run_dir / "bad.yaml"
    config.write_text(
        "remote:\n  url: nowhere\n  urll: x\nstorage:\n  commit_interval: 5\n  commit_interval: 5s\n"
        "collectors:\n  network:\n    exclude_ifaces: ['(']\nhealth:\n  port: 99999\n",
        encoding="utf-8",
    )
    done = subprocess.run(
        [str(ROOT / "deploy" / "run.sh")],
        env={"PATH": "/usr/bin:/bin", "RUN_DIR": str(run_dir / "r"), "PYTHON": sys.executable, "CONFIG": str(config)},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 78
    for path in (
        "remote.url",
        "remote.urll",
        "storage.commit_interval",
        "collectors.network.exclude_ifaces",
        "health.port",
    ):
        assert f"{path}:" in done.stderr or f"{path} " in done.stderr, done.stderr


def test_reload_takes_a_good_file_and_refuses_a_bad_one(run_dir: Path, quick: dict[str, str]) -> None:
    """SIGHUP to every process: a bad file changes nothing anywhere, a good one is taken without a restart."""
    environment = {key: value for key, value in quick.items() if "MEMORY" not in key}
    run_dir.joinpath("config.yaml").write_text(
        f"storage:\n  path: {run_dir}/metrics.db\ncollectors:\n  memory:\n    interval: 30s\n", encoding="utf-8"
    )
    with Pipeline(run_dir, environment={**environment, "SERVER": "none"}) as pipeline:
        wait_for("all stages", pipeline.all_running)
        wait_for("a first collect", lambda: memory_collects(pipeline) == 1)
        pids = {stage: pipeline.pid(stage) for stage in PROCESSES}
        text = (run_dir / "config.yaml").read_text(encoding="utf-8")
        (run_dir / "config.yaml").write_text(text.replace("30s", "soon"), encoding="utf-8")
        pipeline.supervisorctl("signal", "HUP", "all")
        wait_for("the refusal", lambda: "reload refused" in pipeline.log("system"))
        assert "collectors.memory.interval" in pipeline.log("system")
        (run_dir / "config.yaml").write_text(text.replace("30s", "500ms"), encoding="utf-8")
        pipeline.supervisorctl("signal", "HUP", "all")
        wait_for("more collects", lambda: memory_collects(pipeline) > 3)
        assert pids == {stage: pipeline.pid(stage) for stage in PROCESSES}


def memory_collects(pipeline: Pipeline) -> int:
    """Count the stored collects of the source memory."""
    rows = pipeline.rows("SELECT count(*) FROM metrics WHERE metric_name = 'memory.total_bytes'")
    return int(rows[0][0]) if rows else 0
