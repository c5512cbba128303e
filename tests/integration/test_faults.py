"""What an ordinary day does to the pipeline: kills, stops, outages. An oracle counts every sample."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests import log_server, oracle
from tests.fake_vm import FakeVm
from tests.harness import PROCESSES, Pipeline, finish, wait_for

# Longer by hand: `OUTAGE_S=180 make integration`.
OUTAGE_S = float(os.environ.get("OUTAGE_S", "6"))
HANG_S = 2.0


def with_oracle(run_dir: Path, vm: FakeVm, environment: dict[str, str]) -> tuple[Pipeline, Path]:
    """Return a pipeline, not started, with the oracle among its programs, and the oracle's ledger."""
    pipeline = Pipeline(run_dir, vm.import_url, environment)
    ledger = run_dir / "ledger"
    pipeline.add_program("oracle", f"{sys.executable} -m tests.oracle --ledger {ledger}")
    return pipeline, ledger


def stored(pipeline: Pipeline) -> Counter[int]:
    """Count how often each number of the oracle is in the database."""
    rows = pipeline.rows("SELECT metric_value FROM metrics WHERE metric_name = ?", oracle.METRIC)
    return Counter(int(row[0]) for row in rows)


def arrived(vm: FakeVm) -> Counter[int]:
    """Count how often each number of the oracle is visible at the server."""
    name = oracle.METRIC.replace(".", "_")
    return Counter(int(sample.value) for sample in vm.samples(name))


def settle(pipeline: Pipeline, vm: FakeVm, ledger: Path) -> None:
    """Stop the oracle, wait until all of its ledger is at the server, and count."""
    expected = finish(ledger)
    assert expected
    wait_for("everything at the server", lambda: expected <= arrived(vm).keys(), 60)
    assert {number for number, times in stored(pipeline).items() if times != 1} == set()
    assert {number for number, times in arrived(vm).items() if times != 1} == set()
    assert expected - stored(pipeline).keys() == set()


def test_kill_9_of_each_process_loses_and_doubles_nothing(run_dir: Path, vm: FakeVm, quick: dict[str, str]) -> None:
    """Supervisord restarts it, and every published sample is in SQLite once and at the server once."""
    pipeline, ledger = with_oracle(run_dir, vm, quick)
    with pipeline:
        wait_for("all stages", pipeline.all_running)
        for stage in (*PROCESSES, "oracle"):
            wait_for("samples flowing", lambda: len(arrived(vm)) > 100)
            old = pipeline.kill(stage)
            wait_for(f"a new {stage}", lambda stage=stage, old=old: pipeline.pid(stage) not in {0, old})  # type: ignore[misc]
            before = len(arrived(vm))
            wait_for("samples flowing again", lambda before=before: len(arrived(vm)) > before)  # type: ignore[misc]
        settle(pipeline, vm, ledger)


def test_supervisord_killed_alone_leaves_nobody_in_the_way(run_dir: Path, vm: FakeVm, quick: dict[str, str]) -> None:
    """Its orphans end at their next heartbeat, hand over by the spool, and the new tree runs without a false event."""
    pipeline, ledger = with_oracle(run_dir, vm, quick)
    with pipeline:
        wait_for("all stages", pipeline.all_running)
        wait_for("samples flowing", lambda: len(arrived(vm)) > 100)
        pipeline.crash()
        pipeline.start()
        wait_for("all stages", pipeline.all_running)
        settle(pipeline, vm, ledger)
        assert [] == pipeline.rows("SELECT text FROM events WHERE kind LIKE 'process_%'")


