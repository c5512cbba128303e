"""What the documents say is what the program does."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from collectors import registry
from common import config
from tests import own_documents, requirements_page
from tests.harness import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("common/*.md")])


def test_generated_pages_are_up_to_date() -> None:
    """docs/metrics.md, docs/configuration.md and deploy/config.yaml are what `make docs` writes."""
    done = subprocess.run(
        [sys.executable, "-m", "docs.generate", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_example_configuration_equals_the_defaults() -> None:
    """The shipped file changes nothing, and with every key uncommented it is still valid and equal."""
    script = """
import os, re, sys, tempfile, pathlib
from collectors import registry
from common import config
text = pathlib.Path("deploy/config.yaml").read_text()
head, body = text.split("\\n\\n", 1)
file = pathlib.Path(tempfile.mkdtemp()) / "config.yaml"
file.write_text(re.sub(r"(?m)^( +)# ", r"\\1", body))
plain = config.load(None, {}, registry.sections())
shipped = config.load(pathlib.Path("deploy/config.yaml"), {}, registry.sections())
uncommented = config.load(file, {}, registry.sections())
assert plain == shipped, "shipped"
assert plain == uncommented, "uncommented"
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def _keys(path: tuple[str, ...], folder: Path) -> Iterator[str]:
    """Give every key below a path, as the loader itself lists them when one is misspelt."""
    tree: dict[str, object] = {"misspelt": {}}
    for name in reversed(path):
        tree = {name: tree}
    file = folder / "config.yaml"
    file.write_text(json.dumps(tree), encoding="utf-8")
    try:
        config.load(file, {}, registry.sections())
    except config.ConfigError as error:
        listed = re.search(r"misspelt: (?:unknown key; here are|no such \w+; there are) (.*)", error.messages[0])
        for name in listed[1].split(", ") if listed else ():
            yield from _keys((*path, name), folder)
        if not listed:
            yield ".".join(path)


def test_every_key_is_on_the_page_and_in_the_example(tmp_path: Path) -> None:
    """Whatever the loader takes is documented: its own list of keys, and no other."""
    keys = {*_keys((), tmp_path), *_keys(("collectors",), tmp_path)}
    page = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
    assert sorted(keys) == sorted(re.findall(r"^\| `([a-z0-9_.]+)` \|", page, re.MULTILINE))
    assert {"alerts.rtt_ms", "storage.retention.full_resolution", "collectors.cpu.interval"} <= keys


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link of a page is a file of the tree."""
    text = page.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text)
    folder = page.parent
    assert [link for link in links if "://" not in link and not (folder / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_make_targets_exist(page: Path) -> None:
    """Every `make …` that a page names is a target of the Makefile."""
    targets = set(re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = re.findall(r"(?:^ {4}|`)make ([a-z-]+)", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(set(named) - targets) == []


def test_every_collector_is_a_supervised_program() -> None:
    """A collector that nobody starts collects nothing."""
    conf = (ROOT / "supervisord.conf").read_text(encoding="utf-8")
    listed = re.search(r"(?m)^programs = (.*)$", conf)
    script = "from collectors import registry; print(','.join(registry.collectors()))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert listed
    assert sorted(done.stdout.strip().split(",")) == sorted(listed[1].split(","))


def test_every_required_metric_is_in_the_catalogue() -> None:
    """And says either that the demo shows it, or why not."""
    script = "from common import catalog; print(' '.join(catalog.METRICS))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    told = requirements_page.rows()
    named = {name for row in told for name in row.metrics}
    assert len(told) > 60
    wrong = [
        row
        for row in told
        if len(row.cells) != requirements_page.COLUMNS or not re.match(r"yes(, as root)?$|no: .", row.demo)
    ]
    assert wrong == []
    assert sorted(named - set(done.stdout.split())) == []


def test_every_rule_has_its_runbook() -> None:
    """Whoever is woken by an alert finds what it means and what to do."""
    rules = (ROOT / "deploy/vmalert/rules.yml").read_text(encoding="utf-8")
    runbooks = (ROOT / "docs/runbooks.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"(?ms)^## (\w+)\n(.*?)(?=^## |\Z)", runbooks))
    assert set(re.findall(r"alert: (\w+)", rules)) <= sections.keys()
    assert [] == [name for name, text in sections.items() if not re.search(r"(?s)Means:.*Look:.*Do:", text)]


# What can take in what an outsider wrote, besides files.
DOORS = {
    "socket",
    "ssl",
    "http.client",
    "http.server",
    "http.cookiejar",
    "requests",
    "urllib3",
    "ctypes",
    "jeepney",
    "fcntl",
}


def test_every_door_to_the_outside_is_in_the_table_of_security() -> None:
    """A folder that begins to open sockets gets a row with what comes in and its bound; a row has its folder."""
    page = (ROOT / "SECURITY.md").read_text(encoding="utf-8").partition("## Every input from outside")[2]
    rows = [line.split("|")[1] for line in page.partition("## Secrets")[0].splitlines() if line.startswith("| `")]
    named = {name for row in rows for name in re.findall(r"`([\w/]+)`", row)}
    packages = ("collectors", "buffer", "shipper", "healthd", "common")
    files = [file for package in packages for file in (ROOT / package).rglob("*.py")]
    opening = {str(file.parent.relative_to(ROOT)) for file in files if imports(file) & DOORS}
    assert [] == sorted(opening - named)
    assert [] == sorted(name for name in named if not (ROOT / name).is_dir())


def imports(file: Path) -> set[str]:
    """Return the modules that a file imports, and the packages that these are in."""
    found = set(re.findall(r"(?m)^ *(?:from|import) ([\w.]+)", file.read_text(encoding="utf-8")))
    return found | {name.partition(".")[0] for name in found if not name.startswith(("http", "urllib."))}


def test_every_documented_command_is_run_by_a_test() -> None:
    """`python -m tests.own_documents` prints by which."""
    listed = list(own_documents.commands())
    assert len(listed) > 60
    assert [] == [command for command in listed if not (ROOT / command.test.partition(",")[0]).is_file()]
