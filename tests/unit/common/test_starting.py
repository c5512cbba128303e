"""What checking a configuration finds is what starting would meet."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from common import starting
from common.settings import Settings
from tests.scratch import scratch
from tests.unit.common.test_config import load


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """Give a folder whose path is short: sockets are to be in it."""
    with scratch() as folder:
        yield folder


def settings(folder: Path, text: str = "") -> Settings:
    """Load a configuration whose folders are below one of this test."""
    (folder / "run").mkdir(mode=0o700, exist_ok=True)
    defaults = f"run: {{dir: '{folder}/run'}}\nhealth: {{port: 0}}\nstorage: {{path: '{folder}/data/metrics.db'}}\n"
    given = {line.partition(":")[0] for line in text.splitlines()}
    kept = [line for line in defaults.splitlines() if line.partition(":")[0] not in given]
    return load(folder, "\n".join([*kept, text]) + "\n").settings


def test_what_can_start_has_no_errors(tmp_path: Path) -> None:
    """Folders that are not there yet and can be made are as they should be."""
    assert ((), ()) == starting.check(settings(tmp_path), {})


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("storage: {path: '{tmp}'}", "storage.path: expected a file, got the folder"),
        ("storage: {path: '{tmp}/file/metrics.db'}", "storage.path: "),
        ("storage: {path: '{tmp}/token'}", "storage.path: expected a database or a new file"),
        ("run: {dir: '{tmp}/file'}", "run.dir: expected a folder"),
        ("run: {dir: '/tmp'}", "run.dir: expected a folder of our own"),
        (f"run: {{dir: '/tmp/{'x' * 90}'}}", "run.dir: a path of at most 83 bytes"),
        ("logging: {output: '{tmp}/file/all.log'}", "logging.output: "),
        ("logging: {output: '{tmp}'}", "logging.output: cannot write to"),
        ("health: {bind: 192.0.2.1, token_file: '{tmp}/token'}", "health.bind: cannot listen on 192.0.2.1"),
        ("remote: {ca_file: '{tmp}/nowhere.pem'}", "remote.ca_file: No such file"),
        ("remote: {ca_file: '{tmp}/file'}", "remote.ca_file: no certificate in PEM"),
    ],
)
def test_what_cannot_start_is_named_by_its_key(tmp_path: Path, text: str, key: str) -> None:
    """Each line begins with the key to change."""
    (tmp_path / "file").touch()
    (tmp_path / "token").touch(0o600)
    (tmp_path / "token").write_text("sesame-0123456789abcdef", encoding="ascii")
    (error,) = starting.check(settings(tmp_path, text.replace("{tmp}", str(tmp_path))), {}).errors
    assert error.startswith(key)


@pytest.mark.parametrize("beside", ["metrics.db.lock", "nothing"])
def test_a_damaged_database_can_start(tmp_path: Path, beside: str) -> None:
    """The lock that the buffer leaves beside it tells it from a file of somebody else, which would be moved away."""
    (tmp_path / "metrics.db").write_bytes(b"damaged")
    (tmp_path / beside).touch()
    found = starting.check(settings(tmp_path, f"storage: {{path: '{tmp_path}/metrics.db'}}"), {}).errors
    assert (beside == "nothing") == bool(found)


def test_a_port_of_another_program_is_said_and_of_our_own_healthd_not(tmp_path: Path) -> None:
    """A file can be checked while the pipeline that uses it runs."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        text = f"health: {{port: {other.getsockname()[1]}}}"
        (warning,) = starting.check(settings(tmp_path, text), {}).warnings
        assert warning.startswith("health.port: another program listens on 127.0.0.1:")
        with socket.socket(socket.AF_UNIX) as own:
            own.bind(str(tmp_path / "run/health.ipc"))
            own.listen()
            assert () == starting.check(settings(tmp_path, text), {}).warnings


def _missing(_file: Path) -> None:
    """Leave no file."""


def _open(file: Path) -> None:
    file.write_text("sesame-0123456789abcdef", encoding="ascii")
    file.chmod(0o644)


@pytest.mark.parametrize(("make", "why"), [(_missing, "No such file"), (_open, "group or others can read")])
def test_a_token_that_cannot_be_used_is_a_warning_with_what_it_means(
    tmp_path: Path, make: Callable[[Path], Any], why: str
) -> None:
    """Everything else starts; samples wait on the device."""
    make(tmp_path / "token")
    text = f"remote: {{auth: {{type: bearer_token, token_file: '{tmp_path}/token'}}}}"
    errors, (warning,) = starting.check(settings(tmp_path, text), {})
    assert () == errors
    assert warning.startswith(f"remote.auth.token_file: {why}")
    assert warning.endswith("; nothing is uploaded until it is mended")


def test_a_short_token_is_a_warning_with_how_to_make_one(tmp_path: Path) -> None:
    """It is taken: another one may be the server's to give."""
    (tmp_path / "token").touch(0o600)
    (tmp_path / "token").write_text("sesame", encoding="ascii")
    for section in ("health: {{port: 0, token_file: {}}}", "remote: {{auth: {{type: bearer_token, token_file: {}}}}}"):
        errors, (warning,) = starting.check(settings(tmp_path, section.format(tmp_path / "token")), {})
        assert () == errors
        assert "token_file: 6 characters can be guessed; make one with: head -c 24" in warning
        assert "sesame" not in warning


def test_a_token_of_the_environment_is_one(tmp_path: Path) -> None:
    """Without it and without a file, the line names both ways."""
    given = settings(tmp_path, "remote: {auth: {type: bearer_token}}")
    assert () == starting.check(given, {"BELABOX_TOKEN": "sesame"}).warnings
    assert "BELABOX_TOKEN" in starting.check(given, {}).warnings[0]
