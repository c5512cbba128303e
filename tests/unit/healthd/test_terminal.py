"""The picture in a terminal: every width, no colour alone, and the program that draws it."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from healthd import top as program
from healthd.keyboard import moved, named
from healthd.page.picture import picture
from healthd.page.terminal import SIGNS, Terminal, window
from healthd.verdict.rollup import assess
from tests.harness import ROOT, wait_for
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
    assert any(line.startswith("+ wwan0  10.0.0.2") and "1.2 GB" in line for line in lines)


BROKEN = {"srt.connected": 0, "hdmi.connected": 0, "srt.rtt_ms": 900.0}


@pytest.mark.parametrize("values", [{}, BROKEN], ids=["well", "broken"])
def test_what_matters_fits_a_small_terminal(values: dict[str, float]) -> None:
    """80 by 24: verdicts, stream, links and device; how much is below is said, and no label touches its value."""
    lines = drawn(values, dense=True, width=80)
    shown = window(lines, 23, 0)
    text = "\n".join(shown)
    assert all(word in text for word in ("Bitrate ", "Packet loss ", "wwan0", "Receiver's buffer ", "All is recorded"))
    assert (23, True) == (len(shown), shown[-1].startswith(f"… {len(lines) - 22} lines below"))


def test_all_of_it_can_be_scrolled_to() -> None:
    """Line by line, page by page, and no further than the ends."""
    lines = [str(number) for number in range(50)]
    seen, first = set(window(lines, 10, 0)), 0
    for _ in range(6):
        first = moved(first, "page down", 9, len(lines))
        seen |= set(window(lines, 10, first))
    assert set(lines) <= seen
    assert ["41", "… 41 lines above: arrow and page keys; q ends"] == [
        window(lines, 10, first)[0],
        window(lines, 10, first)[-1],
    ]
    assert [41, 40, 32, 0, 41] == [moved(41, key, 9, 50) for key in ("down", "up", "page up", "home", "end")]
    assert lines == window(lines, 50, 0)


def test_the_keys_of_a_terminal_are_known() -> None:
    """Several at once, held down; what is no key of ours is passed over."""
    assert ["down", "down", "page up", "end", "quit"] == named(b"\x1b[B\x1bOBx\x1b[5~\x1b[F\x7fq")


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
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        (tmp_path / "healthd.address").write_text(f"127.0.0.1:{server.server_address[1]}\n", encoding="ascii")
        yield given
        server.shutdown()
        thread.join()


Top = Callable[..., tuple[int, str, str]]


@pytest.fixture
def top(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Top:
    """Run the program with its output in no terminal; give its exit code and both outputs."""

    def run(**environment: str) -> tuple[int, str, str]:
        with monkeypatch.context() as patch:
            patch.setattr(os, "environ", {"BELABOX_RUN__DIR": str(tmp_path), **environment})
            patch.setattr(sys, "argv", ["top"])
            return (program.main(), *capsys.readouterr())

    return run


def test_a_pipe_gets_the_picture_once(answering: dict[str, Any], tmp_path: Path, top: Top) -> None:
    """With the token of the configuration."""
    seen = latest(STREAM)
    answering["body"] = json.dumps(picture(view(seen=seen), seen, DEVICE, NOW_S, WALL_MS)).encode()
    token = tmp_path / "token"
    token.write_text("sesame\n", encoding="ascii")
    token.chmod(0o600)
    code, drawn, complaint = top(BELABOX_HEALTH__TOKEN_FILE=str(token))
    assert (0, "") == (code, complaint)
    assert "+ Stream healthy" in drawn
    assert answering["headers"]["Authorization"] == "Bearer sesame"


def test_a_terminal_is_scrolled(answering: dict[str, Any], tmp_path: Path) -> None:
    """At 80 by 24 some processes are below; the page key shows them, q ends it and gives the terminal back."""
    seen, last = latest(STREAM), drawn(dense=True, width=80)[-1].rstrip()
    answering["body"] = json.dumps(picture(view(seen=seen), seen, DEVICE, NOW_S, WALL_MS)).encode()
    ours, theirs = pty.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    running = subprocess.Popen(
        [sys.executable, "-m", "healthd.top"], cwd=ROOT, env={"BELABOX_RUN__DIR": str(tmp_path)},
        stdin=theirs, stdout=theirs, stderr=theirs,
    )  # fmt: skip
    screen = _read_until(ours, "lines below")
    assert last not in screen
    os.write(ours, b"\x1b[6~")
    assert last in _read_until(ours, "lines above")
    os.write(ours, b"q")
    assert 0 == running.wait(30)
    os.close(theirs)
    os.close(ours)


def _read_until(terminal: int, words: str) -> str:
    """Return what a program draws up to some words."""
    text = ""

    def drawn_more() -> bool:
        nonlocal text
        if select.select([terminal], [], [], 0.1)[0]:
            text += os.read(terminal, 65_536).decode(errors="replace")
        return words in text

    wait_for(words, drawn_more)
    return text


def test_what_is_wrong_is_said(answering: dict[str, Any], tmp_path: Path, top: Top) -> None:
    """Refused, dead, or not there at all: one line and exit 69."""
    answering["status"] = 401
    refused = top()
    assert (69, "", True) == (*refused[:2], "answers 401" in refused[2])
    (tmp_path / "healthd.address").write_text("127.0.0.1:1\n", encoding="ascii")
    dead = top()
    assert (69, "", True) == (*dead[:2], "does not answer at 127.0.0.1:1" in dead[2])
    (tmp_path / "healthd.address").unlink()
    absent = top()
    assert (69, "", True) == (*absent[:2], "healthd does not listen" in absent[2])
    assert all(complaint.count("\n") == 1 for *_, complaint in (refused, dead, absent))


def test_the_verdict_of_a_broken_pipeline_is_its_reason() -> None:
    """A process that is gone is named."""
    verdict = assess(known(without=("shipper",)), LIMITS, NOW_S)
    lines = Terminal().lines(picture(view(verdict), latest({}), DEVICE, NOW_S, WALL_MS))
    assert lines[2].startswith("X Shipper: was never heard of")
