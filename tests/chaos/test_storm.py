"""A short storm: random faults of every kind, every sample and event counted."""

from __future__ import annotations

import pytest

from tests.chaos import storm
from tests.harness import require
from tests.scratch import scratch

SEED = 20251011  # another storm: make chaos SEED=… MINUTES=…
DURATION_S = 25.0
# They take minutes to heal: a window is audited when it is over. test_audit.py has them, and `make chaos`.
SLOW = ("server backup", "server rollback", "server wipe")


@pytest.mark.timeout(DURATION_S + storm.SETTLE_S + 60)
def test_a_storm_loses_and_doubles_nothing() -> None:
    """After the storm every number of the oracle is once in the database and at the real server, or counted as lost.

    Long because chance needs its time: twenty-five seconds of faults, and all that they delayed has to arrive.
    """
    with scratch() as folder:
        ledger = storm.run(require("victoria-metrics"), folder, SEED, DURATION_S, SLOW)
    print("\n".join(ledger.lines()))
    assert sum(ledger.faults.values()) > 10
    assert len(ledger.published) > 1_000
    assert 0 == ledger.unexplained
