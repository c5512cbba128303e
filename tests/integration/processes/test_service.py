"""Processes as supervisord starts them: exit codes, messages, reloads, permissions, heartbeats, goodbyes."""

from __future__ import annotations

import os
import signal
import stat
import time
from pathlib import Path

import pytest

from common import VERSION
from common.service import STACK_SIGNAL
from tests.harness import wait_for
from tests.patience import Patience
from tests.unit.common.child import Child, buffer, memory
from tests.unit.common.peers import Ears, RawBuffer, reading

BUGGY = """
import argparse, sys
from common import log, service
def build(options):
    running = service.Service("buggy", options)
    log.SECRETS.add("s3cret")
    def step(config):
        raise ZeroDivisionError("with s3cret")
    running.on_reload(step)
    running.on_close(lambda: running.log.info("closed"))
    return running
sys.exit(service.main(build, argparse.Namespace(config=None)))
"""

PARENT = "import subprocess, sys; subprocess.run([sys.executable, '-m', 'collectors', 'memory'])"


def config_file(run_dir: Path, text: str) -> str:
    """Write a configuration file; return its path."""
    path = run_dir / "c.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_asked_to_end_is_exit_code_0(run_dir: Path) -> None:
    """SIGTERM and SIGINT end a process well under a second with 0 and a last line."""
    took_s: list[float] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        with buffer(run_dir) as running, Ears(run_dir) as ears:
            ears.wait_for("it runs", lambda said: said.pid == running.pid)
            began_s = time.monotonic()
            running.send(number)
            assert 0 == running.wait()
            took_s.append(time.monotonic() - began_s)
            assert running.pid == running.lines("started")[-1]["pid"]
            assert running.lines("stopped")
    assert min(took_s) < 1.0


def test_already_running_is_exit_code_75(run_dir: Path) -> None:
    """A second buffer on the same database says who has it and touches nothing."""
    other = run_dir / "other"
    with buffer(run_dir) as first, Ears(run_dir) as ears:
        ears.wait_for("the first one", lambda said: said.process == "buffer")
        with buffer(run_dir, {"BELABOX_RUN__DIR": str(other)}, "--config", "/dev/null") as second:
            assert 75 == second.wait()
            expected = f"the database {run_dir}/metrics.db is in use by process {first.pid} "
            assert expected in second.text


def test_a_second_collector_of_a_name_is_exit_code_75(run_dir: Path) -> None:
    """Two of a name would count everything twice."""
    with memory(run_dir) as first:
        first.wait_for_line("started")
        with memory(run_dir, None, "--config", "/dev/null") as second:
            assert 75 == second.wait()
            assert f"producer memory is in use by process {first.pid} " in second.text


def test_a_bad_configuration_is_exit_code_78(run_dir: Path) -> None:
    """Every error of the file is on stderr, one a line, before anything is opened."""
    bad = "device: {id: ''}\nhealth: {port: x}\nnonsense: 1\n"
    for start in (buffer, memory):
        with start(run_dir, None, "--config", config_file(run_dir, bad)) as refused:
            assert 78 == refused.wait()
            lines = refused.text.splitlines()
            assert ["device.id", "health.port", "nonsense"] == [line.split(": ")[1] for line in lines]
    assert not (run_dir / "metrics.db").exists()
    assert not (run_dir / "spool").exists()


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("BELABOX_RUN__DIR", "/proc/absent/run", "run.dir: No such file or directory, got '/proc/absent/run'"),
        ("BELABOX_RUN__DIR", "/dev/null", "run.dir: File exists, got '/dev/null'"),
        ("BELABOX_RUN__DIR", "{run_dir}/shared", "run.dir: expected a directory of our own, got "),
        ("BELABOX_STORAGE__PATH", "/proc/absent/x.db", "storage.path: No such file or directory, got "),
        ("BELABOX_STORAGE__PATH", "{run_dir}/shared", "storage.path: unable to open database file"),
        ("BELABOX_LOGGING__OUTPUT", "/proc/absent/x.log", "logging.output: No such file or directory, got "),
    ],
)
def test_a_place_that_cannot_be_used_is_exit_code_78(run_dir: Path, variable: str, value: str, expected: str) -> None:
    """A path in the configuration that does not work is a message about its key, not a traceback."""
    shared = run_dir / "shared"
    shared.mkdir()
    shared.chmod(0o1777)  # as /tmp is
    with buffer(run_dir, {variable: value.format(run_dir=run_dir)}) as refused:
        assert 78 == refused.wait()
        assert expected in refused.text
        assert "Traceback" not in refused.text
    assert 0o1777 == stat.S_IMODE(shared.stat().st_mode)


