"""What machine it is, from whatever the firmware and the images say."""

from __future__ import annotations

from pathlib import Path

import pytest

from collectors.system import machine
from tests.unit.collectors import trees

FILES = {
    machine.MODEL: "RK3588 OPi 5 Plus\0",
    machine.KERNEL: "6.1.43\n",
    machine.SYSTEM: 'NAME=x\nPRETTY_NAME="Ubuntu 22.04.4 LTS"\n',
    machine.IMAGE: "2023.11.1\n",
}


def test_what_is_known(tmp_path: Path) -> None:
    """Each name by its label."""
    known = {"board": "RK3588 OPi 5 Plus", "kernel": "6.1.43", "os": "Ubuntu 22.04.4 LTS", "image": "2023.11.1"}
    assert known == machine.info(trees.write(tmp_path, FILES))


@pytest.mark.parametrize("path", FILES)
def test_what_is_missing_is_empty(tmp_path: Path, path: str) -> None:
    """The others are still there."""
    found = machine.info(trees.write(tmp_path, {name: text for name, text in FILES.items() if name != path}))
    assert 1 == list(found.values()).count("")


def test_nothing_known_is_no_information(tmp_path: Path) -> None:
    """A sample that says nothing is none."""
    assert {} == machine.info(trees.write(tmp_path, {}))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("A\tboard\x1b[31m\0", "Aboard[31m"),
        ("\n\n", ""),
        ("x" * 500, "x" * machine.LONGEST),
        ("one\ntwo\n", "one"),
        ("\ufffd\0rest", "\ufffd"),
    ],
)
def test_what_firmware_may_hold(tmp_path: Path, text: str, shown: str) -> None:
    """One line that can be shown, of bounded length."""
    assert shown == machine.info(trees.write(tmp_path, {**FILES, machine.MODEL: text}))["board"]


@pytest.mark.parametrize("line", ["PRETTY_NAME=Plain", "PRETTY_NAME='Plain'", 'PRETTY_NAME="Plain"  '])
def test_quotes_of_os_release(tmp_path: Path, line: str) -> None:
    """os-release(5) is a shell's assignment."""
    assert "Plain" == machine.info(trees.write(tmp_path, {machine.SYSTEM: f"{line}\n"}))["os"]
