"""A clone in a folder with a blank and a quote in its name: `make run` there, and each command on what runs."""

from __future__ import annotations

import gzip
import json
import os
import re
import shlex
import shutil
import signal
import site
import sqlite3
import subprocess
import venv
from contextlib import closing
from pathlib import Path

import pytest

from tests import own_documents
from tests.free_port import free_port
from tests.harness import ROOT, wait_for

# Of a stream, which this pipeline does not have: tests/unit/healthd/test_session_report.py; of a fleet: test_join.py.
NOT_HERE = {"report", "report --last", "join"}
PACKAGES = ("buffer", "collectors", "common", "deploy", "healthd", "shipper", "tests")


@pytest.fixture
def clone(run_dir: Path) -> Path:
    """Give a clone with a venv as `make setup` makes it, but for the download."""
    folder = run_dir / "the box's clone"
    folder.mkdir()
    for name in PACKAGES:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("fixtures", "node_modules"))
    for name in ("Makefile", "supervisord.conf", "requirements.lock", "requirements-dev.lock"):
        shutil.copy2(ROOT / name, folder / name)
    venv.create(folder / ".venv", symlinks=True)
    (found,) = (folder / ".venv/lib").glob("python3*/site-packages")
    (found / "here.pth").write_text("\n".join(site.getsitepackages()), encoding="utf-8")
    for stamp in (".run", ".dev"):
        (folder / ".venv/bin" / stamp).touch()
    return folder


def make(clone: Path, *arguments: str) -> tuple[int, str]:
    """Run make as an operator does; return its exit code and what was said."""
    done = subprocess.run(
        ["make", "--no-print-directory", *arguments], cwd=clone, env=environment(clone), capture_output=True, text=True,
        timeout=90, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def environment(clone: Path) -> dict[str, str]:
    """Return a user's environment: nothing of this test's own pipeline in it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("BELABOX", "MAKE", "RUN_DIR"))}
    return {**kept, "HOME": str(clone)}


def test_a_clone_in_an_odd_folder_runs_and_obeys_every_command(clone: Path) -> None:
    """From `make run` to `make stop`: states, values, logs, reload, a backup of what is being written.

    Long because each of some forty commands that the documents print is a process, as an operator types it.
    """
    port = free_port()
    with (clone / "out").open("wb") as out:
        running = subprocess.Popen(
            ["make", "--no-print-directory", "run", "SERVER=bundled"], cwd=clone, stdout=out, stderr=out,
            env={**environment(clone), "BELABOX_HEALTH__PORT": str(port), "BELABOX_STORAGE__COMMIT_INTERVAL": "1s"},
            start_new_session=True,
        )  # fmt: skip
    try:
        wait_for("the database", (clone / "run/metrics.db").exists, 60)
        wait_for("samples", lambda: counted(clone / "run/metrics.db") > 10, 60)
        runs = "buffer                           RUNNING"  # at first supervisord says STARTING
        wait_for("what runs", lambda: runs in make(clone, "status")[1], 60)
        assert "Device" in make(clone, "top")[1]
        code, said = make(clone, "reload")
        assert (0, True) == (code, "shipper: signalled" in said), said
        wait_for("the reload", lambda: '"reloaded"' in (clone / "run/log/shipper.log").read_text(encoding="utf-8"))
        code, said = make(clone, "backup", "FILE=../copy of it.db")
        assert (0, True) == (code, "checked" in said), said
        assert counted(clone.parent / "copy of it.db") > 10
        for line in documented(clone):
            done = subprocess.run(
                [str(clone / ".venv/bin/belabox-metrics"), *line], cwd=clone.parent, env=environment(clone),
                capture_output=True, text=True, check=False, timeout=60,
            )  # fmt: skip
            assert (0, True) == (done.returncode, bool(done.stdout)), (line, done.stdout, done.stderr)
        type_what_is_documented(clone, port)
        assert 0 == make(clone, "stop")[0]
        assert 0 == running.wait(60)
        assert "rehearsed" not in (clone / "out").read_text(encoding="utf-8")
    finally:
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)
            running.wait()
        print((clone / "out").read_text(encoding="utf-8")[-2000:])


def type_what_is_documented(clone: Path, port: int) -> None:
    """Run the other commands of the documents: in the folder of the clone, an operator's in the run directory."""
    archive = clone / "run/archive/2025-10-11"
    archive.mkdir(parents=True, exist_ok=True)
    for name, content in {
        "metrics-12.db": (clone.parent / "copy of it.db").read_bytes(),
        "events-12.log": b"{}",
    }.items():
        (archive / f"{name}.gz").write_bytes(gzip.compress(content))
    server = re.findall(r"http://127\.0\.0\.1:(\d+)", (clone / "out").read_text(encoding="utf-8"))[0]
    for page, command, test in own_documents.commands():
        if test == own_documents.HERE and "belabox-metrics" not in command:
            typed = command.replace("127.0.0.1:9100", f"127.0.0.1:{port}").replace(
                "127.0.0.1:8428", f"127.0.0.1:{server}"
            )
            done = subprocess.run(
                ["/bin/sh", "-ec", typed], cwd=clone if page == "README.md" else clone / "run", env=environment(clone),
                capture_output=True, text=True, timeout=60, check=False,
            )  # fmt: skip
            assert 0 == done.returncode, (typed, done.stderr)


def documented(clone: Path) -> list[tuple[str, ...]]:
    """Return what the documents have an operator call, each once, with this clone's names for the placeholders."""
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
    found: set[str] = set()
    for page in pages:
        text = page.read_text(encoding="utf-8")
        found |= set(re.findall(r"(?m)(?:^    |`)(?:sudo )?belabox-metrics ([a-z][^`\n]*)(?:`|$)", text))
    assert len(found) > 10
    # Not every user may write to /var/lib.
    own = {"device": {"id": "box-1"}, "storage": {"path": str(clone / "own.db")}}
    (clone / "FILE").write_text(json.dumps(own), encoding="utf-8")
    return sorted({tuple(adapted(line, clone)) for line in found - NOT_HERE})


def adapted(line: str, clone: Path) -> list[str]:
    """Return the words of a command that ends by itself and writes nothing outside of the test's folder."""
    placeholders = {"<process>": "buffer", "<source>": "cpu", "FILE": str(clone / "FILE")}
    name, *given = (placeholders.get(word, word) for word in shlex.split(line) if word != "-f")
    if name == "backup":
        given = [str(clone.parent / f"backup of {Path(given[0]).name}.db")]
    if name == "print" and "--count" not in given:
        given += ["--count", "1"]
    return [name, *given]


def counted(database: Path) -> int:
    """Return how many samples are in a database."""
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
        try:
            return int(connection.execute("SELECT count(*) FROM metrics").fetchone()[0])
        except sqlite3.OperationalError:
            return 0
