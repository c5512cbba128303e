"""One line per event, in the same form whoever writes it, and never with a secret in it."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

from common import log
from common.log import Log, Secrets
from tests.harness import ROOT

pytestmark = pytest.mark.usefixtures("quiet_log")

SECRET = 'tok"en\\1 é'


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> Secrets:
    """Secrets of this test alone."""
    own = Secrets()
    monkeypatch.setattr(log, "SECRETS", own)
    return own


class Clock:
    """A monotonic clock that a test moves."""

    now_s = 1000.0

    def monotonic(self) -> float:
        """Return the time."""
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The log's clock."""
    own = Clock()
    monkeypatch.setattr(log, "time", own)
    return own


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A file that JSON lines go to."""
    path = tmp_path / "x.log"
    log.set_up("debug", "json", str(path))
    return path


def fail(error: Exception) -> None:
    """Fail."""
    raise error


def lines(path: Path) -> list[dict[str, Any]]:
    """Return the JSON lines of a file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_line_is_json_with_time_level_process_message_and_fields(out: Path) -> None:
    """Machines find every field under its own name."""
    Log("cpu").info("collected", count=5, duration_ms=1.5, error=None)
    (line,) = lines(out)
    assert line.pop("time").endswith("Z")
    assert {
        "level": "INFO", "process": "cpu", "msg": "collected", "count": 5, "duration_ms": 1.5, "error": None,
    } == line  # fmt: skip


def test_console_is_one_readable_line(tmp_path: Path) -> None:
    """Eyes get time, level, process, message and fields."""
    path = tmp_path / "x.log"
    log.set_up("info", "console", str(path))
    Log("cpu").warning("slow", count=5)
    assert path.read_text(encoding="utf-8")[12:] == " WARNING cpu: slow count=5\n"


@pytest.mark.parametrize(
    ("level", "expected"), [("debug", "DIWE"), ("info", "IWE"), ("warn", "WE"), ("error", "E")]
)  # fmt: skip
def test_the_level_is_the_least_important_line_written(tmp_path: Path, level: str, expected: str) -> None:
    """What is below the level is not written."""
    path = tmp_path / "x.log"
    log.set_up(level, "json", str(path))
    own = Log("p")
    for write in (own.debug, own.info, own.warning, own.error):
        write("x")
    assert expected == "".join(line["level"][0] for line in lines(path))


def test_what_a_library_logs_comes_out_in_the_same_form(out: Path) -> None:
    """The standard library's records are lines like ours."""
    logging.getLogger("somebody.else").warning("odd: %s", "x")
    (line,) = lines(out)
    assert ("WARNING", "somebody.else", "odd: x") == (line["level"], line["process"], line["msg"])


@pytest.mark.parametrize("form", ["json", "console"])
@pytest.mark.parametrize(
    "secret", [SECRET, "plain", "with/slash+and=", "ab'cd", "two\nlines", "back\\slash", "\u2028", "{}"]
)
def test_a_secret_is_redacted_in_message_fields_and_tracebacks(
    tmp_path: Path, secrets: Secrets, form: str, secret: str
) -> None:
    """Whatever characters a secret has, and wherever it turns up, the line shows *** instead."""
    secrets.add(secret)
    path = tmp_path / "x.log"
    log.set_up("debug", form, str(path))
    own = Log("p")
    own.info(f"using {secret}", token=secret, header=f"X: {secret}!", inner={"a": [secret, {"b": secret}]})
    try:
        fail(RuntimeError(f"refused {secret}"))
    except RuntimeError:
        logging.getLogger("lib").exception("failed with %s", secret)
    text = path.read_text(encoding="utf-8")
    written = [secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]]
    assert [] == [form for form in written if form in text]
    assert text.count("***") >= 5


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://user:pass@host/path", "http://***@host/path"),
        ("at http://user:pa@ss@host/ now", "at http://***@host/ now"),
        ("http://user:pa/ss@host/", "http://***@host/"),
        ("srt://:key@host:9000?x=1", "srt://***@host:9000?x=1"),
        ("http://host/path", "http://host/path"),
        ("mail a@b", "mail a@b"),
        ("Authorization: Bearer abc.def-1", "Authorization: Bearer ***"),
        ("bearer  abc, other", "bearer  ***, other"),
        ("{'Authorization': 'BEARER abc'}", "{'Authorization': 'BEARER ***'}"),
        ("bearer_token", "bearer_token"),
        ("http://host/import?x=1&api_key=abc&y=2", "http://host/import?x=1&api_key=***&y=2"),
        ("'http://host/?Token=abc'", "'http://host/?Token=***'"),
    ],
)
def test_keys_in_urls_and_bearer_tokens_are_redacted_unseen(text: str, expected: str) -> None:
    """What looks like a secret is hidden although nobody named it."""
    assert expected == Secrets().redact(text)


def test_of_two_secrets_the_longer_is_hidden_whole(secrets: Secrets) -> None:
    """A secret that begins with another one leaves no tail."""
    secrets.add("abc")
    secrets.add("abcdef")
    secrets.add("")
    assert "*** ***" == secrets.redact("abcdef abc")


def test_a_line_stays_json_whatever_is_redacted(out: Path, secrets: Secrets) -> None:
    """Redaction happens before quoting, so it cannot tear a line apart."""
    secrets.add('"')
    Log("p").info("x", a='Bearer abc"def', b='http://u:"@h', c='"')
    assert 1 == len(lines(out))


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), Path("/x"), {1: 2}, {("a",): 1}, {"s": {1}}, b"\xff", object, "\udcff"]
)
def test_any_field_makes_a_line(out: Path, value: object) -> None:
    """What JSON cannot hold is written as text; no event is lost for its fields."""
    Log("p").info("x", value=value)
    text = out.read_text(encoding="utf-8")
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


