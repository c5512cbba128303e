"""What steers a terminal or the direction of writing does not get through."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.plain_text import plain


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("E3372", "E3372"),
        ("\x1b]0;owned\x07E3372", "E3372"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x9b31mred", "red"),
        ("\x1bP1$r0m\x1b\\x", "x"),
        ("\x1bcx", "x"),
        ("\x1b", ""),
        ("\x1b]2;never ends", ""),
        ("two\r\nlines\tand\x0bmore", "two lines and more"),
        ("\u202egnp.exe\u202c \u2066x\u2069\u200f", "gnp.exe x"),
        ("a\0b\x7fc\u0085d\u2028e", "abc d e"),
        ("\ud800x", "x"),
        ("Küche 🎥 中文", "Küche 🎥 中文"),
        ("  padded\u00a0", "padded"),
        ("x" * 300, "x" * 200),
        ("a\r\x1b\x85b", "a b"),
    ],
)
def test_a_text_that_steers(text: str, expected: str) -> None:
    """Escape sequences go as a whole; white space is one space; what is to be read stays."""
    assert expected == plain(text)


@given(st.text(), st.integers(1, 50))
def test_any_text(text: str, length: int) -> None:
    """One line of printable characters, no longer than asked for, that any encoding takes."""
    found = plain(text, length)
    assert found.isprintable()
    assert len(found) <= length
    assert found.encode().decode() == found
    assert not any(unicodedata.category(character)[0] == "C" for character in found)
    assert plain(found, length) == found
