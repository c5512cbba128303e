"""Why a server does not keep what it accepts, in words that name the setting."""

from __future__ import annotations

import pytest

from buffer.delivery.withheld_cause import explain
from buffer.storage.withheld import Withheld


@pytest.mark.parametrize(
    ("expected", "found", "series"),
    [
        ("under another device_id (extra_label in vmauth)", {"cpu": [Withheld(30, 0)]}, 1),
        ("keeps 60 of 300 samples of 2 series (cpu): its -dedup", {"cpu": [Withheld(150, 30), Withheld(150, 30)]}, 9),
        ("accepts 1 of 9 series and does not keep them (cpu): relabelling", {"cpu": [Withheld(30, 0)]}, 9),
        ("(a, b, c and 1 more metrics)", {name: [Withheld(30, 0)] for name in "dcba"}, 9),
    ],
)
def test_the_likely_setting_is_named(expected: str, found: dict[str, list[Withheld]], series: int) -> None:
    """By what is left of each series."""
    assert expected in explain(found, series)


def test_less_is_required_by_the_same_rule() -> None:
    """With some tolerance, and nothing of what is dropped as a whole."""
    assert [0, 23, 11] == [Withheld(30, 0).required(30), Withheld(60, 30).required(60), Withheld(60, 30).required(30)]


def test_one_sample_alone_says_nothing_of_a_rule_that_keeps_some() -> None:
    """One of a series that was dropped as a whole does."""
    assert [False, True, True] == [
        Withheld(60, 30).is_over(1),
        Withheld(60, 30).is_over(60),
        Withheld(60, 0).is_over(1),
    ]