HOSTILE = "\x1b]0;owned\x07\x9b31m\n12:00 ERROR x: forged\r\u202e\x7f"


@pytest.mark.parametrize("form", ["json", "console"])
def test_what_others_say_is_one_line_that_steers_no_terminal(tmp_path: Path, form: str) -> None:
    """Escape sequences, line feeds and marks of direction in a message, a field, an error's text."""
    file = tmp_path / "x.log"
    log.set_up("debug", form, str(file))
    Log("x").info(f"model {HOSTILE}", model=HOSTILE)
    try:
        fail(ValueError(HOSTILE.replace("\n", " ")))
    except ValueError as error:
        Log("x").uncaught(type(error), error, error.__traceback__)
    first, *rest = file.read_text().splitlines()
    assert "forged" in first
    assert all(line.isprintable() for line in (first, *rest))


def test_a_repeating_line_comes_once_a_minute_with_how_many_were_held_back(out: Path, clock: Clock) -> None:
    """Throttling hides repetition, not its amount."""
    own = Log("p")
    for second in range(150):
        clock.now_s = 1000.0 + second
        own.throttled_warning("k", "again", second=second)
    assert [(0, None), (60, 59), (120, 59)] == [(line["second"], line.get("held_back")) for line in lines(out)]


def test_keys_are_throttled_each_for_itself(out: Path, clock: Clock) -> None:
    """A new kind of trouble is written although an old one repeats."""
    own = Log("p")
    for key in "aab":
        own.throttled_warning(key, key)
    assert ["a", "b"] == [line["msg"] for line in lines(out)]


def test_the_first_line_is_written_right_after_boot(out: Path, clock: Clock) -> None:
    """A monotonic clock near zero holds nothing back."""
    clock.now_s = 0.5
    Log("p").throttled_warning("k", "x")
    assert 1 == len(lines(out))


def test_throttling_forgets_before_it_fills_the_memory(clock: Clock) -> None:
    """Errors whose text differs each time do not add up."""
    own = Log("p")
    for number in range(2 * log.MAX_THROTTLED):
        own.throttled_warning(f"error {number}", "x")
    assert len(own._last_s) <= log.MAX_THROTTLED


def test_setting_up_again_replaces_the_old_direction(tmp_path: Path) -> None:
    """After a reload lines go to the new place alone, and the old file is closed."""
    log.set_up("info", "json", str(tmp_path / "a"))
    (old,) = (handler for handler in logging.getLogger().handlers if isinstance(handler, logging.FileHandler))
    log.set_up("info", "json", str(tmp_path / "b"))
    Log("p").info("x")
    assert old.stream is None
    assert ([], ["x"]) == (lines(tmp_path / "a"), [line["msg"] for line in lines(tmp_path / "b")])


def test_a_file_that_cannot_be_opened_leaves_the_old_direction(tmp_path: Path, out: Path) -> None:
    """A bad output is an error before anything is changed."""
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        log.set_up("error", "console", str(tmp_path / "file" / "x.log"))
    Log("p").info("x")
    assert ["x"] == [line["msg"] for line in lines(out)]


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_stdout_and_stderr_are_streams(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What goes there is kept by supervisord."""
    log.set_up("info", "json", name)
    Log("p").info("x")
    assert "x" == json.loads(getattr(capsys.readouterr(), name.removeprefix("std")))["msg"]


def test_an_uncaught_bug_is_one_line_with_its_traceback(out: Path, secrets: Secrets) -> None:
    """What ends a process is logged in the same form, redacted."""
    secrets.add("s3cret")
    try:
        fail(ZeroDivisionError("s3cret"))
    except ZeroDivisionError:
        kind, error, trace = sys.exc_info()
        assert kind is not None
        assert isinstance(error, BaseException)
        assert isinstance(trace, TracebackType)
        Log("cpu").uncaught(kind, error, trace)
    (line,) = lines(out)
    assert ("CRITICAL", "cpu", "ended by a bug") == (line["level"], line["process"], line["msg"])
    assert "test_an_uncaught_bug" in line["stack"]
    assert "ZeroDivisionError: ***" in line["stack"]


def test_a_shared_file_is_written_beside_the_process_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The file that supervisord keeps of each process stays complete, whatever is shared."""
    log.set_up("info", "json", str(tmp_path / "all.log"))
    Log("p").info("x")
    assert ["x", "x"] == [json.loads(capsys.readouterr().out)["msg"], lines(tmp_path / "all.log")[0]["msg"]]


def test_processes_share_a_file_that_begins_again_at_its_size(tmp_path: Path) -> None:
    """Four processes write a thousand lines: each line is whole, and no file is much larger than it may be."""
    path, most, count = tmp_path / "all.log", 20_000, 250
    script = (
        "import sys; from common import log\n"
        f"log.set_up('info', 'json', {str(path)!r}, {most})\n"
        f"for number in range({count}): log.Log(sys.argv[1]).info('a line', number=number)\n"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", script, name], cwd=ROOT, stdout=subprocess.DEVNULL) for name in "abcd"
    ]
    assert [0] * 4 == [process.wait(60) for process in running]
    line_bytes = len((tmp_path / "all.log.1").read_text(encoding="utf-8").splitlines()[0]) + 10
    for file in (path, tmp_path / "all.log.1"):
        if file.exists():
            assert file.stat().st_size < most + 8 * line_bytes
            assert {"a line"} == {line["msg"] for line in lines(file)}
    assert {"all.log", "all.log.1"} >= {file.name for file in tmp_path.iterdir()}
