"""What a key may hold: the parsers, one by one."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from collectors import registry
from common import keys
from common.keys import EnvironmentText, KeySpec, Parser
from common.settings import Settings


def specs(kind: type[Any], path: str) -> Iterator[tuple[str, KeySpec]]:
    """Yield every key of a section and of those in it, by its path."""
    for field in dataclasses.fields(kind):
        if "section" in field.metadata:
            yield from specs(field.metadata["section"], f"{path}{field.name}.")
        elif "key" in field.metadata:
            yield f"{path}{field.metadata['key'].name or field.name}", field.metadata["key"]


SECTIONS = [(Settings, ""), *((kind, f"collectors.{name}.") for name, kind in registry.sections().items() if kind)]
KEYS = {path: spec for kind, prefix in SECTIONS for path, spec in specs(kind, prefix)}


def test_a_default_is_what_an_operator_would_write() -> None:
    """The default as documented means the same in a variable and in a file; and somebody said what the key is for."""
    for path, spec in KEYS.items():
        in_a_file = yaml.safe_load(spec.default) if spec.default else ""
        assert spec.parse(EnvironmentText(spec.default)) == spec.parse(in_a_file), path
        assert spec.help, path


ACCEPTED = [
    (keys.text(), "a", "a"),
    (keys.text(), "", ""),
    (keys.text(pattern="[a-z]+"), "abc", "abc"),
    (keys.text(), EnvironmentText("010"), "010"),
    (keys.choice("a", "b"), "b", "b"),
    (keys.boolean(), False, False),
    (keys.boolean(), EnvironmentText("true"), True),
    (keys.boolean(), EnvironmentText("no"), False),
    (keys.integer(1, 10), 1, 1),
    (keys.integer(1, 10), EnvironmentText("10"), 10),
    (keys.integer(1, 10, optional=True), None, None),
    (keys.integer(1, 10, optional=True), EnvironmentText(""), None),
    (keys.number(0, 1), 1, 1.0),
    (keys.number(0, 1), EnvironmentText("0.5"), 0.5),
    (keys.duration(0, 1e9), "500ms", 0.5),
    (keys.duration(0, 1e9), "30s", 30.0),
    (keys.duration(0, 1e9), "1.5m", 90.0),
    (keys.duration(0, 1e9), " 2 h ", 7200.0),
    (keys.duration(0, 1e9), "7d", 604_800.0),
    (keys.duration(0, 1e9), "0s", 0.0),
    (keys.size(0, 1 << 60), 4096, 4096),
    (keys.size(0, 1 << 60), "64MB", 64 << 20),
    (keys.size(0, 1 << 60), "64MiB", 64 << 20),
    (keys.size(0, 1 << 60), "1.5 KB", 1536),
    (keys.size(0, 1 << 60), "5GB", 5 << 30),
    (keys.size(0, 1 << 60), "0", 0),
    (keys.path(), "/a/b", Path("/a/b")),
    (keys.path(optional=True), "", None),
    (keys.path(optional=True), None, None),
    (keys.url(), "http://127.0.0.1:8428/api/v1/import", "http://127.0.0.1:8428/api/v1/import"),
    (keys.url(path=True), "https://[::1]/x", "https://[::1]/x"),
    (keys.url(optional=True), "", ""),
    (keys.listing(keys.integer(0, 9)), [1, 2], (1, 2)),
    (keys.listing(keys.text()), [], ()),
    (keys.listing(keys.text()), EnvironmentText("[lo, docker.*]"), ("lo", "docker.*")),
    (keys.regex(optional=True), "", None),
    (keys.regex(), "a.*", re.compile("a.*")),
]

REFUSED = [
    (keys.text(), None, "expected text"),
    (keys.text(), True, "in quotes"),
    (keys.text(), 8, "in quotes"),
    (keys.text(), 10.5, "in quotes"),
    (keys.text(), ["a"], "expected text"),
    (keys.text(pattern="[a-z]+"), "aB", r"like \[a-z\]\+"),
    (keys.text(pattern="[a-z]+"), "a\n", "like"),
    (keys.choice("a", "b"), "c", "expected one of a, b"),
    (keys.choice("a", "b"), None, "expected one of"),
    (keys.choice("a", "b"), ["a"], "expected one of"),
    (keys.boolean(), 1, "expected true or false"),
    (keys.boolean(), "true", "expected true or false"),
    (keys.boolean(), EnvironmentText("1"), "expected true or false"),
    (keys.boolean(), None, "expected true or false"),
    (keys.integer(1, 10), 0, "from 1 to 10"),
    (keys.integer(1, 10), 11, "from 1 to 10"),
    (keys.integer(1, 10), 5.0, "whole number"),
    (keys.integer(1, 10), True, "whole number"),
    (keys.integer(1, 10), "5", "whole number"),
    (keys.integer(1, 10), EnvironmentText("five"), "whole number"),
    (keys.integer(1, 10), EnvironmentText("2025-02-30"), "whole number"),
    (keys.integer(1, 10), EnvironmentText("[" * 500), "whole number"),
    (keys.integer(1, 10), None, "whole number"),
    (keys.number(0, 1), float("nan"), "from 0 to 1"),
    (keys.number(0, 1), float("inf"), "from 0 to 1"),
    (keys.number(0, 1), "0.5", "expected a number"),
    (keys.number(0, 1), False, "expected a number"),
    (keys.duration(1, 60), "30", "a duration such as"),
    (keys.duration(1, 60), 30, "a duration such as"),
    (keys.duration(1, 60), "-1s", "a duration such as"),
    (keys.duration(1, 60), "1w", "a duration such as"),
    (keys.duration(1, 60), "1m30s", "a duration such as"),
    (keys.duration(1, 60), None, "a duration such as"),
    (keys.duration(1, 60), True, "a duration such as"),
    (keys.duration(1, 60), "61s", "from 1s to 60s"),
    (keys.duration(1, 60), "999ms", "from 1s to 60s"),
    (keys.duration(1, 60), "9" * 400 + "d", "from 1s to 60s"),
    (keys.size(1, 1024), "2KB", "from 1 to 1024 bytes"),
    (keys.size(1, 1024), 0, "from 1 to 1024 bytes"),
    (keys.size(1, 1024), "9" * 400 + "GB", "from 1 to 1024 bytes"),
    (keys.size(1, 1024), "1TB", "a size such as"),
    (keys.size(1, 1024), -1, "a size such as"),
    (keys.size(1, 1024), True, "a size such as"),
    (keys.path(), "", "expected a path"),
    (keys.path(), None, "expected a path"),
    (keys.path(), 5, "expected a path"),
    (keys.path(), "a\0b", "expected a path"),
    (keys.url(path=True), "http://metrics.example.com:8428", "with the path of the import"),
    (keys.url(path=True), "https://metrics.example.com/", "with the path of the import"),
    (keys.url(), "", "expected a URL"),
    (keys.url(), None, "expected a URL"),
    (keys.url(), "metrics.example.com", "expected a URL"),
    (keys.url(), "ftp://host/x", "expected a URL"),
    (keys.url(), "http://", "expected a URL"),
    (keys.url(), "http://host:99999", "expected a URL"),
    (keys.url(), "http://host:0", "expected a URL"),
    (keys.url(), "http://[::1", "expected a URL"),
    (keys.url(), "http://ho st/", "expected a URL"),
    (keys.url(), "http://host/\nX: y", "expected a URL"),
    (keys.url(), "http://user:pass@host/", "token_file"),
    (keys.url(), "http://user@host/", "token_file"),
    (keys.listing(keys.text()), "lo", "expected a list"),
    (keys.listing(keys.text()), EnvironmentText("lo,docker"), "expected a list"),
    (keys.listing(keys.text()), {"a": 1}, "expected a list"),
    (keys.listing(keys.integer(0, 9)), [1, "x"], "item 1: expected a whole number"),
    (keys.regex(), "(", "expected a regular expression: missing"),
    (keys.regex(), "a{99999999999}", "expected a regular expression"),
    (keys.regex(), "(" * 5_000 + ")" * 5_000, "expected a regular expression"),
    (keys.regex(), 5, "expected a regular expression"),
]


@pytest.mark.parametrize(("parser", "given", "expected"), ACCEPTED)
def test_what_is_accepted_has_its_type(parser: Parser, given: object, expected: object) -> None:
    """The value an operator means comes out, in the unit of the name."""
    assert expected == parser(given)


@pytest.mark.parametrize(("parser", "given", "message"), REFUSED)
def test_what_is_refused_says_what_was_expected(parser: Parser, given: object, message: str) -> None:
    """Whatever is given, the answer is a ValueError that tells what to write instead."""
    with pytest.raises(ValueError, match=message):
        parser(given)
