"""Invitations: who gets what for a code, until when, and what is left in the folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.fleet.invitations import GONE, REMEMBERED_S, UNKNOWN, Invitations, RefusedError
from deploy.fleet.join_service import WRONG_CODES, WRONG_CODES_S, WrongCodes

NOW_S = 1_795_000_000.0
UNTIL_S = NOW_S + 3600
GIVEN = {"device": "box.1", "config": "c", "token": "secret"}


@pytest.fixture
def held(tmp_path: Path) -> Invitations:
    """A server's invitations."""
    return Invitations(tmp_path / "invitations")


def invite(held: Invitations, device: str = "box.1", until_s: float = UNTIL_S) -> str:
    """Invite a device; return the code."""
    return held.add(device, "c", "secret", until_s)


def refused(held: Invitations, code: str, machine: str, at_s: float = NOW_S) -> tuple[int, str]:
    """Return status and words of a refusal."""
    with pytest.raises(RefusedError) as caught:
        held.claim(code, machine, at_s)
    return caught.value.status, str(caught.value)


def on_disk(folder: Path) -> str:
    """Return all that whoever reads the folder sees."""
    return "".join(f"{file} {file.read_text(encoding='utf-8')}" for file in folder.rglob("*") if file.is_file())


def test_a_code_is_the_first_machine_s_until_it_confirms(held: Invitations, tmp_path: Path) -> None:
    """Which may ask again, since its network may have been lost; then nobody may, and the token is erased."""
    code = invite(held)
    assert [GIVEN, GIVEN] == [held.claim(code, "a", NOW_S), held.claim(code, "a", NOW_S + 60)]
    status, words = refused(held, code, "b")
    assert (GONE, True) == (status, "another machine" in words)
    assert "box.1" == held.confirm(code, "a", NOW_S + 61)
    assert {(GONE, "this code has been used; ask for another one")} == {refused(held, code, name) for name in "ab"}
    assert "secret" not in on_disk(tmp_path)


def test_a_code_ends_with_its_time(held: Invitations, tmp_path: Path) -> None:
    """Its token is erased, asked for or not; long after, it is as unknown as one that never was."""
    code, other = invite(held), invite(held, "box-2")
    assert (GONE, "this code has expired; ask for another one") == refused(held, code, "a", UNTIL_S + 1)
    held.expire(UNTIL_S + 1)
    assert "secret" not in on_disk(tmp_path)
    assert GONE == refused(held, other, "a", UNTIL_S + 2)[0]
    held.expire(UNTIL_S + REMEMBERED_S + 1)
    assert {UNKNOWN} == {refused(held, given, "a", UNTIL_S + 2)[0] for given in (code, other, "never")}


def test_a_code_that_was_withdrawn_is_unknown(held: Invitations) -> None:
    """Those of others stay, also of a device whose name ends alike."""
    codes, other = [invite(held), invite(held)], invite(held, "1")
    held.withdraw(["box.1", "box-9"])
    assert [UNKNOWN, UNKNOWN] == [refused(held, code, "a")[0] for code in codes]
    assert "1" == held.claim(other, "a", NOW_S)["device"]


def test_who_reads_the_folder_has_no_code(held: Invitations, tmp_path: Path) -> None:
    """Nor does who may not: the files are their owner's alone. One that a crash has cut off is no reason to stop."""
    code = invite(held)
    assert code not in on_disk(tmp_path)
    (file,) = (tmp_path / "invitations").iterdir()
    assert (0o600, 0o700) == (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777)
    file.write_text(file.read_text(encoding="utf-8")[:20], encoding="utf-8")
    assert GONE == refused(held, code, "a")[0]
    held.expire(NOW_S)


def test_nothing_is_confirmed_that_was_not_fetched(held: Invitations) -> None:
    """Nobody ends an invitation whose code he has, but by using it."""
    code = invite(held)
    with pytest.raises(RefusedError):
        held.confirm(code, "a", NOW_S)
    assert GIVEN == held.claim(code, "a", NOW_S)


def test_wrong_codes_count_for_ten_minutes_and_for_their_address() -> None:
    """However many addresses there are."""
    wrong = WrongCodes()
    for number in range(WRONG_CODES):
        assert not wrong.are_too_many("a", NOW_S)
        wrong.add("a", NOW_S + number)
    assert (True, False) == (wrong.are_too_many("a", NOW_S + 10), wrong.are_too_many("b", NOW_S + 10))
    assert not wrong.are_too_many("a", NOW_S + WRONG_CODES_S + 1)
    for number in range(10_100):
        wrong.add(str(number), NOW_S)
    assert not wrong.are_too_many("a", NOW_S + 10)  # forgotten before memory is
