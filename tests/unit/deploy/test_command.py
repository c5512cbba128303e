"""`belabox-metrics`: what it finds, copies and says without a pipeline."""

from __future__ import annotations

import argparse
import os
import re
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from deploy.command import backup, control, doctor, main, place
from deploy.command.place import CommandError, PipelinePlace
from deploy.command.section import with_keys
from tests.harness import ROOT
from tests.scratch import scratch


def made(folder: Path) -> PipelinePlace:
    """Return the place of a pipeline whose configuration names a database in this folder."""
    config = folder / "config.yaml"
    config.write_text(f"storage: {{path: '{folder}/metrics.db'}}\n", encoding="utf-8")
    return PipelinePlace(folder, folder / "log", config, is_device=False)


Run = Callable[..., tuple[int, str]]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command line in this process; give the exit code and what it said."""

    def run(*arguments: str, **environment: str) -> tuple[int, str]:
        with monkeypatch.context() as patch:
            patch.setattr(os, "environ", {"PATH": os.environ["PATH"], **environment})
            patch.setattr(sys, "argv", ["belabox-metrics", *arguments])
            try:
                code = main.main()
            except SystemExit as ended:  # argparse's
                code = int(ended.code or 0)
        return code, "".join(capsys.readouterr())

    return run


def as_stranger(given: list[str], **environment: str) -> tuple[int, str]:
    """Run the command line as nobody, in a child that has read this tree before; give the exit code and its errors."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(writing, 2)
        sys.stderr = os.fdopen(2, "w", closefd=False)
        os.setuid(65_534)
        os.environ.update(environment)
        sys.argv = ["belabox-metrics", *given]
        code = 1
        try:
            code = main.main()
        finally:
            sys.stderr.flush()
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as said:
        text = said.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), text


def test_each_command_explains_itself() -> None:
    """Every command has a line in the list and a --help of its own."""
    listed = main.parser().format_help()
    for name, entry in main.COMMANDS.items():
        assert re.search(rf"^ +{name}\b", listed, re.MULTILINE)
        assert (True, True) == (bool(entry.help), callable(main.function(entry)))
        with pytest.raises(SystemExit) as ended:
            main.parser().parse_args([name, "--help"])
        assert 0 == ended.value.code


def test_without_a_pipeline_it_says_how_to_start_one(command: Run, tmp_path: Path) -> None:
    """Each command that needs one ends at once, logs included."""
    for name in ("status", "top", "reload", "stop"):
        code, said = command(name, RUN_DIR=str(tmp_path))
        assert (69, f"belabox-metrics {name}: nothing runs in {tmp_path}: make run\n") == (code, said)
    assert (69, True) == (code, "no logs in" in command("logs", "-f", RUN_DIR=str(tmp_path))[1])


