"""`make run`: what it refuses before anything starts, and how it says so."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from common import config
from common.starting import LONGEST_SOCKET
from deploy import odd_paths
from deploy.run import folder, main, ports, programs
from deploy.run.programs import Folders
from deploy.run.refused import RunRefusedError
from tests.harness import ROOT
from tests.scratch import scratch

STRANGER = 65_534


@pytest.fixture
def place() -> Iterator[Path]:
    """Give a folder with a short path."""
    with scratch() as path:
        yield path


Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Do what the script does, up to the supervisord that nothing here gets to; give the exit code and what it said."""

    def refused(*arguments: str, **environment: str) -> tuple[int, str]:
        with monkeypatch.context() as patch:
            patch.setattr(os, "environ", {"PATH": "/usr/bin:/bin", "RUN_DIR": str(place / "r"), **environment})
            patch.setattr(os, "execv", lambda *command: pytest.fail(f"started: {command}"))
            patch.setattr(sys, "argv", ["run.sh", *arguments])
            return main.main(), "".join(capsys.readouterr())

    umask = os.umask(0o022)
    yield refused
    os.umask(umask)


@pytest.mark.parametrize("character", ['"', "%", "\\", "\n"])
def test_a_folder_that_supervisord_cannot_name_is_refused(place: Path, character: str) -> None:
    """The sentence names the variable and the folder; nothing is made."""
    odd = place / f"a{character}b"
    with pytest.raises(RunRefusedError, match="RUN_DIR holds") as refused:
        folder.prepare("RUN_DIR", odd)
    assert 64 == refused.value.code
    assert not odd.exists()


@pytest.mark.parametrize("name", ["a b", "a'b", "a[b", "ä"])
def test_a_folder_with_a_blank_or_a_quote_is_taken(place: Path, name: str) -> None:
    """And is private afterwards."""
    folder.prepare("RUN_DIR", place / name)
    assert 0o700 == (place / name).stat().st_mode & 0o777


def test_a_blank_does_not_split_the_pattern_of_included_programs(place: Path) -> None:
    """Supervisord splits it at spaces, and matches what is left against this folder alone."""
    for name in ("a b[1]", "a-b[1]"):
        (place / name / "programs").mkdir(parents=True)
        (place / name / "programs/x.conf").touch()
    found = odd_paths.pattern(f"{place}/a b[1]")
    assert [found] == found.split()
    assert [place / "a b[1]/programs/x.conf"] == list(place.glob(found.removeprefix(f"{place}/")))


