"""A device from an invitation to a phone: one line installs it and lets it join, one command shares its page.

The device is a clean Debian with an address of its own; browser and servers are this machine.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from selenium.webdriver import Chrome

from tests import documents
from tests.browser.chromium import PHONE, chromium
from tests.fake_vm import FakeVm
from tests.free_port import free_port
from tests.harness import ROOT, require, wait_for
from tests.install.machine import ADDRESS, HOST, Machine, clean_machine
from tests.install.test_deb import built

PROXY = """{{
	admin off
	auto_https disable_redirects
	skip_install_trust
}}
https://{host}:{port} {{
	tls internal
	reverse_proxy {device}:9100
}}
"""


@pytest.fixture
def machine(run_dir: Path) -> Iterator[Machine]:
    """A clean machine that has started, at the end of a cable."""
    require("caddy"), require("certutil")
    built(ROOT, "amd64", run_dir / "packages")
    with clean_machine(run_dir, has_cable=True) as made:
        yield made


@contextmanager
def running(command: list[str], **environment: str) -> Iterator[None]:
    """Run a program of this machine for as long as a block lasts."""
    with subprocess.Popen(command, cwd=ROOT, env={**os.environ, **environment}) as started:
        try:
            yield
        finally:
            started.terminate()


def fleet(run_dir: Path, *arguments: str) -> list[str]:
    """Return the administrator's command line."""
    return [sys.executable, "-m", "deploy.fleet", "--auth", f"{run_dir}/auth.yml", *arguments,
            "--invitations", f"{run_dir}/invitations"]  # fmt: skip


@pytest.mark.timeout(1800)
def test_an_invited_device_is_on_the_phone_s_home_screen(
    machine: Machine, run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its samples come with its own token; the page opens at its address, and over HTTPS it is an app."""
    joined(machine, run_dir)
    obeys_the_requirement_documents(machine)
    monkeypatch.setenv("HOME", str(run_dir))
    port = free_port()
    (run_dir / "Caddyfile").write_text(PROXY.format(host=HOST, port=port, device=ADDRESS), encoding="ascii")
    caddy = ["caddy", "run", "--adapter", "caddyfile", "--config", f"{run_dir}/Caddyfile"]
    with running(caddy, XDG_DATA_HOME=str(run_dir)):
        trust(run_dir, run_dir / "caddy/pki/authorities/local/root.crt")
        with chromium(run_dir, PHONE) as browser:
            plain = opened(browser, shared(machine))
            assert ["not-from-secure-origin"] == plain
            assert [] == opened(browser, shared(machine).replace(f"http://{ADDRESS}:9100", f"https://{HOST}:{port}"))


def joined(machine: Machine, run_dir: Path) -> None:
    """Paste the line of an invitation; the package comes from this machine."""
    listen, port = f"{HOST}:{free_port()}", free_port()
    places = ("--out", f"{run_dir}/devices", "--server", f"http://{HOST}:{port}", "--join", f"http://{listen}/join")
    add = fleet(run_dir, "add", "box-1", *places, "--invite")
    (line,) = re.findall("(?m)^curl .*", subprocess.run(add, check=True, capture_output=True, text=True).stdout)
    (token,) = re.findall("bearer_token: (.*)", (run_dir / "auth.yml").read_text(encoding="utf-8"))
    serve = fleet(run_dir, "serve", "--listen", listen, "--packages", f"{run_dir}/packages")
    with running(serve), FakeVm(host=HOST, port=port, token=token) as vm:
        wait_for("the service", lambda: b"#!/bin/sh" in curl(f"http://{listen}/join"))
        print(machine.run("sh", "-c", line))
        wait_for("its samples", lambda: any(sample.labels.get("device_id") == "box-1" for sample in vm.samples()), 60)


def curl(url: str) -> bytes:
    """Return what is at a URL, nothing while nobody listens there."""
    return subprocess.run(["curl", "-fsS", url], capture_output=True, check=False, timeout=30).stdout


def obeys_the_requirement_documents(machine: Machine) -> None:
    """What they have root type on a device works there as it is written, but for the time's own programs."""
    typed = [row.text for row in documents.rows("command") if row.text.startswith("sudo ") and not row.why]
    for command in typed:
        if not re.search("ntpdate|timesyncd", command):
            machine.run("sh", "-c", command)


def trust(home: Path, certificate: Path) -> None:
    """Have this user's browser trust an authority."""
    wait_for("its certificate", certificate.exists)
    store = home / ".pki/nssdb"
    store.mkdir(parents=True)
    subprocess.run(["certutil", "-d", f"sql:{store}", "-N", "--empty-password"], check=True)
    add = ["certutil", "-d", f"sql:{store}", "-A", "-n", "caddy", "-t", "C,,", "-i", str(certificate)]
    subprocess.run(add, check=True)


def shared(machine: Machine) -> str:
    """Share the page; return the link."""
    said = machine.run("belabox-metrics", "page", "--share")
    (link,) = re.findall(r"\S+/login#\S+", said)
    assert link.startswith(f"http://{ADDRESS}:9100/"), said
    return str(link)


def opened(browser: Chrome, link: str) -> list[str]:
    """Log in with a link; return what keeps the page from being installed as an app."""
    browser.get(link)
    state = "return document.querySelector('#connection')?.textContent"
    wait_for("the page", lambda: browser.execute_script(state) == "live")
    assert browser.execute_script("return document.querySelector('#stream-verdict h1').textContent")
    found = browser.execute_cdp_cmd("Page.getInstallabilityErrors", {})
    return [error["errorId"] for error in found["installabilityErrors"]]
