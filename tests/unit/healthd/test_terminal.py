"""The picture in a terminal: every width, no colour alone, and the program that draws it."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from healthd.page.picture import picture
from healthd.page.terminal import SIGNS, Terminal
from healthd.rollup import assess
from tests.harness import ROOT
from tests.unit.healthd.build import LIMITS, NOW_S, WALL_MS, known
from tests.unit.healthd.test_picture import STREAM, latest, view

DEVICE = {"id": "belabox-001", "name": "Backpack"}


def drawn(values: dict[str, float] | None = None, **options: Any) -> list[str]:
    """Return the lines for a healthy pipeline with some values of a stream."""
    seen = latest({**STREAM, **(values or {})})
    return Terminal(**options).lines(picture(view(seen=seen), seen, DEVICE, NOW_S, WALL_MS))


def test_the_verdict_comes_first() -> None:
    """Then what is wrong and what to do, then the numbers."""
    lines = drawn({"srt.connected": 0})
    assert lines[0].startswith("Backpack")
    assert lines[1].startswith("X The receiver does not answer")
    assert lines[3].startswith("    Look at the links")
    assert any("Bitrate           5.8 of 6.0 Mbit/s" in line for line in lines)
    assert any(line.startswith("+ wwan0  10.0.0.2") for line in lines)


BROKEN = {"srt.connected": 0, "hdmi.connected": 0, "srt.rtt_ms": 900.0}


@pytest.mark.parametrize("values", [{}, BROKEN], ids=["well", "broken"])
def test_what_matters_fits_a_small_terminal(values: dict[str, float]) -> None:
    """80 by 24: verdicts, stream, links and device; what was left out is said, and no label touches its value."""
    lines = drawn(values, height=23)
    assert len(lines) <= 23
    text = "\n".join(lines)
    assert all(word in text for word in ("Bitrate ", "Packet loss ", "wwan0", "Receiver's buffer ", "All is recorded"))
    assert "more parts" in lines[-1]


def test_a_high_terminal_has_all_of_it() -> None:
    """Nothing is left out where there is room."""
    assert "more parts" not in "\n".join(drawn(height=80))


@pytest.mark.parametrize("width", [40, 80, 81, 120, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    """Nothing wraps."""
    assert max(map(len, drawn(width=width))) <= width


def test_without_colour_there_are_no_escapes() -> None:
    """And with it the same words are there."""
    plain, painted = drawn({"srt.connected": 0}), drawn({"srt.connected": 0}, colour=True)
    assert "\x1b" not in "".join(plain)
    assert "\x1b[31;1mX The receiver" in "\n".join(painted)
    assert len(set(SIGNS.values())) == len(SIGNS)


@pytest.fixture
def answering(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """A healthd that gives what the test has put in, at the address in a run directory."""
    given: dict[str, Any] = {"status": 200, "body": b"{}", "headers": {}}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            given["headers"] = dict(self.headers)
            self.send_response(given["status"])
            self.send_header("Content-Length", str(len(given["body"])))
            self.end_headers()
            self.wfile.write(given["body"])

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        (tmp_path / "healthd.address").write_text(f"127.0.0.1:{server.server_address[1]}\n", encoding="ascii")
        yield given
        server.shutdown()
        thread.join()


def top(run_dir: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the program with its output in a pipe."""
    return subprocess.run(
        [sys.executable, "-m", "healthd.top"],
        cwd=ROOT, env={"BELABOX_RUN__DIR": str(run_dir), **environment},
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip


def test_a_pipe_gets_the_picture_once(answering: dict[str, Any], tmp_path: Path) -> None:
    """With the token of the configuration."""
    seen = latest(STREAM)
    answering["body"] = json.dumps(picture(view(seen=seen), seen, DEVICE, NOW_S, WALL_MS)).encode()
    token = tmp_path / "token"
    token.write_text("sesame\n", encoding="ascii")
    token.chmod(0o600)
    done = top(tmp_path, BELABOX_HEALTH__TOKEN_FILE=str(token))
    assert (0, "") == (done.returncode, done.stderr)
    assert "+ Stream healthy" in done.stdout
    assert answering["headers"]["Authorization"] == "Bearer sesame"


def test_what_is_wrong_is_said(answering: dict[str, Any], tmp_path: Path) -> None:
    """Refused, dead, or not there at all: one line and exit 69."""
    answering["status"] = 401
    refused = top(tmp_path)
    assert (69, True) == (refused.returncode, "answers 401" in refused.stderr)
    (tmp_path / "healthd.address").write_text("127.0.0.1:1\n", encoding="ascii")
    dead = top(tmp_path)
    assert (69, True) == (dead.returncode, "does not answer at 127.0.0.1:1" in dead.stderr)
    (tmp_path / "healthd.address").unlink()
    absent = top(tmp_path)
    assert (69, True) == (absent.returncode, "healthd does not listen" in absent.stderr)
    assert all(done.stderr.count("\n") == 1 for done in (refused, dead, absent))


def test_the_verdict_of_a_broken_pipeline_is_its_reason() -> None:
    """A process that is gone is named."""
    verdict = assess(known(without=("shipper",)), LIMITS, NOW_S)
    lines = Terminal().lines(picture(view(verdict), latest({}), DEVICE, NOW_S, WALL_MS))
    assert lines[2].startswith("X Shipper: was never heard of")
