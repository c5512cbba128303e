"""A process that supervisord started knows whether it is gone, also when that was before the process had begun."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from common import service


@pytest.mark.parametrize(
    ("expected", "parent", "first_process"),
    [
        (77, 77, b"/sbin/init"),
        (0, 1, b"/sbin/init"),  # whoever takes over orphans
        (1, 1, b"/usr/bin/python3\0/usr/bin/supervisord\0-n"),  # in a container
    ],
)
def test_the_parent_is_the_supervisord_that_started_it(
    monkeypatch: pytest.MonkeyPatch, expected: int, parent: int, first_process: bytes
) -> None:
    """Process 1 only where that is one."""
    monkeypatch.setenv("SUPERVISOR_ENABLED", "1")
    monkeypatch.setattr(os, "getppid", lambda: parent)
    monkeypatch.setattr(Path, "read_bytes", lambda _: first_process)
    assert expected == service._supervisord()


def test_without_supervisord_there_is_none_to_lose(monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator's own shell may go."""
    monkeypatch.delenv("SUPERVISOR_ENABLED", raising=False)
    assert service._supervisord() is None
