"""Which images are old, and their digests; the registry is played by a skopeo of the test's own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from deploy.docker import images
from tests.harness import ROOT

DIGEST = f"sha256:{'ab' * 32}"
SKOPEO = f"""#!/bin/sh
case $1 in
list-tags) echo '{{"Tags": ["1.2.3", "1.10.0", "2.0.0-rc1", "v3.0.0", "latest"]}}' ;;
inspect) echo {DIGEST} ;;
esac
"""
COMPOSE = """services:
  one:
    image: somebody/one:1.2.3
  ours:
    image: belabox-metrics-receiver:0.2.0
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A compose file, and the skopeo on the PATH."""
    (tmp_path / "compose.yaml").write_text(COMPOSE, encoding="utf-8")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/skopeo").write_text(SKOPEO, encoding="utf-8")
    (tmp_path / "bin/skopeo").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    return tmp_path


def test_an_old_image_is_named_and_pinned(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the newest version of its kind; ours is in no registry and stays."""
    assert images.EXIT_OLD == images.main(["--folder", str(folder), "--pin"])
    assert f"somebody/one:1.2.3  1.10.0  not pinned, {DIGEST}\n" == capsys.readouterr().out
    text = (folder / "compose.yaml").read_text(encoding="utf-8")
    assert COMPOSE.replace("one:1.2.3", f"one:1.2.3@{DIGEST}") == text
    images.main(["--folder", str(folder), "--pin"])
    assert "somebody/one:1.2.3  1.10.0  pinned\n" == capsys.readouterr().out
    assert text == (folder / "compose.yaml").read_text(encoding="utf-8")


def test_a_registry_that_does_not_answer_changes_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And is named."""
    (folder / "bin/skopeo").write_text("#!/bin/sh\necho no route >&2\nexit 1\n", encoding="utf-8")
    assert images.EXIT_UNAVAILABLE == images.main(["--folder", str(folder), "--pin"])
    assert "docker://somebody/one: no route\n" == capsys.readouterr().err
    assert COMPOSE == (folder / "compose.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("tag", "tags", "expected"),
    [
        ("v1.9.0", ["v1.10.0", "v1.11.0-cluster", "v1.12.0-rc1"], "v1.10.0"),
        ("v1.9.0-cluster", ["v1.10.0", "v1.11.0-cluster"], "v1.11.0-cluster"),
        ("2.0.0", ["1.9.9", "2.0.0"], ""),
        ("latest", ["1.0.0"], ""),
    ],
)
def test_a_newer_version_is_one_of_the_same_kind(tag: str, tags: list[str], expected: str) -> None:
    """No release candidate, no cluster's for a single node, no other way to write it."""
    assert expected == images.newer(tag, tags)


def test_every_image_of_the_compose_files_is_seen() -> None:
    """However it is written there."""
    for file in (ROOT / "deploy/docker").glob("compose*.yaml"):
        text = file.read_text(encoding="utf-8")
        assert text.count("image: ") == len(images.IMAGE.findall(text)), file.name
