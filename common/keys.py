"""Parsers for configuration values, and the dataclass fields that use them.

A parser takes what YAML gave (or the text of an environment variable) and returns the typed value or
raises ValueError saying what was expected; the loader adds the key path. Defaults go through the same
parser, so a default is written as an operator would write it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

Parser = Callable[[Any], Any]

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(B|KB|MB|GB|KiB|MiB|GiB)?")
# MB is what the requirement documents write where memory and files are meant; both count in 1024s.
_BYTES = {"": 1, "B": 1, "KB": 1 << 10, "KIB": 1 << 10, "MB": 1 << 20, "MIB": 1 << 20, "GB": 1 << 30, "GIB": 1 << 30}


class EnvironmentText(str):
    """The text of an environment variable, which YAML has not typed."""

    __slots__ = ()


@dataclass(frozen=True)
class KeySpec:
    """What the loader knows of one key: its name in the file, parser, default as written, and help.

    Attributes:
        fixed: a change takes effect only when the process is restarted.
    """

    name: str
    parse: Parser
    default: str
    help: str
    fixed: bool = False


def key(parse: Parser, default: str, text_help: str, *, name: str = "", fixed: bool = False) -> Any:
    """Declare a key as a dataclass field; `name` where the file's spelling has no unit in it."""
    value = parse(EnvironmentText(default))
    return field(default_factory=lambda: value, metadata={"key": KeySpec(name, parse, default, text_help, fixed)})


def section(kind: type[Any]) -> Any:
    """Declare a nested section as a dataclass field."""
    return field(default_factory=kind, metadata={"section": kind})


def shared(kind: type[Any], path: str) -> Any:
    """Declare a field of a collector's section that is a section of `Settings`, e.g. `alerts`: written there alone."""
    return field(default_factory=kind, metadata={"shared": path})


def text(*, pattern: str = "") -> Parser:
    """Accept text; a pattern has to match all of it."""

    def parse(value: Any) -> str:
        if not isinstance(value, str):  # YAML has made 8 of 010 and 36610 of 10:10:10 by now
            raise ValueError("expected text, in quotes where it looks like something else")
        if not _is_unicode(value):
            raise ValueError("expected text in UTF-8")
        if pattern and not re.fullmatch(pattern, value):
            raise ValueError(f"expected text like {pattern}")
        return str(value)

    return parse


def named() -> Parser:
    """Accept names by what they are given to, e.g. ``{usb0: left}``."""

    def parse(value: Any) -> Mapping[str, str]:
        typed = _typed(value)
        if not isinstance(typed, dict) or not all(isinstance(text, str) for pair in typed.items() for text in pair):
            raise ValueError("expected names, each with what it is given to, e.g. {usb0: left}")
        if not all(_is_unicode(text) for pair in typed.items() for text in pair):
            raise ValueError("expected names in UTF-8")
        return typed

    return parse


def choice(*words: str) -> Parser:
    """Accept one of some words."""

    def parse(value: Any) -> str:
        if value not in words:
            raise ValueError(f"expected one of {', '.join(words)}")
        return str(value)

    return parse


def boolean() -> Parser:
    """Accept true or false."""

    def parse(value: Any) -> bool:
        typed = _typed(value)
        if not isinstance(typed, bool):
            raise ValueError("expected true or false")
        return typed

    return parse


def integer(least: int, most: int, *, optional: bool = False) -> Parser:
    """Accept a whole number of a range; with `optional`, nothing is None."""

    def parse(value: Any) -> int | None:
        typed = _typed(value)
        if optional and typed in (None, ""):
            return None
        if type(typed) is not int or not least <= typed <= most:
            raise ValueError(f"expected a whole number from {least} to {most}")
        return typed

    return parse


