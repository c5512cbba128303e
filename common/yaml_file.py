"""Read a YAML file as plain values, refusing YAML features that an operator uses only by mistake.

Fails: every error is noted among the problems, with its key path; what could be read is returned.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NoReturn

import msgpack
import yaml

from common.problems import Problems, join

MAX_DEPTH = 12  # deeper is a loop of anchors, not a configuration
MAX_NODES = 10_000  # a file with every key has 300; anchors can unfold a small file to billions


def read(file: Path, problems: Problems) -> dict[str, Any]:
    """Return the file's mapping."""
    return _Reader(problems).read(file)


def read_apart(file: Path, problems: Problems) -> dict[str, Any]:
    """Return the file's mapping, read by a child process: the 0.5-2.6 MB that parsing takes go with it."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _answer(file, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        content = stream.read()
    os.waitpid(child, 0)
    if not content:
        return read(file, problems)
    tree, messages = msgpack.unpackb(content)
    problems.messages += messages
    return dict(tree)


def _answer(file: Path, writing: int) -> NoReturn:
    """Write the mapping and the messages; nothing where they are no plain values (a date), or reading fails."""
    try:
        problems = Problems()
        content = msgpack.packb([read(file, problems), problems.messages])
        while content:
            content = content[os.write(writing, content) :]
    finally:
        os._exit(0)


class _Reader:
    """YAML to plain values, refusing what YAML allows and an operator does not mean."""

    def __init__(self, problems: Problems) -> None:
        self._problems = problems
        self._constructor = yaml.constructor.SafeConstructor()
        self._nodes = 0

    def read(self, file: Path) -> dict[str, Any]:
        """Return the file's mapping; an error is noted, not raised."""
        try:
            with file.open(encoding="utf-8") as stream:
                node = yaml.compose(stream, Loader=yaml.SafeLoader)
            value = None if node is None else self._value(node, "", 0)
        except (OSError, yaml.YAMLError, UnicodeDecodeError, _TooLargeError, RecursionError) as error:
            self._problems.add("", _reason(error, file))
            return {}
        if value is None:
            return {}
        if not isinstance(value, dict):
            self._problems.add("", "expected sections (a mapping) at the top level")
            return {}
        return value

    def _value(self, node: yaml.Node, path: str, depth: int) -> Any:
        self._nodes += 1
        if depth > MAX_DEPTH or self._nodes > MAX_NODES:
            raise _TooLargeError
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, depth)
        if isinstance(node, yaml.SequenceNode):
            return [self._value(item, f"{path}[{index}]", depth + 1) for index, item in enumerate(node.value)]
        try:
            return self._constructor.construct_object(node)
        except (yaml.YAMLError, ValueError) as error:
            self._problems.add(path, _one_line(error))
            return None

    def _mapping(self, node: yaml.MappingNode, path: str, depth: int) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                self._problems.add(path, f"expected a name as key, in line {line}")
                continue
            name = str(key_node.value)
            inner = join(path, name)
            if name in mapping:
                self._problems.add(inner, f"given twice, again in line {line}")
            mapping[name] = self._value(value_node, inner, depth + 1)
        return mapping


class _TooLargeError(Exception):
    """The file has more in it, or anchors unfold to more, than any configuration."""


def _reason(error: Exception, file: Path) -> str:
    """Return why nothing of a file can be used."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    if isinstance(error, UnicodeDecodeError):
        return f"not UTF-8, in line {_undecodable_line(file.read_bytes())}"
    if isinstance(error, yaml.YAMLError):
        return f"not YAML: {_one_line(error)}"
    return f"more than {MAX_NODES} values, or nested deeper than {MAX_DEPTH}"


def _undecodable_line(content: bytes) -> int:
    """Return the number of the first line that is not UTF-8; 0 if all are."""
    for number, line in enumerate(content.split(b"\n"), 1):
        try:
            line.decode("utf-8")
        except UnicodeDecodeError:
            return number
    return 0


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
