"""What `--print` shows: samples on the one hand, what is missing on the other, each once."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from collectors import printing


def test_every_gap_is_said_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """However many rounds; samples are JSON lines with an empty line after each round."""
    (tmp_path / "sys/class/thermal/thermal_zone0").mkdir(parents=True)
    (tmp_path / "sys/class/thermal/thermal_zone0/temp").write_text("2147483647\n")
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal: 1000 kB\nMemAvailable: 400 kB\n")
    options = argparse.Namespace(name="system", config=None, root=tmp_path, interval=0.001, count=3)
    assert 0 == printing.show(options)
    out, said = capsys.readouterr()
    rounds = [[json.loads(line) for line in part.splitlines()] for part in out.strip("\n").split("\n\n")]
    assert 3 == len(rounds)
    assert {"memory.used_bytes"} <= {line["name"] for line in rounds[0]}
    lines = said.splitlines()
    items = [line.split(": ")[1] for line in lines]
    assert sorted(set(items)) == sorted(items)
    assert any(line.startswith("thermal: ") and "2147483647" in line for line in lines)
    assert "cpu: proc/stat: is not there" in lines


def test_a_sentence_stands_for_the_paths_that_it_explains(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A machine without sound, encoder and HDMI input has a sentence for each, and belaUI's files."""
    assert 0 == printing.show(argparse.Namespace(name="media", config=None, root=tmp_path, interval=None, count=1))
    assert [
        "audio: opt/belaUI/config.json", "audio: sound card that can capture", "audio: tmp/belacoder_pipeline",
        "encoder: hardware encoder", "hdmi: HDMI input",
    ] == [": ".join(line.split(": ")[:2]) for line in capsys.readouterr().err.splitlines()]  # fmt: skip