def test_wrong_options_are_a_usage_message(run_dir: Path) -> None:
    """Unknown options and collectors are argparse's exit code 2; --help and --version are 0."""
    for arguments, code in (
        (["-m", "buffer", "--nonsense"], 2),
        (["-m", "collectors", "nonsense"], 2),
        (["-m", "buffer", "--help"], 0),
        (["-m", "buffer", "--version"], 0),
    ):
        with Child(run_dir, arguments) as child:
            assert code == child.wait()
            assert "usage: python -m" in child.text or f"belabox-metrics {VERSION}\n" == child.text


def test_a_bug_is_exit_code_1_and_one_redacted_line(run_dir: Path) -> None:
    """A traceback comes in the log's own form, without a goodbye, and supervisord may start the process again."""
    with Child(run_dir, ["-c", BUGGY]) as buggy, Ears(run_dir) as ears:
        ears.wait_for("it runs")
        buggy.send(signal.SIGHUP)
        assert 1 == buggy.wait()
        assert {"running"} == {said.state for said in ears.take()}
        (line,) = buggy.lines("ended by a bug")
        assert "ZeroDivisionError: with ***" in line["stack"]
        assert buggy.lines("closed")
        assert "s3cret" not in buggy.text


def test_a_bad_file_on_sighup_keeps_the_old_configuration(run_dir: Path) -> None:
    """A reload is refused as a whole, with every error in the log, and nothing of it takes effect."""
    path = config_file(run_dir, "collectors: {memory: {interval: 41s}}\n")
    with memory(run_dir, None, "--config", path) as running, Ears(run_dir) as ears:
        assert 41.0 == ears.wait_for("the start").status["sources"]["memory"]["interval_s"]
        config_file(run_dir, "collectors: {memory: {interval: 42s}}\nlogging: {level: loud}\nhealth: {port: x}\n")
        running.send(signal.SIGHUP)
        line = running.wait_for_line("reload refused, the old configuration stays in force")
        assert 2 == len(line["errors"])
        assert 41.0 == ears.wait_for("after the refusal").status["sources"]["memory"]["interval_s"]
        config_file(run_dir, "collectors: {memory: {interval: 43s}}\nlogging: {output: /proc/absent/x}\n")
        running.send(signal.SIGHUP)
        running.wait_for_line("reload refused, the old configuration stays in force", 2)
        assert 41.0 == ears.wait_for("after the second refusal").status["sources"]["memory"]["interval_s"]
        assert 0 == running.stop()


def test_a_good_file_on_sighup_takes_effect(run_dir: Path) -> None:
    """A new collect interval, heartbeat interval and log level are in force within a moment, without a restart."""
    path = config_file(run_dir, "collectors: {memory: {interval: 1h}}\n")
    quick = {"BELABOX_RUN__HEARTBEAT_INTERVAL": "500ms"}
    with memory(run_dir, quick, "--config", path) as running, Ears(run_dir) as ears, RawBuffer(run_dir) as taken:
        epoch = ears.wait_for("the start").epoch
        wait_for("the first collect", lambda: taken.take() == 1)
        config_file(run_dir, "collectors: {memory: {interval: 100ms}}\nlogging: {level: debug}\n")
        running.send(signal.SIGHUP)
        running.wait_for_line("reloaded")
        said = ears.wait_for("the new interval", lambda said: said.status["sources"]["memory"]["interval_s"] == 0.1)
        assert epoch == said.epoch
        wait_for("more collects", lambda: taken.take() >= 4)
        running.wait_for_line("collected once")


