"""The token is the owner's alone, and nobody else reads it here."""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.log import Log, _JsonFormatter
from common.remote import Auth
from common.token_file import MAX_BYTES
from shipper.http.token import ENVIRONMENT, Token, UnusableTokenError

SECRET = "s3cr3t-" + "t0k3n"


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """Whatever is logged, as a process writes it."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_JsonFormatter())
    logger = logging.getLogger("token-test")
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield stream
    logger.removeHandler(handler)


def written(path: Path, content: bytes = SECRET.encode(), mode: int = 0o600) -> Auth:
    """Write a token file and return the section that names it."""
    path.write_bytes(content)
    path.chmod(mode)
    return Auth("bearer_token", path)


def opened(auth: Auth, **environ: str) -> Token:
    """Return a token."""
    return Token(auth, environ, Log("token-test"))


def headers_of(token: Token) -> dict[str, str]:
    """Return its headers."""
    return token.headers()


def test_a_file_holds_the_token_alone(tmp_path: Path) -> None:
    """White space around it, such as the newline of an editor, is none of it."""
    auth = written(tmp_path / "token", f"\n  {SECRET} \r\n".encode())
    assert {"Authorization": f"Bearer {SECRET}"} == opened(auth).headers()


def test_the_environment_holds_it_where_no_file_does() -> None:
    """As containers hand it over."""
    assert {"Authorization": f"Bearer {SECRET}"} == opened(Auth("bearer_token"), **{ENVIRONMENT: SECRET}).headers()


def test_the_file_comes_before_the_environment(tmp_path: Path) -> None:
    """What is named in the configuration holds."""
    assert SECRET in str(opened(written(tmp_path / "token"), **{ENVIRONMENT: "other"}).headers())


def test_without_authentication_there_is_no_header() -> None:
    """Whatever the environment holds."""
    assert {} == opened(Auth(), **{ENVIRONMENT: SECRET}).headers()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666, 0o644])
def test_a_file_that_others_can_open_is_refused(tmp_path: Path, mode: int) -> None:
    """The message says which file and what to do."""
    with pytest.raises(UnusableTokenError, match=r"remote\.auth\.token_file: .*/token.*chmod 600"):
        opened(written(tmp_path / "token", mode=mode)).headers()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b" \n",
        b"two words",
        b"tab\there",
        b"line\nbreak",
        b"\xff\xfe",
        "tökén".encode(),
        b"x" * (MAX_BYTES + 1),
        b"\0",
    ],
)
def test_what_cannot_be_a_header_is_refused(tmp_path: Path, content: bytes) -> None:
    """And the message does not repeat it."""
    with pytest.raises(UnusableTokenError, match=r"remote\.auth\.token_file: expected") as caught:
        opened(written(tmp_path / "token", content)).headers()
    assert content.decode("latin-1").strip() not in str(caught.value) or not content.strip()


def test_a_missing_file_is_named_and_used_when_it_is_there(tmp_path: Path) -> None:
    """Naming the key and the file; nothing has to be restarted."""
    token = opened(Auth("bearer_token", tmp_path / "none"))
    with pytest.raises(UnusableTokenError, match=r"remote\.auth\.token_file: No such file.*/none"):
        token.headers()
    written(tmp_path / "none")
    assert SECRET in str(token.headers())


def test_no_token_at_all_says_where_one_may_be() -> None:
    """It says where one may be put."""
    with pytest.raises(UnusableTokenError, match=ENVIRONMENT):
        opened(Auth("bearer_token")).headers()


def test_a_bad_token_in_the_environment_is_named() -> None:
    """Naming the variable, not its value."""
    with pytest.raises(UnusableTokenError, match=f"{ENVIRONMENT}: expected"):
        opened(Auth("bearer_token"), **{ENVIRONMENT: "  "}).headers()


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    """Opening it would take for ever."""
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(UnusableTokenError, match="expected a file"):
        opened(Auth("bearer_token", tmp_path / "pipe")).headers()


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    """A token can be replaced while everything runs."""
    token = opened(written(tmp_path / "token"))
    written(tmp_path / "new", b"another-one")
    (tmp_path / "new").replace(tmp_path / "token")
    assert {"Authorization": "Bearer another-one"} == headers_of(token)


@pytest.mark.parametrize(("content", "mode"), [(b"", 0o600), (b"readable", 0o644)])
def test_a_change_for_the_worse_is_not_taken(tmp_path: Path, logged: io.StringIO, content: bytes, mode: int) -> None:
    """The old token stays in use and the log says why."""
    token = opened(written(tmp_path / "token"))
    written(tmp_path / "token", content, mode)
    assert SECRET in str(headers_of(token))
    assert "the old token stays in use" in logged.getvalue()


def test_a_file_that_is_gone_leaves_the_token(tmp_path: Path, logged: io.StringIO) -> None:
    """An operator who replaces it in two steps."""
    token = opened(written(tmp_path / "token"))
    (tmp_path / "token").unlink()
    assert SECRET in str(headers_of(token))
    assert "No such file" in logged.getvalue()


@pytest.mark.parametrize("secret", [SECRET, 'quo"ted', "back\\slash"])
def test_the_token_is_in_no_log(tmp_path: Path, logged: io.StringIO, secret: str) -> None:
    """Nor as JSON spells it."""
    opened(written(tmp_path / "token", secret.encode()))
    Log("token-test").warning(f"got {secret}", header=f"Authorization: {secret}")
    assert "***" in logged.getvalue()
    assert secret not in logged.getvalue()
    assert secret.replace("\\", "\\\\").replace('"', '\\"') not in logged.getvalue()
