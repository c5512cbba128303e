"""What counts as delivered and what as refused, with a real server behind portals and proxies."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.chaos.portal import bad_backend, closings, set_up, settled
from tests.harness import require

CLEAN = {"lost": 0, "doubled": 0, "quarantined": 0}


def test_a_portal_that_opens_and_closes_takes_nothing(run_dir: Path) -> None:
    """With a token for writing alone: at each closing what is marked uploaded is what is at the server."""
    with set_up(run_dir, require("victoria-metrics"), write_only=True) as (device, server, way):
        assert closings(device, server, way, random.Random(1), 15.0) > 3
        account = settled(device, server)
    assert account.pop("published") > 500
    assert CLEAN == account


@pytest.mark.parametrize("status", [400, 404, 413, 502])
def test_one_bad_backend_of_two_costs_nothing(run_dir: Path, status: int) -> None:
    """Every second upload meets a page; nothing is quarantined, everything arrives."""
    with set_up(run_dir, require("victoria-metrics"), write_only=False) as (device, server, way):
        bad_backend(device, way, status, 5.0)
        account = settled(device, server)
    assert account.pop("published") > 100
    assert CLEAN == account