def test_a_folder_too_long_for_a_socket_is_refused_with_the_limit(place: Path) -> None:
    """As long as the limit is taken, one more is not."""
    longest = place / ("x" * (folder.MOST_BYTES - len(str(place)) - 1))
    folder.prepare("RUN_DIR", longest)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(longest / LONGEST_SOCKET))
    with pytest.raises(RunRefusedError, match=f"the sockets in it allow {folder.MOST_BYTES}"):
        folder.prepare("RUN_DIR", longest.with_name(longest.name + "x"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to somebody else")
@pytest.mark.parametrize("foreign", ["r", "r/programs", "r/programs/evil.conf", "r/config.yaml"])
def test_what_somebody_else_made_is_refused(run: Run, place: Path, foreign: str) -> None:
    """A stranger's programs are never run, wherever in the folder theirs begins."""
    (place / "r/programs").mkdir(parents=True)
    (place / "r/programs/evil.conf").write_text("[program:evil]\ncommand = touch /tmp/evil\n", encoding="ascii")
    (place / "r/config.yaml").touch()
    os.chown(place / foreign, STRANGER, STRANGER)
    code, said = run()
    assert 77 == code
    assert f"{place / foreign} belongs to " in said


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to somebody else")
def test_a_strangers_link_to_our_folder_is_refused(run: Run, place: Path) -> None:
    """Who could point it elsewhere a moment later decides what runs."""
    (place / "ours").mkdir()
    (place / "r").symlink_to(place / "ours")
    os.lchown(place / "r", STRANGER, STRANGER)
    code, said = run()
    assert (77, True) == (code, "belongs to" in said)


def test_a_folder_in_which_others_could_put_programs_is_refused(run: Run, place: Path) -> None:
    """The programs are for the user to look at first."""
    (place / "r/programs").mkdir(parents=True)
    (place / "r").chmod(0o777)
    code, said = run()
    assert (77, True) == (code, "others can write to" in said)


@pytest.mark.parametrize(("holds", "mode", "refused"), [
    ("other", 0o755, True), ("other", 0o1777, True), ("nothing", 0o1777, True),
    ("other", 0o700, False), ("nothing", 0o755, False), ("config.yaml", 0o755, False), ("programs", 0o755, False),
])  # fmt: skip
def test_a_folder_that_others_use_is_not_closed_to_them(place: Path, holds: str, mode: int, refused: bool) -> None:
    """RUN_DIR=/tmp as root would take /tmp from every other user."""
    shared = place / "r"
    shared.mkdir()
    if holds != "nothing":
        (shared / holds).touch()
    shared.chmod(mode)
    if refused:
        with pytest.raises(RunRefusedError, match="holds other things"):
            folder.prepare("RUN_DIR", shared)
    else:
        folder.prepare("RUN_DIR", shared)
    assert (mode if refused else 0o700) == shared.stat().st_mode & 0o7777


@pytest.mark.parametrize("how", ["file", "flow", "environment"])
def test_a_configured_server_is_the_one(run: Run, place: Path, how: str) -> None:
    """However the file spells it, nothing else is started; the port that stops the run here is taken."""
    environment, text = {}, ""
    if how == "flow":
        text = "remote: {url: 'http://192.0.2.1/api/v1/import'}\n"
    elif how == "file":
        text = 'remote:\n  "url": http://192.0.2.1/api/v1/import\n'
    else:
        environment["BELABOX_REMOTE__URL"] = "http://192.0.2.1/api/v1/import"
    (place / "config.yaml").write_text(text, encoding="utf-8")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        code, said = run(
            CONFIG=str(place / "config.yaml"), SERVER="bundled", BELABOX_HEALTH__PORT=port,
            BELABOX_STORAGE__PATH=str(place / "metrics.db"), **environment,
        )  # fmt: skip
    assert (78, True) == (code, f"another program listens on 127.0.0.1:{port}" in said), said
    assert "bundled receiver" not in said
    assert [] == list((place / "r/programs").iterdir())


def test_the_key_in_a_servers_url_is_not_printed(place: Path) -> None:
    """It is in the query, under any name."""
    file = place / "config.yaml"
    file.write_text("remote: {url: 'http://192.0.2.1/api/v1/import?k=s3cret'}\n", encoding="utf-8")
    server = main._server({}, config.load(file, {}), Folders(ROOT, place, place))
    assert "http://192.0.2.1/api/v1/import (remote.url)" == server.what


def test_mistakes_are_refused_with_a_sentence(run: Run, place: Path) -> None:
    """A word that is not understood never starts a pipeline."""
    for expected, word, argument in ((0, "usage: deploy/run.sh", "--help"), (64, "unexpected 'start'", "start")):
        code, said = run(argument)
        assert (expected, True) == (code, word in said), said
    assert not (place / "r").exists()
    for expected, word, environment in (
        (64, "invalid choice: 'heet'", {"DEMO": "--seed 1 --episode heet"}),
        (64, "SERVER=postgres: expected victoria-metrics", {"SERVER": "postgres"}),
        (64, "no such folder", {"HOST_ROOT": "/nowhere", "SERVER": "none"}),
        (78, "cannot be read", {"CONFIG": "nowhere.yaml"}),
        (77, "LOG_DIR: ", {"LOG_DIR": "/dev/null/log"}),
    ):
        code, said = run(**environment)
        assert (expected, True) == (code, word in said), said


def test_a_free_port_is_free() -> None:
    """One that somebody has is passed over."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert not ports.is_free("127.0.0.1", port)
        assert port < ports.free(port)


def test_a_program_with_a_blank_stays_one_word(place: Path) -> None:
    """What supervisord reads is what was meant."""
    (place / "a b/programs").mkdir(parents=True)
    folders = programs.Folders(ROOT, place / "a b", place / "a b/log")
    programs.add(folders, "server", ["/x y/python", "-m", "50%"])
    text = (place / "a b/programs/server.conf").read_text(encoding="utf-8")
    assert "command = '/x y/python' -m 50%%\n" in text
    programs.clear(folders)
    assert [] == list((place / "a b/programs").iterdir())