def test_server_outage_delays_and_loses_nothing(run_dir: Path, vm: FakeVm, quick: dict[str, str]) -> None:
    """Health goes degraded and back, and what waited arrives in order of priority."""
    pipeline, ledger = with_oracle(run_dir, vm, quick)
    with pipeline:
        wait_for("samples flowing", lambda: arrived(vm))
        wait_for("readiness", lambda: pipeline.health("/health/ready")[0] == 200, 60)
        vm.set_state(down=503)
        began_s = time.monotonic()
        pipeline.wait_blamed("uploader")
        assert (503, "degraded") == (pipeline.health("/health/ready")[0], pipeline.health()[1]["uploader"]["status"])
        wait_for("the outage to pass", lambda: time.monotonic() - began_s > OUTAGE_S, OUTAGE_S + 5)
        vm.set_state(down=None)
        pipeline.wait_cleared("uploader")
        settle(pipeline, vm, ledger)


def test_buffer_stopped_by_the_operator_loses_nothing(run_dir: Path, vm: FakeVm, quick: dict[str, str]) -> None:
    """Producers hold what they have, also across a restart of their own, and send it when it is back."""
    pipeline, ledger = with_oracle(run_dir, vm, quick)
    with pipeline:
        wait_for("samples flowing", lambda: arrived(vm))
        pipeline.ask("stopProcess", "buffer")
        began_s = time.monotonic()
        pipeline.wait_status("error")
        published = len(oracle.published(ledger))
        pipeline.kill("oracle")
        wait_for("more samples", lambda: len(oracle.published(ledger)) > published + 100)
        pipeline.supervisorctl("restart", "oracle")
        wait_for("the outage to pass", lambda: time.monotonic() - began_s > OUTAGE_S, OUTAGE_S + 5)
        pipeline.ask("startProcess", "buffer")
        pipeline.wait_cleared("buffer")
        settle(pipeline, vm, ledger)


def test_a_process_that_hangs_and_goes_on_loses_nothing(run_dir: Path, vm: FakeVm, quick: dict[str, str]) -> None:
    """SIGSTOP to one after the other for ten commits, then SIGCONT: only time is lost."""
    pipeline, ledger = with_oracle(run_dir, vm, {**quick, "BELABOX_HEALTH__WATCHDOG": "false"})
    with pipeline:
        for stage in ("buffer", "shipper", "healthd", "oracle"):
            before = len(arrived(vm))
            wait_for("samples flowing", lambda before=before: len(arrived(vm)) > before + 50)  # type: ignore[misc]
            pid = pipeline.kill(stage, signal.SIGSTOP)
            began_s = time.monotonic()
            wait_for("the hang to pass", lambda began_s=began_s: time.monotonic() - began_s > HANG_S)  # type: ignore[misc]
            os.kill(pid, signal.SIGCONT)
        settle(pipeline, vm, ledger)


def test_a_process_that_hangs_for_good_is_restarted(run_dir: Path, vm: FakeVm, quick: dict[str, str]) -> None:
    """The watchdog ends it within four of its intervals, says so, and nothing is lost.

    Long because it kills nobody before it was silent for three heartbeats and idle for two seconds, and that twice.
    """
    pipeline, ledger = with_oracle(run_dir, vm, {**quick, "BELABOX_RUN__HEARTBEAT_INTERVAL": "1s"})
    with pipeline:
        wait_for("samples flowing", lambda: len(arrived(vm)) > 50)
        hang_for_good(pipeline, "buffer")
        hang_for_good(pipeline, "shipper", "collectors:system")
        for name in ("buffer", "shipper", "system"):
            pipeline.wait_cleared(name)
        settle(pipeline, vm, ledger)


def hang_for_good(pipeline: Pipeline, *stages: str) -> None:
    """Stop processes that have reported themselves; wait until others are in their places, and it is told."""
    names = {stage: stage.rpartition(":")[2] for stage in stages}
    for name in names.values():
        heard = f'restarts_total{{program="{name}"}}'
        wait_for(f"a heartbeat of {name}", lambda heard=heard: heard in pipeline.get("/metrics")[1])  # type: ignore[misc]
    old, began_s = {stage: pipeline.kill(stage, signal.SIGSTOP) for stage in stages}, time.monotonic()
    for stage, name in names.items():
        wait_for(f"another {stage}", lambda stage=stage: pipeline.pid(stage) not in {0, old[stage]})  # type: ignore[misc]
        print(f"{stage} was replaced {time.monotonic() - began_s:.1f} s after it hung")
        query = f"SELECT kind FROM events WHERE text LIKE '{name} %'"
        both = {("process_hung",), ("process_back",)}
        wait_for(f"{name}'s events", lambda both=both, query=query: both <= set(pipeline.rows(query)))  # type: ignore[misc]


