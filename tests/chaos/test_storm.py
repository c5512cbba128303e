"""A short storm: random kills, hangs, bad networks and server deaths, every sample counted."""

from __future__ import annotations

import pytest

from tests.chaos import storm
from tests.harness import require
from tests.scratch import scratch

SEED = 20251011  # another storm: make chaos SEED=… MINUTES=…
DURATION_S = 45.0


@pytest.mark.timeout(DURATION_S + storm.SETTLE_S + 60)
def test_a_storm_loses_and_doubles_nothing() -> None:
    """After the storm every number of the oracle is at the real server once, and in the database once."""
    with scratch() as folder:
        ledger = storm.run(require("victoria-metrics"), folder, SEED, DURATION_S)
    print("\n".join(ledger.lines()))
    assert sum(ledger.faults.values()) > 10
    assert len(ledger.published) > 1_000
    assert ledger.lost == set()
    assert ledger.doubled == set()
