"""The account of a storm: what is lost has to be counted, and what is counted has to be lost."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.chaos.deliveries import Deliveries
from tests.chaos.ledger import PER_FLIP, Ledger


@pytest.mark.parametrize(
    ("difference", "counted", "perhaps"),
    [
        (0, 3, 0),
        (1, 2, 0),  # one is lost and nobody says so
        (-2, 5, 0),  # two are said to be lost and are there
        (0, 2, 7),  # what no index names is an estimate, of all metrics
        (-1, 4, 7),
    ],
)
def test_published_is_what_arrived_and_what_is_counted(difference: int, counted: int, perhaps: int) -> None:
    """To the sample, in both directions; a flipped bit may change two rows that nobody can tell."""
    ledger = Ledger(Deliveries(lambda: False), counted=Counter(lost=counted), perhaps=perhaps)
    ledger.published = {number: 1000 * number for number in range(10)}
    ledger.arrived = {number: [1000 * number] for number in range(7)}
    assert (difference, abs(difference)) == (ledger.difference, ledger.unexplained)
    ledger.faults["bit flip in the log"] = 1
    assert max(0, abs(difference) - PER_FLIP) == ledger.unexplained
