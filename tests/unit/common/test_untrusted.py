"""What foreign JSON, XML, numbers and words may not do."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import untrusted
from common.sample import MAX_INTEGER
from common.untrusted import UntrustedError

DEEP = "[" * 100_000
REFUSED = {
    "deep lists": DEEP,
    "deep objects": '{"a":' * 5_000 + "1" + "}" * 5_000,
    "deep and whole": "[" * 40 + "]" * 40,
    "longer than allowed": '"' + "x" * untrusted.MAX_BYTES + '"',
    "no JSON": "{",
    "nothing": "",
    "two texts": "{}{}",
    "no UTF-8": b'{"a": "\xff"',
}


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED)
def test_what_is_not_understood_is_one_error(text: str | bytes) -> None:
    """Depth, length and syntax have the same way out, and it does not repeat the text."""
    with pytest.raises(UntrustedError) as caught:
        untrusted.json_value(text)
    assert len(str(caught.value)) < 60


def test_depth_is_counted_outside_of_strings() -> None:
    """Brackets in a text are no nesting, whatever is escaped in it."""
    text = json.dumps({"a": "[{" * 500, 'b"\\': ["\\", "]" * 500, [[]]]})
    assert json.loads(text) == untrusted.json_value(text)


@pytest.mark.parametrize(
    "number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e9999", "9" * 30, "-" + "9" * 5_000, str(2**63)]
)
def test_a_number_that_cannot_be_held_is_absent(number: str) -> None:
    """It costs itself, not what is beside it."""
    assert {"a": None, "b": 1} == untrusted.json_value(f'{{"a": {number}, "b": 1}}')


@pytest.mark.parametrize("number", ["0", "-7", str(MAX_INTEGER), "0.1", "1e300", "1.0000000000000000000000001"])
def test_a_number_that_can_be_held_is_the_number(number: str) -> None:
    """As Python's own reader has it."""
    assert [json.loads(number)] == untrusted.json_value(f"[{number}]")


@pytest.mark.parametrize("text", ["[]", "7", '"a"', "null"])
def test_what_is_no_object(text: str) -> None:
    """Where an object is expected, nothing else is taken."""
    with pytest.raises(UntrustedError):
        untrusted.json_object(text)


def test_elements_of_xml() -> None:
    """Character references become characters; what is cut or too long is left out."""
    text = "<?xml version='1.0'?><r><a>O&apos;Tel &amp; S&#246;hne</a><b> &gt;=-2dB\n</b><c/><d>1<e>2</e></d><f>x</r>"
    assert {"a": "O'Tel & Söhne", "b": ">=-2dB", "e": "2"} == untrusted.elements(text)
    assert {} == untrusted.elements(f"<a>{'x' * 2000}</a>")
    with pytest.raises(UntrustedError):
        untrusted.elements("<a>" * untrusted.MAX_BYTES)


def test_entities_do_not_grow() -> None:
    """A document type with entities of its own is text like any other."""
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><r><v>&b;&b;</v></r>'
    assert {"v": "&b;&b;"} == untrusted.elements(bomb)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, 1.0), ("-86.5", -86.5), (" 7 ", 7.0), ("1e3", 1000.0), (".5", 0.5), ("5.", 5.0), (True, None), (None, None),
        ("", None), ("nan", None), ("inf", None), ("1_0", None), ("٣", None), ("0x10", None), (math.inf, None),
        (math.nan, None), ("1e999", None), (10**400, None), ("9" * 500, None), ([1], None), ("-86dBm", None),
    ],
)  # fmt: skip
def test_numbers(value: Any, expected: float | None) -> None:
    """Numbers and their texts, finite; nothing else is one."""
    assert expected == untrusted.number(value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (3, 3), (3.0, 3), (3.5, None), ("42", 42), ("-1", -1), ("3.0", None), (True, None), (2**63, None),
        (1e300, None), (math.nan, None), (math.inf, None), ("9" * 30, None), ("9" * 5000, None), ("²", None),
    ],
)  # fmt: skip
def test_integers(value: Any, expected: int | None) -> None:
    """Whole numbers that SQLite can hold."""
    assert expected == untrusted.integer(value)


def test_bounds() -> None:
    """What is out of bounds is absent."""
    assert [None, 0.0, 100.0, None] == [untrusted.number(value, 0, 100) for value in (-1, 0, 100, 100.5)]
    assert [None, 0, 3, None] == [untrusted.integer(value, 0, 3) for value in (-1, 0, 3, 4)]


def test_what_lies_in_an_object() -> None:
    """A path that ends early, or leads through something else, leads to nothing."""
    value = {"a": {"b": [1]}}
    assert [[1], None, None, value] == [untrusted.inner(value, *path) for path in (("a", "b"), ("a", "c"), "abc", ())]


LEAVES = st.none() | st.booleans() | st.floats() | st.integers() | st.text()
JSON = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)


@given(st.text() | st.binary() | JSON.map(json.dumps))
def test_any_text_gives_a_value_or_one_error(text: str | bytes) -> None:
    """Nothing else gets out."""
    try:
        untrusted.json_value(text)
    except UntrustedError:
        pass
    if isinstance(text, str):
        untrusted.elements(text)
        assert untrusted.number(text) is None or math.isfinite(float(text))
        assert untrusted.integer(text) is None or int(text) == untrusted.integer(text)
        assert untrusted.words(text).isprintable()
