"""A receiver's name that nobody resolves holds its collector for a second, not for half a minute."""

from __future__ import annotations

from pathlib import Path

from tests.integration.test_name_lookup import run_alone


def test_a_name_server_that_hangs_is_asked_once(tmp_path: Path) -> None:
    """For an IPv4 and an IPv6 address, without a second attempt; the resolver of the C library takes no deadline."""
    done = run_alone("tests.integration.web_lookup_child", tmp_path, 60)
    assert ["2"] == done.stdout.split()[:1]
