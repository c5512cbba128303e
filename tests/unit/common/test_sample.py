"""The rule that decides what can be stored and uploaded."""

from __future__ import annotations

import pytest

from common.sample import MAX_INTEGER, Sample, Value, is_deliverable


@pytest.mark.parametrize("value", [0, -1, 0.0, -0.0, 1.5, 1e308, -1e308, 5e-324, MAX_INTEGER, -MAX_INTEGER, "", "h265"])
def test_numbers_and_text_are_deliverable(value: Value) -> None:
    """Every finite number that a server can hold, and any text, goes on."""
    assert is_deliverable(Sample("m", value))


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), float("-inf"), True, False, 2**63, -(2**63), 10**400, -(10**400)]
)
def test_what_a_server_drops_is_refused_here(value: Value) -> None:
    """What would cost other samples of its line at the server never leaves the collector, and nothing raises."""
    assert not is_deliverable(Sample("m", value))
