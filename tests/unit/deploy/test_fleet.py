"""Adding and revoking devices: what is in vmauth's file before and after, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from common import config
from deploy.fleet import __main__ as fleet
from deploy.fleet import vmauth
from tests.harness import ROOT


def call(folder: Path, *arguments: str) -> int:
    """Call the command on a file of this test."""
    return fleet.main(["--auth", str(folder / "auth.yml"), *arguments])


def users(folder: Path) -> dict[str, dict[str, object]]:
    """Return the users of the file by name."""
    found = yaml.safe_load((folder / "auth.yml").read_text(encoding="utf-8"))["users"] or []
    return {user["name"]: user for user in found}


@pytest.mark.parametrize(
    ("form", "example"), [(vmauth.SINGLE, "auth.example.yml"), (vmauth.CLUSTER, "auth.cluster.example.yml")]
)
def test_the_examples_are_what_the_command_writes(form: str, example: str) -> None:
    """Whoever starts with the example has the isolation too."""
    expected = vmauth.HEAD + form.format(id="belabox-001", token="change-me")
    assert expected == (ROOT / "deploy/docker" / example).read_text(encoding="utf-8")


@pytest.mark.parametrize("options", [[], ["--cluster"]])
def test_a_device_gets_a_token_and_a_configuration_that_is_right(tmp_path: Path, options: list[str]) -> None:
    """Nobody else reads either file of secrets; the configuration passes."""
    assert 0 == call(
        tmp_path, "add", "box-1", "--server", "https://m.example", "--out", str(tmp_path / "out"), *options
    )
    folder = tmp_path / "out/box-1"
    token = (folder / "api-token").read_text(encoding="ascii").strip()
    assert users(tmp_path)["box-1"]["bearer_token"] == token
    assert [0o600, 0o600] == [file.stat().st_mode & 0o777 for file in (folder / "api-token", tmp_path / "auth.yml")]
    loaded = config.load(folder / "config.yaml", {}).settings
    assert ("box-1", True) == (loaded.device.id, loaded.remote.url.startswith("https://m.example/"))


def test_two_hundred_come_from_a_list_and_no_two_tokens_are_alike(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one go, and `list` names them."""
    (tmp_path / "list").write_text("\n".join(f"box-{n}" for n in range(200)), encoding="ascii")
    assert 0 == call(tmp_path, "add", "--list", str(tmp_path / "list"), "--out", str(tmp_path / "out"))
    tokens = re.findall(r"bearer_token: (\S+)", (tmp_path / "auth.yml").read_text(encoding="utf-8"))
    assert (200, 200) == (len(tokens), len(set(tokens)))
    capsys.readouterr()
    assert 0 == call(tmp_path, "list")
    assert [f"box-{n}" for n in range(200)] == capsys.readouterr().out.split()


@pytest.mark.parametrize("gone", ["box-1", "box-2", "box-3"])
def test_revoking_takes_out_one_and_leaves_what_an_administrator_wrote(tmp_path: Path, gone: str) -> None:
    """Users and settings of their own stay as they are, comments included."""
    for number in (1, 2, 3):
        assert 0 == call(tmp_path, "add", f"box-{number}", "--out", str(tmp_path / "out"))
    own = "  - name: grafana\n    bearer_token: mine\n    url_prefix: http://victoriametrics:8428 # all of it\n"
    with (tmp_path / "auth.yml").open("a", encoding="utf-8") as file:
        file.write(own)
    assert 0 == call(tmp_path, "revoke", gone)
    assert {"box-1", "box-2", "box-3", "grafana"} - {gone} == users(tmp_path).keys()
    assert own in (tmp_path / "auth.yml").read_text(encoding="utf-8")


def test_a_token_is_replaced_without_a_gap(tmp_path: Path) -> None:
    """Both are good until the old one is revoked; whoever revokes the device ends both; twice at once is refused."""
    out = ["--out", str(tmp_path / "out")]
    assert 0 == call(tmp_path, "add", "box-1", "box-2", *out)
    before = users(tmp_path)
    assert 0 == call(tmp_path, "rotate", "box-1", *out)
    after, token = users(tmp_path), (tmp_path / "out/box-1/api-token").read_text(encoding="ascii").strip()
    assert before["box-1"] == {**after["box-1~old"], "name": "box-1"}
    assert {**before["box-1"], "bearer_token": token} == after["box-1"]
    assert before["box-2"] == after["box-2"]
    assert (64, after) == (call(tmp_path, "rotate", "box-1", *out), users(tmp_path))
    assert 0 == call(tmp_path, "revoke", "box-1")
    assert {"box-2"} == users(tmp_path).keys()


def test_a_mistake_changes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An id that is none, one that is there already, one that is not: each is named."""
    assert 0 == call(tmp_path, "add", "box-1", "--out", str(tmp_path / "out"))
    before = (tmp_path / "auth.yml").read_bytes()
    for arguments in (
        ["add", "box-2", "a b"],
        ["add", "box-1"],
        ["add"],
        ["revoke", "box-9"],
        ["rotate", "box-9"],
        ["add", "../x"],
    ):
        assert 64 == call(tmp_path, *arguments, *(["--out", str(tmp_path / "out")] if arguments[0] == "add" else []))
        assert capsys.readouterr().err
    assert before == (tmp_path / "auth.yml").read_bytes()
    assert ["box-1"] == [folder.name for folder in (tmp_path / "out").iterdir()]