def test_what_a_reload_does_not_change_is_said(run_dir: Path) -> None:
    """By its key path, and only what has changed."""
    path = config_file(run_dir, "run: {window_samples: 1000}\n")
    with memory(run_dir, {}, "--config", path) as running:
        running.wait_for_line("started")
        config_file(run_dir, "run: {window_samples: 2000}\nclock: {sync_wait: 10s}\nremote: {mode: offline}\n")
        running.send(signal.SIGHUP)
        said = running.wait_for_line("some of it takes effect with the next start")
        assert ["clock.sync_wait", "run.window_samples"] == sorted(said["keys"])


def test_sighup_in_the_first_moment_is_not_deadly(run_dir: Path) -> None:
    """A reload of everything while one process is still starting does not kill that one."""
    with buffer(run_dir) as running, Ears(run_dir) as ears:
        wait_for("its signal handler", lambda: 1 << (signal.SIGHUP - 1) & caught(running.pid))
        for _ in range(20):
            running.send(signal.SIGHUP)
        ears.wait_for("it runs", lambda said: said.process == "buffer")
        running.wait_for_line("reloaded")
        assert 0 == running.stop()


def caught(pid: int) -> int:
    """Return the mask of signals that a process handles."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt")), 16)


def test_everything_is_this_users_alone_under_a_lax_umask(run_dir: Path) -> None:
    """Run directory 0700, sockets, spool, lock and database 0600 or less, although the shell's umask is 0."""
    shared = run_dir / "new" / "run"
    old = os.umask(0)
    try:
        environment = {"BELABOX_RUN__DIR": str(shared), "BELABOX_STORAGE__PATH": str(shared / "metrics.db")}
        with buffer(run_dir, environment) as first, memory(run_dir, environment) as second:
            first.wait_for_line("started")
            second.wait_for_line("started")
            modes = {path: path.stat().st_mode for path in (shared, *shared.rglob("*"))}
    finally:
        os.umask(old)
    assert {"ingest.ipc", "drain.ipc", "feed.ipc", "metrics.db", "memory.batches"} <= {path.name for path in modes}
    assert {} == {path: oct(mode) for path, mode in modes.items() if mode & 0o077}


def test_a_run_directory_that_others_can_enter_is_closed(run_dir: Path) -> None:
    """What `mkdir` left open is made private before a socket is in it."""
    run_dir.chmod(0o777)
    with memory(run_dir) as running:
        running.wait_for_line("started")
    assert 0o700 == stat.S_IMODE(run_dir.stat().st_mode)


def test_a_heartbeat_says_who_and_how_it_is(run_dir: Path) -> None:
    """Name, pid, epoch, times, intervals, status and instruments are the process's own."""
    before_ms = int(time.time() * 1000)
    with memory(run_dir) as running, Ears(run_dir) as ears, RawBuffer(run_dir) as taken:
        wait_for("a batch", taken.take)
        said = ears.wait_for(
            "the first collect is counted",
            lambda said: said.status["sources"]["memory"]["last_collection_ms"] is not None,
        )
        assert ("memory", running.pid, "running", 0.2, 0.0, None) == (
            said.process, said.pid, said.state, said.interval_s, said.quiet_s, said.error,
        )  # fmt: skip
        assert before_ms <= said.started_ms <= said.timestamp_ms <= int(time.time() * 1000)
        assert said.epoch == taken.batches[0].epoch
        assert len(taken.batches[0].samples) == reading(said, "publisher.unacked_samples", producer="memory")
        assert 1 <= reading(said, "collector.metrics_collected_total", collector="memory")
        taken.ack(taken.batches)
        ears.wait_for("nothing unacked", lambda said: reading(said, "publisher.unacked_samples") == 0)


def test_heartbeats_come_from_the_loop(run_dir: Path) -> None:
    """A process that is stopped in its work is silent."""
    with memory(run_dir) as running, Ears(run_dir) as ears:
        ears.wait_for("the start")
        running.send(signal.SIGSTOP)
        wait_for("silence", lambda: not ears.socket.poll(600) or not ears.socket.recv_multipart())
        running.send(signal.SIGCONT)
        ears.wait_for("it goes on")