def test_modules_come_from_the_tree_and_not_from_the_folder_it_is_called_in(tmp_path: Path) -> None:
    """A stranger's `common` in /tmp is not run by root."""
    for name in ("common", "deploy", "collectors"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('theirs')\n", encoding="ascii")
    done = subprocess.run(
        [str(ROOT / "deploy/belabox-metrics"), "version"], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={"PATH": os.environ["PATH"], "BELABOX_METRICS_PYTHON": sys.executable}, timeout=60,
    )  # fmt: skip
    assert (0, True) == (done.returncode, done.stdout.startswith("belabox-metrics ")), done.stderr


def test_a_log_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    """A misspelt process is no empty output."""
    (tmp_path / "log").mkdir()
    (tmp_path / "log/buffer.log").write_text("one\n", encoding="ascii")
    options = argparse.Namespace(process="bufer", follow=False, lines=5)
    with pytest.raises(CommandError, match="no log of 'bufer'; there are buffer"):
        control.logs(made(tmp_path), options)
    assert 0 == control.logs(made(tmp_path), argparse.Namespace(process="buffer", follow=False, lines=5))


def test_a_backup_has_what_is_in_the_write_ahead_log(tmp_path: Path) -> None:
    """It is one file of mode 0600, complete, and readable by itself."""
    with closing(sqlite3.connect(tmp_path / "metrics.db", isolation_level=None)) as writer:
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute("CREATE TABLE metrics (id INTEGER PRIMARY KEY, metric_value)")
        writer.executemany("INSERT INTO metrics (metric_value) VALUES (?)", [(n,) for n in range(500)])
        copy = tmp_path / "copy.db"
        assert 0 == backup.backup(made(tmp_path), argparse.Namespace(file=str(copy)))
        writer.execute("INSERT INTO metrics (metric_value) VALUES (1)")  # the writer was never in its way
    assert 0o600 == copy.stat().st_mode & 0o777
    with closing(sqlite3.connect(copy)) as reader:
        assert [(500,)] == reader.execute("SELECT count(*) FROM metrics").fetchall()
        assert [("delete",)] == reader.execute("PRAGMA journal_mode").fetchall()
    assert [copy] == list(tmp_path.glob("copy.db*"))


def test_a_backup_never_replaces_a_file(tmp_path: Path) -> None:
    """Nor does it leave half of one."""
    sqlite3.connect(tmp_path / "metrics.db").close()
    (tmp_path / "old.db").write_text("kept", encoding="ascii")
    with pytest.raises(CommandError, match="is there already"):
        backup.backup(made(tmp_path), argparse.Namespace(file=str(tmp_path / "old.db")))
    (tmp_path / "metrics.db").write_text("no database at all, but a text", encoding="ascii")
    with pytest.raises(CommandError, match="cannot copy"):
        backup.backup(made(tmp_path), argparse.Namespace(file=str(tmp_path / "new.db")))
    assert [] == list(tmp_path.glob("new.db*"))


def test_doctor_names_what_gives_the_missing_and_hides_what_identifies(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A token that others can read is named with the command; the token and the server's name are not there."""
    token = tmp_path / "token"
    token.write_text("sesame-0123456789", encoding="ascii")
    token.chmod(0o644)
    found = made(tmp_path)
    assert found.config
    found.config.write_text(
        f"remote: {{url: 'https://metrics.secret.example/api/v1/import', auth: {{type: bearer_token, "
        f"token_file: '{token}'}}}}\nstorage: {{path: '{tmp_path}/metrics.db'}}\n",
        encoding="utf-8",
    )
    assert 0 == doctor.doctor(found, argparse.Namespace())
    said = capsys.readouterr().out
    assert "miss remote.auth.token_file: group or others can read" in said
    assert "install -m 600" in said
    assert "miss health: healthd does not answer" in said
    assert "secret.example" not in said
    assert "sesame" not in said
    assert "***" == doctor._shown("\x1b]0;title\x07192.0.2.1")


@pytest.mark.parametrize("text", ["foo: 1\n", "health: {port: x}\n", "- a\n"])
def test_a_wrong_configuration_does_not_end_the_doctor(command: Run, tmp_path: Path, text: str) -> None:
    """It is what the doctor is asked about."""
    (tmp_path / "config.yaml").write_text(text, encoding="ascii")
    code, said = command("doctor", RUN_DIR=str(tmp_path))
    assert (0, True, True) == (code, "miss configuration: " in said, "miss health: healthd does not" in said), said


def test_a_report_takes_its_own_options_and_nothing_else_takes_any(command: Run, tmp_path: Path) -> None:
    """What is misspelt is refused, and the report's program says what is missing."""
    code, said = command("status", "--lastt")
    assert (2, True) == (code, "--lastt" in said)
    (tmp_path / "config.yaml").write_text(f"storage: {{path: '{tmp_path}/none.db'}}\n", encoding="utf-8")
    code, said = command("report", "--list", RUN_DIR=str(tmp_path))
    assert (69, True) == (code, "none.db" in said), said


@pytest.mark.parametrize(
    ("given", "code", "expected"),
    [
        (("logs", "-n", "-5"), 2, "argument -n/--lines: expected a whole number, got '-5'"),
        (("print", "fan"), 64, "belabox-metrics print: no source 'fan'; there are accelerator, audio, cpu, "),
        (("check", ""), 64, "belabox-metrics check: expected the name of a file, got ''"),
        (("backup", ""), 64, "belabox-metrics backup: expected the name of a file, got ''"),
    ],
)
def test_a_wrong_argument_is_named(
    command: Run, tmp_path: Path, given: tuple[str, ...], code: int, expected: str
) -> None:
    """In the operator's words, not those of the program behind it."""
    found, said = command(*given, RUN_DIR=str(tmp_path))
    assert (code, True) == (found, expected in said), said


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become a stranger")
@pytest.mark.parametrize(
    ("given", "expected", "words"),
    [
        (["status"], 77, "sudo belabox-metrics status"),
        (["top", "--once"], 77, "sudo belabox-metrics top --once"),
        (["logs"], 77, "sudo belabox-metrics logs"),
        (["reload"], 77, "sudo belabox-metrics reload"),
        (["backup", "x.db"], 78, "config.yaml: Permission denied"),
    ],
)
def test_a_pipeline_of_somebody_else_is_named_with_the_way_in(given: list[str], expected: int, words: str) -> None:
    """`sudo make run`, then a command without sudo: the folder cannot even be entered."""
    with scratch() as folder:
        (folder / "r").mkdir(mode=0o700)
        code, said = as_stranger(given, RUN_DIR=str(folder / "r"))
    assert (expected, True) == (code, words in said), said


@pytest.mark.parametrize("minutes", ["nan", "inf", "-5", "many", "1441"])
def test_a_report_of_no_time_is_refused(command: Run, tmp_path: Path, minutes: str) -> None:
    """And not a traceback."""
    code, said = command("report", "--at", "14:32", "--minutes", minutes, RUN_DIR=str(tmp_path))
    assert (2, True) == (code, f"expected 0.1 to 1440, got {minutes!r}" in said), said


def test_a_reload_without_a_file_is_refused(command: Run) -> None:
    """Every process would refuse it: the defaults are not what they run with."""
    with scratch() as folder, socket.socket(socket.AF_UNIX) as supervisord:
        supervisord.bind(str(folder / "supervisor.sock"))
        supervisord.listen()
        code, said = command("reload", RUN_DIR=str(folder))
    assert (69, True) == (code, "there is no configuration file" in said), said


def test_the_page_is_where_healthd_listens(command: Run, tmp_path: Path) -> None:
    """Or it is said that it does not."""
    assert 69 == command("page", RUN_DIR=str(tmp_path))[0]
    (tmp_path / "healthd.address").write_text("127.0.0.1:9117\n", encoding="ascii")
    assert (0, "http://127.0.0.1:9117/\n") == command("page", RUN_DIR=str(tmp_path))


def test_completion_offers_commands_and_sources(command: Run, tmp_path: Path) -> None:
    """Bash itself runs the script and completes a word."""
    code, script = command("completion", "bash", RUN_DIR=str(tmp_path))
    assert 0 == code
    asked = (
        f'{script}\nCOMP_WORDS=(belabox-metrics print the); COMP_CWORD=2; _belabox_metrics; echo "${{COMPREPLY[@]}}"\n'
        'COMP_WORDS=(belabox-metrics ba); COMP_CWORD=1; _belabox_metrics; echo "${COMPREPLY[@]}"\n'
    )
    done = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, check=True)
    assert ["thermal", "backup"] == done.stdout.split()


def test_the_place_is_the_trees_own_or_the_named_one(tmp_path: Path) -> None:
    """RUN_DIR and CONFIG win over what is beside the program."""
    (tmp_path / "c.yaml").touch()
    found = place.find({"RUN_DIR": str(tmp_path / "r"), "CONFIG": str(tmp_path / "c.yaml")})
    assert PipelinePlace(tmp_path / "r", tmp_path / "r/log", tmp_path / "c.yaml", is_device=False) == found
    assert ROOT / "run" == place.find({}).run_dir


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "health:\n  bind: 0.0.0.0\n  token_file: t\n"),
        ("device:\n  id: a\n", "device:\n  id: a\nhealth:\n  bind: 0.0.0.0\n  token_file: t\n"),
        (
            "health:\n    # bind: ::1  # where\n    port: 1\nlog:\n  level: x\n",
            "health:\n    token_file: t\n    bind: 0.0.0.0\n    port: 1\nlog:\n  level: x\n",
        ),
        (
            "health:  # here\n  bind: ::1\n  token_file: old\n\n# of the log\nlog:\n",
            "health:  # here\n  bind: 0.0.0.0\n  token_file: t\n\n# of the log\nlog:\n",
        ),
    ],
)
def test_a_key_is_changed_where_it_stands(text: str, expected: str) -> None:
    """Everything else of the file stays as somebody wrote it."""
    assert expected == with_keys(text, "health", {"bind": "0.0.0.0", "token_file": "t"})


def test_a_section_in_one_line_is_left_alone() -> None:
    """Nothing is guessed about it."""
    with pytest.raises(ValueError, match="in one line"):
        with_keys("health: {port: 1}\n", "health", {"bind": "x"})
