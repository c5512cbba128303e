"""Who may read: tokens, cookies, guesses, and names that mean this machine."""

from __future__ import annotations

import time
from http import HTTPStatus
from pathlib import Path

import pytest

from common.config import ConfigError
from common.log import Log
from common.settings import Health
from common.token_file import TokenFile
from healthd.http import access
from healthd.http.access import COOKIE, GUESSES, Access
from healthd.http.connection import Reply, Request

OPEN = frozenset({"/login", "/health/live"})


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A token file."""
    file = tmp_path / "token"
    file.write_text("sesame\n", encoding="ascii")
    file.chmod(0o600)
    return file


@pytest.fixture
def door(secret: Path) -> Access:
    """A door that a token opens."""
    door = Access(TokenFile(secret), secret.with_name("login-code"), Log("test"))
    door.open_paths = OPEN
    return door


def ask(path: str = "/metrics", peer: str = "10.0.0.9", **headers: str) -> Request:
    """Return a request."""
    return Request(path, headers=headers, peer=peer)


def login(door: Access, token: str, peer: str = "10.0.0.9") -> Reply:
    """Post the form."""
    return door.login(Request("/login", "POST", form={"token": token}, peer=peer))


def cookie(answer: Reply) -> str:
    """Return the cookie an answer sets, as a browser sends it back."""
    return dict(answer.headers)["Set-Cookie"].partition(";")[0]


def status(answer: Reply | None) -> int | None:
    """Return a refusal's status, None for none."""
    return None if answer is None else int(answer.status)


def test_without_the_token_nothing_is_answered(door: Access) -> None:
    """The page leads to the form; the rest is 401 and empty of news."""
    assert 401 == status(door.refusal(ask()))
    assert 401 == status(door.refusal(ask(authorization="Basic c2VzYW1l")))
    page = door.refusal(ask("/"))
    assert page is not None
    assert (HTTPStatus.SEE_OTHER, "/login") == (page.status, dict(page.headers)["Location"])
    assert [None, None] == [door.refusal(ask(path)) for path in sorted(OPEN)]


def test_the_right_token_opens(door: Access) -> None:
    """As a header."""
    assert door.refusal(ask(authorization="Bearer sesame")) is None


def test_the_form_gives_a_cookie(door: Access) -> None:
    """One that scripts cannot read and other sites cannot send; altered, it is worth nothing."""
    answer = login(door, "sesame")
    assert "HttpOnly; SameSite=Strict" in dict(answer.headers)["Set-Cookie"]
    given = cookie(answer)
    assert door.refusal(ask(cookie=f"other=1; {given}")) is None
    end, _, seal = given.partition("=")[2].partition(".")
    for wrong in (f"{int(end) + 1}.{seal}", f"{end}.{seal[:-1]}", f"1.{seal}", ".", "x", ""):
        assert 401 == status(door.refusal(ask(cookie=f"{COOKIE}={wrong}")))


def test_another_token_ends_every_cookie(door: Access, secret: Path) -> None:
    """It is read again when its file changes."""
    given = cookie(login(door, "sesame"))
    secret.write_text("another-one\n", encoding="ascii")
    assert 401 == status(door.refusal(ask(cookie=given)))
    assert door.refusal(ask(authorization="Bearer another-one")) is None


def test_a_wrong_guess_leads_to_the_form_again(door: Access) -> None:
    """And says so."""
    assert "/login?again" == dict(login(door, "open").headers)["Location"]


def test_guesses_are_few(door: Access) -> None:
    """For an address: there the right token waits with the wrong ones. Others come in, whoever guesses elsewhere."""
    for _ in range(GUESSES):
        assert 401 == status(door.refusal(ask(authorization="Bearer guess")))
    assert 429 == status(door.refusal(ask(authorization="Bearer sesame")))
    assert "/login?wait" == dict(login(door, "sesame").headers)["Location"]
    for number in range(100):
        door.refusal(ask(peer=f"10.0.1.{number}", authorization="Bearer guess"))
    assert door.refusal(ask(peer="10.0.0.10", authorization="Bearer sesame")) is None


HOSTS = {"": None, "127.0.0.1:9100": None, "localhost": None, "[::1]:9100": None, "evil.example": 421, "a.b:80": 421}


@pytest.mark.parametrize("host", HOSTS)
def test_on_loopback_only_names_of_this_machine_are_answered(host: str) -> None:
    """A page of somebody else, led here by its DNS, reads nothing."""
    door = Access(None, Path("/nowhere/login-code"), Log("test"))
    assert HOSTS[host] == status(door.refusal(ask(**({"host": host} if host else {}))))


def test_a_token_that_others_can_read_is_refused(secret: Path) -> None:
    """With the key that names it."""
    secret.chmod(0o644)
    with pytest.raises(ConfigError, match=r"health\.token_file"):
        access.token(Health(token_file=secret))


def test_a_link_logs_in_once(door: Access, secret: Path) -> None:
    """With the code that was made, within its time; a wrong one is a guess and uses nothing up."""
    code = secret.with_name("login-code")
    code.write_text(f"once-0123456789ab {int(time.time()) + 60}\n", encoding="ascii")

    def tried(given: str) -> str:
        return dict(door.login(Request("/login", "POST", form={"code": given}, peer="10.0.0.9")).headers)["Location"]

    assert ["/login?used", "/", "/login?used"] == [tried(given) for given in ("other", *2 * ["once-0123456789ab"])]
    assert not code.exists()
    code.write_text(f"late-0123456789ab {int(time.time()) - 1}\n", encoding="ascii")
    assert "/login?used" == tried("late-0123456789ab")