def test_the_last_heartbeat_says_stopping(run_dir: Path) -> None:
    """A process that ends on purpose is not mistaken for one that hangs."""
    for start, name in ((buffer, "buffer"), (memory, "memory")):
        with start(run_dir) as running, Ears(run_dir) as ears:
            assert name == ears.wait_for("the start").process
            running.send(signal.SIGTERM)
            assert name == ears.wait_for("the goodbye", lambda said: said.state == "stopping").process
            assert 0 == running.wait()


def test_an_orphan_ends(run_dir: Path) -> None:
    """When its supervisord is gone; what is unacked is in the spool by then."""
    with Child(run_dir, ["-c", PARENT], {"SUPERVISOR_ENABLED": "1"}) as running, Ears(run_dir) as ears:
        pid = ears.wait_for("the start").pid
        running.send(signal.SIGKILL)
        running.wait_for_line("supervisord is gone, ends")
        ears.wait_for("the goodbye", lambda said: (said.pid, said.state) == (pid, "stopping"))
        wait_for("its end", lambda: not Path(f"/proc/{pid}").exists())


def test_who_is_started_by_nobody_has_no_parent_to_lose(run_dir: Path) -> None:
    """A process that an operator left running in a closed terminal goes on."""
    with Child(run_dir, ["-c", PARENT]) as running, Ears(run_dir) as ears:
        pid = ears.wait_for("the start").pid
        running.send(signal.SIGKILL)
        for _ in range(4):
            assert "running" == ears.wait_for("it goes on", lambda said: said.pid == pid).state
        os.kill(pid, signal.SIGTERM)
        ears.wait_for("the goodbye", lambda said: said.state == "stopping")


def test_the_kernel_takes_a_collector_first(run_dir: Path) -> None:
    """When memory is short, and the buffer as late as any other process."""
    with buffer(run_dir) as first, memory(run_dir) as second, Ears(run_dir) as ears:
        for running in (first, second):
            ears.wait_for("it runs", lambda said, pid=running.pid: said.pid == pid)  # type: ignore[misc]
        scores = [Path(f"/proc/{one.pid}/oom_score_adj").read_text(encoding="ascii") for one in (first, second)]
    own = int(Path("/proc/self/oom_score_adj").read_text(encoding="ascii"))
    assert [own, max(own, 600)] == list(map(int, scores))


def test_a_process_shows_its_stack(run_dir: Path) -> None:
    """On the signal that the watchdog sends before it ends one that hangs; it goes on if it does not hang."""
    with memory(run_dir) as running, Ears(run_dir) as ears:
        ears.wait_for("the start")
        running.send(STACK_SIGNAL)
        wait_for("the stack", lambda: "in turn" in running.text and "loop.py" in running.text)
        ears.wait_for("it goes on")


def test_without_healthd_a_process_works(run_dir: Path) -> None:
    """Nobody has to listen: batches flow, and the end is as quick."""
    with memory(run_dir) as running, RawBuffer(run_dir) as taken:
        wait_for("a batch", taken.take)
        patience = Patience(1.5)
        assert 0 == running.stop()
        assert not patience.is_over()


def test_a_log_file_gets_the_lines(run_dir: Path) -> None:
    """`logging.output` may be a file, private like the rest; standard output has the lines too."""
    path = run_dir / "x.log"
    with memory(run_dir, {"BELABOX_LOGGING__OUTPUT": str(path)}) as running:
        wait_for("a line", lambda: path.exists() and '"started"' in path.read_text(encoding="utf-8"))
        assert '"started"' in running.text
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)


def test_nothing_listens_on_a_network(run_dir: Path) -> None:
    """Buffer and collectors open Unix sockets alone."""
    with buffer(run_dir) as running, Ears(run_dir) as ears:
        ears.wait_for("it runs")
        targets = [str(entry.readlink()) for entry in Path(f"/proc/{running.pid}/fd").iterdir()]
        inodes = {target.strip("socket:[]") for target in targets if target.startswith("socket:")}
        tables = [Path(f"/proc/{running.pid}/net/{name}") for name in ("tcp", "tcp6", "udp", "udp6")]
        networked = {
            line.split()[9] for table in tables if table.exists() for line in table.read_text().splitlines()[1:]
        }
        assert inodes
        assert set() == inodes & networked
