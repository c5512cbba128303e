"""Parse untrusted input from other programs, modems and servers: JSON, flat XML, numbers and words.

The other side may be broken or hostile, so every result is bounded: its size, its nesting, finite numbers, integers
that SQLite can hold, one line of text without control characters.

Fails: `UntrustedError` for a text that is not understood as a whole; a single number that cannot be held is None.
    RecursionError, OverflowError and the libraries' own errors do not leave this file.
"""

from __future__ import annotations

import html
import json
import math
import re
from itertools import accumulate
from typing import Any

from common.plain_text import plain
from common.sample import MAX_INTEGER

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 32  # the deepest of the formats read here, Netgear's model.json, has 8
MAX_DIGITS = 400  # characters of one number: printf("%f") of the largest float64 has 316

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_BRACKET = re.compile(r"[\[\]{}]")
_STEP = {"[": 1, "{": 1, "]": -1, "}": -1}
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,4})?", re.ASCII)
_INTEGER = re.compile(r"[+-]?\d{1,40}", re.ASCII)
_ELEMENT = re.compile(r"<(\w{1,64})>([^<]{0,1000})</\1>", re.ASCII)


class UntrustedError(ValueError):
    """A text that is not what it should be; says what is wrong with it, never what it holds."""


def json_value(text: str | bytes, *, max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH) -> Any:
    """Return what a JSON text holds; a number that is not finite or not within 64 bits is None.

    Args:
        text: the whole of it; bytes are taken as UTF-8.
        max_bytes: the longest that is looked at.
        max_depth: lists and objects within each other.

    Raises:
        UntrustedError: it is longer, deeper, or no JSON.
    """
    if len(text) > max_bytes:
        raise UntrustedError(f"longer than {max_bytes} bytes")
    characters = text if isinstance(text, str) else text.decode("utf-8", "replace")
    if _depth(characters, max_depth) > max_depth:
        raise UntrustedError(f"nested deeper than {max_depth}")
    try:
        return json.loads(characters, parse_int=integer, parse_float=number, parse_constant=lambda _: None)
    except (ValueError, RecursionError) as error:  # the latter: little was left of the stack
        raise UntrustedError("not JSON") from error


def json_object(text: str | bytes, *, max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH) -> dict[str, Any]:
    """Return the object that a JSON text holds.

    Raises:
        UntrustedError: see `json_value`; also where it holds something else.
    """
    value = json_value(text, max_bytes=max_bytes, max_depth=max_depth)
    if not isinstance(value, dict):
        raise UntrustedError("not a JSON object")
    return value


def elements(text: str, *, max_bytes: int = MAX_BYTES) -> dict[str, str]:
    """Return the innermost elements of an XML text by name, their character references replaced; the last one wins.

    It is no XML reader: no entities of its own, no attributes, nothing that grows.

    Raises:
        UntrustedError: it is longer.
    """
    if len(text) > max_bytes:
        raise UntrustedError(f"longer than {max_bytes} bytes")
    return {name: html.unescape(content).strip() for name, content in _ELEMENT.findall(text)}


def inner(value: Any, *path: str) -> Any:
    """Return what lies in an object at a path of keys; None where there is nothing, or something else on the way."""
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def number(value: Any, low: float = -math.inf, high: float = math.inf) -> float | None:
    """Return a number, or the number that a text is, or None where it is neither, not finite or out of bounds.

    Args:
        value: anything; a truth value is no number.
        low: the least that is let through.
        high: the most.
    """
    if isinstance(value, str):
        text = value.strip()
        if len(text) > MAX_DIGITS or not _NUMBER.fullmatch(text):
            return None
        value = float(text)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) and low <= found <= high else None


def integer(value: Any, low: int = -MAX_INTEGER, high: int = MAX_INTEGER) -> int | None:
    """Return a whole number, or the one that a text is, or None where it is neither or out of bounds.

    Args:
        value: anything; 3.0 is a whole number, a truth value is none.
        low: the least that is let through.
        high: the most.
    """
    if isinstance(value, str):
        text = value.strip()
        value = int(text) if _INTEGER.fullmatch(text) else None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if low <= value <= high else None


def words(value: Any, max_length: int = 64) -> str:
    """Return a text as one line that can be shown, "" where it is none."""
    return plain(value, max_length) if isinstance(value, str) else ""


def _depth(text: str, enough: int) -> int:
    """Return how deep the brackets outside of strings are nested; looked at only where there are more than enough."""
    if text.count("[") + text.count("{") <= enough:
        return 0
    steps = map(_STEP.__getitem__, _BRACKET.findall(_STRING.sub("", text)))
    return max(accumulate(steps), default=0)
