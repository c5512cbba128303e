"""A 2xx is not proof: what a server acknowledged and does not have is found and sent again."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from tests import oracle
from tests.chaos.server import RealServer
from tests.fake_vm import FakeVm
from tests.harness import Pipeline, finish, wait_for
from tests.integration.test_faults import arrived, with_oracle


@pytest.fixture
def hasty(quick: dict[str, str]) -> dict[str, str]:
    """Give settings with which a span is audited as soon as it is over."""
    return {**quick, "BELABOX_REMOTE__AUDIT__GRACE": "1s"}


def test_server_that_accepts_and_forgets_gets_everything_again(run_dir: Path, hasty: dict[str, str]) -> None:
    """204 and nothing stored for a while: the audit finds the span, and all of it arrives."""
    with FakeVm() as vm:
        pipeline = Pipeline(run_dir, vm.import_url, hasty)
        ledger = run_dir / "ledger"
        # Dated ten minutes back, so that their span is over at once.
        pipeline.add_program("oracle", f"{sys.executable} -m tests.oracle --age 600 --ledger {ledger}")
        vm.script([{"swallow": True, "repeat": -1}])
        with pipeline:
            uploaded = "SELECT 1 FROM metrics WHERE metric_name = ? AND uploaded = 1 LIMIT 1"
            wait_for("samples that are swallowed", lambda: pipeline.rows(uploaded, oracle.METRIC))
            vm.script([])
            expected = finish(ledger)
            wait_for("everything at the server", lambda: expected <= arrived(vm).keys(), 60)
            assert "missing at the server, sent again" in pipeline.log("buffer")
            wait_for("an event", lambda: pipeline.rows("SELECT text FROM events WHERE kind = 'samples_missing'"))
            query = "SELECT count(*) FROM windows WHERE state != 1 AND start_ms < (SELECT max(start_ms) FROM windows)"
            wait_for("the span to be verified", lambda: pipeline.rows(query) == [(0,)])
            assert {number for number, times in arrived(vm).items() if times != 1} == set()


def test_server_that_only_takes_uploads_is_said_to_be_unverifiable(run_dir: Path, hasty: dict[str, str]) -> None:
    """Where queries are refused, health says that nothing can be verified, and uploads go on."""
    with FakeVm() as vm:
        refusing = {**hasty, "BELABOX_REMOTE__AUDIT__QUERY_URL": f"{vm.url}/nothing/here"}
        pipeline = Pipeline(run_dir, vm.import_url, refusing)
        pipeline.add_program("oracle", f"{sys.executable} -m tests.oracle --age 600 --ledger {run_dir / 'ledger'}")
        with pipeline:
            wait_for("samples flowing", lambda: arrived(vm))
            finish(run_dir / "ledger")  # the span of its samples is over now
            wait_for(
                "health to say so", lambda: "not possible" in str(pipeline.health()[1]["uploader"].get("audit")), 60
            )
            reasons = [reason["text"] for reason in pipeline.health()[1]["reasons"] if reason["part"] != "oracle"]
            assert [] == [text for text in reasons if "samples due" not in text]  # a busy machine has those


def test_real_server_killed_after_its_acknowledgement_gets_its_last_seconds_again(
    run_dir: Path, server: RealServer, quick: dict[str, str]
) -> None:
    """victoria-metrics keeps its newest samples in memory; after kill -9 they are sent again."""
    pipeline = Pipeline(run_dir / "p", f"{server.url}/api/v1/import", quick)
    ledger = run_dir / "p" / "ledger"
    pipeline.add_program("oracle", f"{sys.executable} -m tests.oracle --ledger {ledger}")
    name = oracle.METRIC.replace(".", "_")
    with pipeline:
        wait_for("samples flowing", lambda: len(server.values(name)) > 200)
        server.kill(signal.SIGKILL)
        server.start()
        expected = finish(ledger)
        wait_for("everything at the server", lambda: expected <= server.values(name).keys(), 60)
        assert "the server was restarted" in pipeline.log("buffer")
        assert {number for number, times in server.values(name).items() if times != 1} == set()


def is_verified(pipeline: Pipeline, numbers: set[int]) -> bool:
    """Return whether these numbers of the oracle are marked uploaded, and no window of theirs is still to be audited.

    A window is verified when nothing was uploaded of it for the grace, and again after what comes later.
    """
    uploaded = pipeline.rows("SELECT metric_value FROM metrics WHERE metric_name = ? AND uploaded = 1", oracle.METRIC)
    unverified = "SELECT 1 FROM windows WHERE state != 1 AND start_ms < (SELECT max(start_ms) - 300000 FROM windows)"
    return numbers <= {int(value) for (value,) in uploaded} and not pipeline.rows(unverified)


@pytest.mark.parametrize("has_backup", [False, True], ids=["empty", "from a backup"])
def test_server_that_comes_back_with_less_gets_again_what_was_verified(
    run_dir: Path, server: RealServer, hasty: dict[str, str], has_backup: bool
) -> None:
    """All that it lacks, once, and it is reported until it is there."""
    pipeline = Pipeline(run_dir / "p", f"{server.url}/api/v1/import", hasty)
    ledger = run_dir / "p" / "ledger"
    pipeline.add_program("oracle", f"{sys.executable} -m tests.oracle --age 900 --ledger {ledger}")
    name = oracle.METRIC.replace(".", "_")
    with pipeline:
        wait_for("samples flowing", lambda: len(server.values(name)) > 100)
        if has_backup:
            server.back_up()
            wait_for("samples that are not in the backup", lambda: len(server.values(name)) > 200)
        expected = finish(ledger)
        wait_for("everything verified", lambda: is_verified(pipeline, expected))
        server.roll_back()
        wait_for("the outage", lambda: "upload failed" in pipeline.log("shipper"))
        server.start()
        wait_for("everything at the server", lambda: expected <= server.values(name).keys(), 60)
        assert {number for number, times in server.values(name).items() if times != 1} == set()
        query = "SELECT kind FROM events WHERE kind IN ('server_lost_data', 'server_caught_up') ORDER BY id"
        wait_for("the end of it", lambda: pipeline.rows(query) == [("server_lost_data",), ("server_caught_up",)])


def test_without_the_dedup_flag_a_lost_answer_costs_one_chunk(run_dir: Path, hasty: dict[str, str]) -> None:
    """A shipper killed between the 204 and the mark sends that chunk once more, and the audit does not add to it."""
    with FakeVm() as vm:
        pipeline, ledger = with_oracle(run_dir, vm, hasty)
        with pipeline:
            wait_for("samples flowing", lambda: arrived(vm))
            vm.script([{"delay_s": 2}])  # stored after the delay, when nobody waits for the answer any more
            wait_for("the slow answer", lambda: vm.steps_left == 0)
            pipeline.kill("shipper")
            expected = finish(ledger)
            wait_for("everything at the server", lambda: expected <= arrived(vm).keys(), 60)
            name = oracle.METRIC.replace(".", "_")
            times = [sample.received_count for sample in vm.samples(name)]
            assert max(times) <= 2