def test_server_that_fails_in_every_way_gets_every_sample_once(
    run_dir: Path, vm: FakeVm, quick: dict[str, str]
) -> None:
    """Errors, resets, cut bodies, captive portals, lost answers: only retries, nothing lost, nothing visible twice."""
    pipeline, ledger = with_oracle(run_dir, vm, quick)
    with pipeline:
        wait_for("samples flowing", lambda: arrived(vm))
        faults: list[dict[str, Any]] = [
            {"status": 500},
            {"status": 503, "headers": {"Retry-After": "1"}},
            {"reset": "before"},
            {"reset": "mid_body"},
            {"drop": "after_store"},
            {"html": True},
            {"redirect": "http://127.0.0.1:1/"},
            {"status": 429},
            {"status": 413},
            {"delay_s": 1},
            {"status": 408},
            {"status": 200, "json": {"received": 3}, "accept": 3},
        ]
        vm.script(faults)
        wait_for("the script to end", lambda: vm.steps_left == 0, 90)
        settle(pipeline, vm, ledger)


def test_logs_and_health_do_not_hold_the_token(run_dir: Path, quick: dict[str, str]) -> None:
    """A token from a 0600 file authorises the upload and appears nowhere else."""
    secret = "t0ken-5f1c9"
    token_file = run_dir / "token"
    token_file.write_text(secret + "\n", encoding="ascii")
    token_file.chmod(0o600)
    environment = {
        **quick,
        "BELABOX_REMOTE__AUTH__TYPE": "bearer_token",
        "BELABOX_REMOTE__AUTH__TOKEN_FILE": str(token_file),
        "BELABOX_LOGGING__LEVEL": "debug",
    }
    with FakeVm(token=secret) as vm, Pipeline(run_dir, vm.import_url, environment) as pipeline:
        wait_for("samples at the server", vm.samples)
        health = wait_for("health", lambda: pipeline.health()[1])
        assert secret not in json.dumps(health)
        assert secret not in pipeline.get("/metrics")[1]
        assert [path for path in (run_dir / "log").iterdir() if secret in path.read_text(encoding="utf-8")] == []
        assert pipeline.rows("SELECT count(*) FROM metrics WHERE tags LIKE ?", f"%{secret}%") == [(0,)]


def test_events_reach_the_server_for_logs(run_dir: Path, vm: FakeVm, quick: dict[str, str]) -> None:
    """In words, in order, none missing, over kills; one that a kill had sent twice counts once."""
    with log_server.running() as logs:
        events = {"BELABOX_REMOTE__EVENTS__URL": logs.url}
        with Pipeline(run_dir, vm.import_url, {**quick, **events}) as pipeline:
            wait_for("all stages", pipeline.all_running)
            for program in ("collectors:network", "shipper", "buffer", "collectors:system"):
                pipeline.kill(program)
                wait_for("all stages", pipeline.all_running)
            texts = "SELECT id, text FROM events ORDER BY id"
            wait_for("events", lambda: len(pipeline.rows(texts)) > 2)
            wait_for("every event", lambda: told(logs) == [text for _, text in pipeline.rows(texts)], 60)
            assert {"_time", "device_id", "kind", "severity", "source"} <= logs.lines[0].keys()


def told(logs: log_server.LogServer) -> list[str]:
    """Return the texts that a server for logs has, each line once."""
    return [text for _, text in dict.fromkeys((line["_time"], line["_msg"]) for line in logs.lines)]