def number(least: float, most: float, *, unit: str = "") -> Parser:
    """Accept a number of a range; its unit (% or /s) may be written after it."""

    def parse(value: Any) -> float:
        if unit and isinstance(value, str):
            value = EnvironmentText(value.strip().removesuffix(unit))
        typed = _typed(value)
        if isinstance(typed, bool) or not isinstance(typed, (int, float)) or not least <= typed <= most:
            raise ValueError(f"expected a number from {least:g} to {most:g}")
        return float(typed)

    return parse


def duration(least_s: float, most_s: float) -> Parser:
    """Accept a duration such as 30s, 5m or 1h; returns seconds."""

    def parse(value: Any) -> float:
        match = _DURATION.fullmatch(str(value).strip())
        if match is None or isinstance(value, bool):
            raise ValueError("expected a duration such as 500ms, 30s, 5m or 1h")
        seconds = float(match[1]) * _SECONDS[match[2]]
        if not least_s <= seconds <= most_s:
            raise ValueError(f"expected a duration from {least_s:g}s to {most_s:g}s")
        return seconds

    return parse


def size(least: int, most: int) -> Parser:
    """Accept a size such as 256KiB, 64MB or 5GB; returns bytes."""

    def parse(value: Any) -> int:
        match = _SIZE.fullmatch(str(value).strip())
        if match is None or isinstance(value, bool):
            raise ValueError("expected a size such as 256KiB, 64MB or 5GB")
        amount = float(match[1]) * _BYTES[(match[2] or "").upper()]
        if not least <= amount <= most:
            raise ValueError(f"expected a size from {least} to {most} bytes")
        return int(amount)

    return parse


def path(*, optional: bool = False) -> Parser:
    """Accept a path; with `optional`, nothing is None."""

    def parse(value: Any) -> Path | None:
        if optional and value in (None, ""):
            return None
        if not isinstance(value, str) or not value or "\0" in value:
            raise ValueError("expected a path")
        return Path(value)

    return parse


def url(*, optional: bool = False, path: bool = False) -> Parser:
    """Accept an http or https URL without a user in it, and with a path; secrets belong into token_file."""

    def parse(value: Any) -> str:
        if optional and value in (None, ""):
            return ""
        try:
            parts = urlsplit(value if isinstance(value, str) else "")
            usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
            usable = usable and re.search(r"[\s\x00-\x1f]", str(value)) is None
        except ValueError:
            usable = False
        if not usable:
            raise ValueError("expected a URL such as https://metrics.example.com/api/v1/import")
        if parts.username or parts.password:
            raise ValueError("expected a URL without a password; use remote.auth.token_file")
        if path and parts.path in {"", "/"}:
            raise ValueError("expected a URL with the path of the import, such as /api/v1/import")
        return str(value)

    return parse


def listing(item: Parser) -> Parser:
    """Accept a list; returns a tuple."""

    def parse(value: Any) -> tuple[Any, ...]:
        typed = _typed(value)
        if not isinstance(typed, list):
            raise ValueError("expected a list")
        parsed = []
        for index, element in enumerate(typed):
            try:
                parsed.append(item(element))
            except ValueError as error:
                raise ValueError(f"item {index}: {error}") from error
        return tuple(parsed)

    return parse


def regex(*, optional: bool = False) -> Parser:
    """Accept a regular expression, compiled; it is meant to match the whole of a name."""

    def parse(value: Any) -> re.Pattern[str] | None:
        if optional and value in (None, ""):
            return None
        if not isinstance(value, str):
            raise ValueError("expected a regular expression")
        try:
            return re.compile(value)
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"expected a regular expression: {error}") from error

    return parse


def _is_unicode(text: str) -> bool:
    """Return whether the page and the server can be sent a text: bytes that are no UTF-8 became lone surrogates."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _typed(value: Any) -> Any:
    """Convert the text of an environment variable to the type that YAML would give it."""
    if not isinstance(value, EnvironmentText):
        return value
    try:
        return yaml.safe_load(value)
    except (yaml.YAMLError, ValueError, RecursionError):
        return str(value)
